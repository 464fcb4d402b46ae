#!/usr/bin/env python3
"""Writes the evaluation as JSON lines: dialogues of words and sums that training never draws, and what to expect.

Each line: {"kind", "messages", "tools" (list or null), "enable_thinking", "expect"}; judge.py says how `expect` is read. Standard library only.
"""
import argparse
import json
import random

import chinese
import hindi
from arithmetic import arithmetic_turn, question, result, sentence, thought
from chatstate import ChatState, Turn
from devices import device_turn
from dialogues import messages_of, other_with_tools, system_prompt
from everyday import everyday_turn
from facts import capital, define, fact_turn, small_fact, table_fact, unknown
from measures import measure_turn
from memory import ask, tell, tell_several, other_keys
from toolcalls import draw_tools, no_such_tool, one_call, two_calls
from words import sum_for_evaluation, typed


def other_turns(s, count):
    """Talk about anything but the name."""
    turns = []
    while len(turns) < count:
        turn = s.rng.choice([arithmetic_turn, fact_turn, everyday_turn, measure_turn, device_turn, lambda s: tell(s, s.pick(["city", "food", "dog", "job", "sister"]))])(s)
        turns.append(turn)
    return turns


def name_recall(s):
    turns = [tell(s, "name") if s.chance(0.7) else tell_several(s, ["name"] + other_keys(s, 1))] + other_turns(s, 4) + [ask(s, "name")]
    return turns, {"contains": [s.known["name"]]}


def facts_recall(s):
    keys = other_keys(s, 3)
    turns = [tell_several(s, keys)] + other_turns_without(s, 2)
    key = s.pick([k for k in keys if k in s.known])
    return turns + [ask(s, key)], {"contains": [s.known[key]]}


def other_turns_without(s, count):
    return [s.pick([arithmetic_turn, fact_turn, everyday_turn, measure_turn])(s) for _ in range(count)]


def name_changed(s):
    turns = [tell(s, "name")] + other_turns_without(s, 1) + [tell(s, "name")] + other_turns_without(s, 1) + [ask(s, "name")]
    return turns, {"contains": [s.known["name"]]}


def two_numbers(op, low=0, high=99):
    def make(s):
        while True:
            a, b = s.rng.randint(low, high), s.rng.randint(low, high)
            if op == "-" and a < b: a, b = b, a
            if sum_for_evaluation(a, op, b): break
        return [Turn(typed(s.rng, question(s, a, op, b), question=True), sentence(a, op, b), thought(a, op, b))], {"number": str(result(a, op, b))}
    return make


def product(s):
    a, b = s.rng.randint(13, 99), s.rng.randint(2, 9)
    return [Turn(typed(s.rng, question(s, a, "*", b), question=True), sentence(a, "*", b))], {"number": str(a * b)}


def fact(s):
    turn = s.rng.choice([capital, define, small_fact, small_fact, table_fact])(s)
    return [turn], {"exact": turn.answer}


def refusal(s):
    turn = unknown(s)
    return [turn], {"exact": turn.answer}


def tool_call(make):
    def case(s):
        s.tools = draw_tools(s)
        turns = [s.pick([one_call, other_with_tools])(s) for _ in range(s.rng.choice([0, 0, 1, 2]))]
        turn = make(s)
        while not turn.calls: turn = make(s)
        return turns + [turn], {"tool_calls": list(turn.calls)}
    return case


def tool_result(s):
    s.tools = draw_tools(s)
    turn = one_call(s)
    return [turn], {"exact": turn.answer}


def tool_none(s):
    s.tools = draw_tools(s)
    turn = s.pick([fact_turn, tell, unknown, no_such_tool])(s)
    return [turn], {"exact": turn.answer}


def in_language(module):
    def case(s):
        others = [module.sums, module.fact, module.light, module.timer, lambda s: module.tell(s, s.pick(["city", "age", "food"]))]
        turns = [module.tell(s, "name")] + [s.pick(others)(s) for _ in range(4)] + [module.ask(s, "name")]
        return turns, {"contains": [s.known["name"]]}
    return case


def language_sums(module):
    def case(s):
        while True:
            turn = module.sums(s)
            return [turn], {"number": str(s.last_number)}
    return case


def from_system(s):
    while True:
        system = system_prompt(s)
        if system and "name" in s.known:
            return other_turns_without(s, 1) + [ask(s, "name")], {"contains": [s.known["name"]]}, system


# kind: (maker, cases, thinking: None for both by turns)
KINDS = {
    "name recall": (name_recall, 400, None), "several facts": (facts_recall, 200, None), "name changed": (name_changed, 200, None),
    "sums to 99": (two_numbers("+"), 400, None), "differences to 99": (two_numbers("-"), 400, None),
    "sums of 3 digits": (two_numbers("+", 100, 999), 200, True), "differences of 3 digits": (two_numbers("-", 100, 999), 200, True), "products": (product, 200, True),
    "tool call": (tool_call(one_call), 400, None), "two tool calls": (tool_call(two_calls), 200, None), "tool result": (tool_result, 200, None), "no tool needed": (tool_none, 200, None),
    "known facts": (fact, 600, None), "refusals": (refusal, 200, None), "system prompt": (from_system, 200, None),
    "hindi name": (in_language(hindi), 200, None), "chinese name": (in_language(chinese), 200, None), "hindi sums": (language_sums(hindi), 200, None), "chinese sums": (language_sums(chinese), 200, None),
}


def make_cases(seed, share=1.0):
    """All cases; `share` makes fewer of each kind."""
    out = []
    for number, (kind, (make, count, thinking)) in enumerate(KINDS.items()):
        rng = random.Random(seed * 100 + number)
        for i in range(max(1, round(count * share))):
            s = ChatState(rng, held_out=True)
            turns, expect, *system = make(s)
            messages = messages_of(s, turns, system[0] if system else None, False, True)
            for m in messages:
                m.pop("thinking", None)
                m.pop("cut", None)
            stop = len(messages) - 1
            if "tool_calls" in expect:   # the call is asked for, not the reply to its result
                while messages[stop]["role"] != "user": stop -= 1
                stop += 1
            out.append({"kind": kind, "messages": messages[:stop], "tools": [t.spec() for t in s.tools] if s.tools else None,
                        "enable_thinking": i % 2 == 0 if thinking is None else thinking, "expect": expect})
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--share", type=float, default=1.0)
    args = parser.parse_args()
    cases = make_cases(args.seed, args.share)
    with open(args.out, "w", encoding="utf-8") as f:
        for case in cases:
            f.write(json.dumps(case, ensure_ascii=False) + "\n")
    print(len(cases), "cases")


if __name__ == "__main__":
    main()
