"""Turns with tools: the right call, several calls, results read back, errors, and no call where none is needed."""
import json
from chatstate import Turn
from toolkinds import KINDS
from words import typed

# What a user may ask for that none of the given tools does, by kind of tool.
ELSEWHERE = {
    "light": ["turn on the kitchen light", "turn off the bedroom light", "switch on the lamp"], "timer": ["set a timer for 5 minutes", "start a timer for ten minutes"], "alarm": ["wake me up at 7 am", "set an alarm for 6:30"],
    "weather": ["what's the weather in Paris", "how is the weather in London"], "music": ["play some jazz", "play a song"], "message": ["send a message to Anna saying hello"], "call": ["call Tom", "call my mother"],
    "volume": ["set the volume to 50", "turn the volume up"], "thermostat": ["set the thermostat to 21"], "shopping": ["add milk to the shopping list"],
}


def draw_tools(s):
    """One to four tools of different kinds and names."""
    count = s.rng.choice([1, 1, 2, 2, 2, 3, 3, 4])
    tools, kinds, names = [], set(), set()
    while len(tools) < count:
        tool = s.pick(KINDS)(s)
        if tool.kind in kinds or tool.name in names:
            continue
        kinds.add(tool.kind)
        names.add(tool.name)
        tools.append(tool)
    return tools


def spoken(s, text, question, calls):
    """A typed variant of the text in which every argument still stands as the call must repeat it."""
    if s.chance(0.15): text = s.pick(["please ", "hey, ", "now ", "can you "]) + text
    values = [v for call in calls for v in call["arguments"].values() if isinstance(v, str) and v in text]
    for _ in range(4):
        out = typed(s.rng, text, question=question or text.startswith("can you"))
        if all(v in out for v in values):
            return out
    return text


def call_of(tool, request):
    return {"name": tool.name, "arguments": request.arguments}


ERRORS = ["device not found", "not available", "no connection", "permission denied", "timeout", "unknown name", "service is down", "battery is empty"]


def one_call(s, tool=None):
    tool = tool or s.pick(s.tools)
    request = tool.make(s)
    result, answer = request.result, request.answer
    if s.chance(0.07):
        error = s.pick(ERRORS) if s.chance(0.7) else f"{s.words.word()} is {s.pick(['missing', 'broken', 'offline'])}"
        result, answer = s.pick([json.dumps({"error": error}), f"error: {error}"]), f"Sorry, that did not work: {error}."
    calls = (call_of(tool, request),)
    return Turn(spoken(s, request.text, request.question, calls), answer, calls=calls, results=(result,))


def two_calls(s):
    pair = s.rng.sample(s.tools, 2) if len(s.tools) > 1 and s.chance(0.6) else [s.pick(s.tools)] * 2
    if any(t.kind == "clock" for t in pair):
        return one_call(s)
    requests = [t.make(s) for t in pair]
    if requests[0].text == requests[1].text:
        return one_call(s, pair[0])
    text = requests[0].text + s.pick([" and ", " and ", ", then ", " and then ", ", and "]) + requests[1].text
    answer = requests[0].answer + " " + requests[1].answer
    calls = tuple(call_of(t, r) for t, r in zip(pair, requests))
    return Turn(spoken(s, text, requests[0].question, calls), answer, calls=calls, results=tuple(r.result for r in requests))


def vague(s):
    able = [t for t in s.tools if t.vague]
    if not able:
        return one_call(s)
    asks, back = s.pick(able).vague
    return Turn(typed(s.rng, s.pick(asks)), back)


def no_such_tool(s):
    kinds = {t.kind for t in s.tools}
    able = [k for k in ELSEWHERE if k not in kinds]
    return Turn(typed(s.rng, s.pick(ELSEWHERE[s.pick(able)])), "Sorry, I can't do that here.")


def tool_turn(s):
    pick = s.rng.random()
    if pick < 0.76: return one_call(s)
    if pick < 0.90: return two_calls(s)
    if pick < 0.94: return vague(s)
    return no_such_tool(s)
