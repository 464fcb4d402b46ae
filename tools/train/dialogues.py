"""Whole dialogues: a system prompt, a run of turns from the skills, a thinking mode, and the form of the history."""
import render
from arithmetic import arithmetic_turn
from chatstate import ChatState
from chinese import chinese_turn
from devices import device_turn
from everyday import everyday_turn, own_name
from facts import fact_turn, unknown
from hindi import hindi_turn
from measures import DAYS, MONTHS, measure_turn, today
from memory import ATTRIBUTES, ask, memory_turn, other_keys, tell, tell_several
from toolcalls import draw_tools, tool_turn

PLAIN_SYSTEMS = ["You are a helpful assistant.", "You are a helpful voice assistant.", "You are a friendly voice assistant.", "Be friendly.", "Be polite.", "Be funny.", "Answer in plain words.", "You are a small voice assistant.",
                 "Speak clearly.", "Help the user.", "You help people at home.", "Remember the user's name.", "Remember what the user tells you.", "Your answers are read aloud.", "You are a home assistant.", "Be kind and helpful.",
                 "You are a cheerful assistant who likes jokes.", "Answer the user's questions.", "You are a smart speaker.", "Be honest.", "Use simple words.", "You are an assistant for a family."]
BRIEF_SYSTEMS = ["Answer briefly.", "Be brief.", "Keep it short.", "Answer in one sentence.", "Give short answers.", "Be concise.", "Be terse.", "You are a voice assistant. Answer briefly.", "Reply in one short sentence.", "You are a helpful assistant. Keep your answers short."]

SKILLS = [(memory_turn, 34), (arithmetic_turn, 23), (fact_turn, 15), (unknown, 4), (everyday_turn, 9), (measure_turn, 7), (device_turn, 10)]
SKILL_FUNCTIONS = [f for f, _ in SKILLS]
SKILL_WEIGHTS = [w for _, w in SKILLS]


def system_prompt(s):
    """None, a manner of speaking, or one that carries a fact to be used when asked."""
    pick = s.rng.random()
    if pick < 0.42:
        return None
    if pick < 0.62:
        return s.pick(PLAIN_SYSTEMS)
    if pick < 0.75:
        s.brief = True
        return s.pick(BRIEF_SYSTEMS)
    parts = [s.pick(PLAIN_SYSTEMS)] if s.chance(0.5) else []
    if s.chance(0.35):
        s.assistant_name = s.words.name()
        parts.insert(0, s.pick(["Your name is {v}.", "You are {v}, a voice assistant.", "You are called {v}.", "You are an assistant named {v}."]).replace("{v}", s.assistant_name))
    if s.chance(0.35):
        s.known["name"] = s.words.name()
        parts.append(s.pick(["The user's name is {v}.", "The user is called {v}.", "You are talking to {v}.", "User name: {v}."]).replace("{v}", s.known["name"]))
    if s.chance(0.2):
        s.known["city"] = ATTRIBUTES["city"].value(s)
        parts.append(s.pick(["The user lives in {v}.", "The user's city is {v}.", "Location of the user: {v}."]).replace("{v}", s.known["city"]))
    if s.chance(0.35):
        s.today = (s.rng.randrange(7), s.rng.randint(1, 28), s.rng.randrange(12), s.rng.randint(2020, 2035))
        d, day, m, year = s.today
        parts.append(s.pick([f"Today is {DAYS[d]}, {MONTHS[m]} {day}, {year}.", f"The date is {DAYS[d]}, {day} {MONTHS[m]} {year}.", f"Today: {DAYS[d]} {MONTHS[m]} {day} {year}."]))
    if s.chance(0.3):
        s.clock = f"{s.rng.randint(0, 23)}:{s.rng.randint(0, 59):02d}"
        parts.append(s.pick(["The time is {v}.", "It is {v} now.", "Current time: {v}."]).replace("{v}", s.clock))
    if not parts:
        return s.pick(PLAIN_SYSTEMS)
    if s.chance(0.2):
        s.brief = True
        parts.append("Answer briefly.")
    return " ".join(parts)


def english_turn(s, first=False):
    if first and s.chance(0.12):
        return everyday_turn(s, first=True)
    if (s.today or s.clock) and s.chance(0.2):
        return today(s)
    if s.assistant_name and s.chance(0.15):
        return own_name(s)
    return s.rng.choices(SKILL_FUNCTIONS, SKILL_WEIGHTS)[0](s)


def plain_turns(s, count):
    return [english_turn(s, first=i == 0) for i in range(count)]


def recall_turns(s):
    """Something told, other talk, then the question."""
    key = "name" if s.chance(0.5) else other_keys(s, 1)[0]
    turns = [tell(s, key)] if s.chance(0.7) else [tell_several(s, [key] + other_keys(s, 1))] if key not in s.known and s.chance(0.9) else [tell(s, key)]
    key = key if key in s.known else "name"
    for _ in range(s.rng.choice([0, 1, 2, 3, 4, 4, 5, 6, 7])):
        turns.append(english_turn(s))
    return turns + [ask(s, key)]


def tool_turns(s, count):
    s.tools = draw_tools(s)
    turns = []
    for _ in range(count):
        turns.append(tool_turn(s) if s.chance(0.72) else other_with_tools(s))
    return turns


def other_with_tools(s):
    """Talk that needs no tool; devices and clocks are left to the tools."""
    pick = s.rng.random()
    if pick < 0.34: return memory_turn(s)
    if pick < 0.60: return arithmetic_turn(s)
    if pick < 0.80: return fact_turn(s)
    if pick < 0.86: return unknown(s)
    return everyday_turn(s)


def language_turns(s, turn, count):
    return [turn(s, first=i == 0) for i in range(count)]


def mixed_turns(s, count):
    """A dialogue that changes language; what was told in one is not asked in another."""
    turns, current = [], None
    while len(turns) < count:
        turn = s.pick([hindi_turn, chinese_turn, english_turn])
        if turn is not current:
            s.known = {}
        current = turn
        for _ in range(s.rng.choice([1, 1, 2, 3])):
            turns.append(turn(s))
    return turns


def messages_of(s, turns, system, thinking, as_fed):
    """OpenAI-style messages. With `as_fed` each assistant message says whether it was prompted to think."""
    messages = [{"role": "system", "content": system}] if system is not None else []
    for turn in turns:
        messages.append({"role": "user", "content": turn.user})
        think = thinking if not as_fed or s.chance(0.95) else not thinking
        if turn.calls:
            messages.append({"role": "assistant", "content": "", "thinking": think, "tool_calls": [{"type": "function", "function": c} for c in turn.calls]})
            messages += [{"role": "tool", "content": r} for r in turn.results]
        reply = {"role": "assistant", "content": turn.answer, "thinking": think}
        if think and turn.thought:
            reply["reasoning_content"] = turn.thought
            if as_fed and s.chance(0.12):
                reply["reasoning_content"] = turn.thought[:s.rng.randint(1, len(turn.thought))].rstrip()
                reply["cut"] = s.pick(["</think>\n\n", "\n</think>\n\n"])
        messages.append(reply)
    return messages


def make_turns(s):
    """(system prompt, turns) of a random dialogue."""
    rng = s.rng
    pick = rng.random()
    count = rng.choice([1, 1, 2, 3, 3, 4, 5, 6, 7, 8])
    if pick < 0.40:
        system = system_prompt(s)
        return system, tool_turns(s, rng.choice([1, 2, 2, 3, 3, 4, 5]))
    if pick < 0.56:
        system = system_prompt(s)
        return system, recall_turns(s)
    if pick < 0.78:
        system = system_prompt(s)
        return system, plain_turns(s, count)
    if pick < 0.87:
        system = s.pick([None, None, "आप एक सहायक हैं।", "हिंदी में उत्तर दें।", "उत्तर संक्षेप में दें।", "You are a helpful assistant.", "Answer briefly."])
        return system, language_turns(s, hindi_turn, count)
    if pick < 0.96:
        system = s.pick([None, None, "你是一个语音助手。", "请用中文回答。", "回答要简短。", "You are a helpful assistant.", "Answer briefly."])
        return system, language_turns(s, chinese_turn, count)
    return s.pick([None, "You are a helpful assistant."]), mixed_turns(s, max(2, count))


def make_pieces(rng, held_out=False):
    """One training document as [(text, generated by the model)]."""
    s = ChatState(rng, held_out)
    system, turns = make_turns(s)
    tools = [t.spec() for t in s.tools] if s.tools else None
    as_fed = s.chance(0.6)
    messages = messages_of(s, turns, system, s.chance(0.55), as_fed)
    if as_fed:
        return render.as_fed(messages, tools)
    pieces = render.template(messages, tools)
    # The last turn is prompted like a running chat does it, so that a thought is closed by the model itself.
    last_user = max(i for i, m in enumerate(messages) if m["role"] == "user")
    head = render.template(messages[:last_user + 1], tools)
    tail = render.as_fed([{"role": "user", "content": "x"}] + messages[last_user + 1:])
    return head + tail[2:] if len(pieces) > len(head) else pieces


def to_text(pieces):
    return "".join(text for text, _ in pieces)


if __name__ == "__main__":
    import argparse
    import random
    parser = argparse.ArgumentParser(description="Prints sample training dialogues.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=10)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    for _ in range(args.count):
        print(to_text(make_pieces(rng)), end="\n=====\n")
