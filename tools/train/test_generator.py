#!/usr/bin/env python3
"""Tests of the generator: the split holds, dialogues render as the template says, calls can be read back, sums are right. Standard library only;
the template cases are looked for in $QWEN35_SHARED_DIR, else ../shared beside the repository, and skipped when they are not there."""
import json
import os
import random
import re
import unittest

import render
from arithmetic import result, thought
from chatstate import ChatState
from dialogues import make_pieces, make_turns, messages_of, to_text
from judge import judge, parse_reply, same_calls
from words import Words, for_evaluation, spell, sum_for_evaluation

HERE = os.path.dirname(os.path.abspath(__file__))
SHARED = os.environ.get("QWEN35_SHARED_DIR", os.path.join(HERE, "..", "..", "..", "shared"))
CASES = os.path.join(SHARED, "template", "cases.json")


class Generator(unittest.TestCase):
    def test_words_stay_on_their_side(self):
        for held_out in (False, True):
            words = Words(random.Random(1), held_out)
            self.assertTrue(all(for_evaluation(words.word()) == held_out for _ in range(2000)))

    def test_training_asks_no_sum_of_the_evaluation(self):
        rng, found = random.Random(2), 0
        for _ in range(3000):
            for turn in make_turns(ChatState(rng))[1]:
                m = re.fullmatch(r"(\d+) (plus|minus) (\d+) is -?\d+\.", turn.answer)
                if m and not turn.thought:
                    found += 1
                    self.assertFalse(sum_for_evaluation(int(m[1]), {"plus": "+", "minus": "-"}[m[2]], int(m[3])), turn.answer)
        self.assertGreater(found, 500)

    def test_answers_and_thoughts_of_sums_are_right(self):
        rng = random.Random(3)
        for _ in range(3000):
            a, b, op = rng.randint(0, 999), rng.randint(0, 999), rng.choice("+-*")
            if op == "*": a, b = rng.randint(13, 99), rng.randint(2, 99)
            text = thought(a, op, b)
            if text:
                number = int(re.findall(r"\d+", text)[-1])
                self.assertEqual(number, abs(result(a, op, b)), text)
            for x, sign, y, r in re.findall(r"(?<![\d-])(\d+) ([x-]) (\d+) = (\d+)", text):
                self.assertEqual(int(r), int(x) * int(y) if sign == "x" else int(x) - int(y), text)

    def test_numbers_in_words(self):
        self.assertEqual([spell(n) for n in (0, 13, 20, 42, 100, 305)], ["zero", "thirteen", "twenty", "forty-two", "one hundred", "three hundred and five"])

    def test_calls_can_be_read_back(self):
        rng, calls_seen = random.Random(4), 0
        for _ in range(1500):
            s = ChatState(rng)
            system, turns = make_turns(s)
            for message in messages_of(s, turns, system, True, True):
                if message.get("tool_calls"):
                    calls = [c["function"] for c in message["tool_calls"]]
                    text, got = parse_reply(render.reply_text(message))
                    self.assertTrue(text == "" and same_calls(calls, got), (calls, got))
                    calls_seen += 1
        self.assertGreater(calls_seen, 300)

    def test_documents_begin_and_end_as_turns_do(self):
        rng = random.Random(5)
        for _ in range(1000):
            text = to_text(make_pieces(rng))
            self.assertTrue(text.startswith("<|im_start|>") and text.endswith("<|im_end|>\n"), text)
            self.assertEqual(text.count("<|im_start|>"), text.count("<|im_end|>"))

    def test_judge_can_say_no(self):
        self.assertTrue(judge({"number": "42"}, "17 plus 25 is 42.", []))
        self.assertFalse(judge({"number": "42"}, "17 plus 25 is 421.", []))
        self.assertFalse(judge({"number": "42"}, "42 is 17 plus 25.", []))
        self.assertFalse(judge({"contains": ["Bob"]}, "Your name is Rob.", []))
        self.assertFalse(judge({"tool_calls": [{"name": "a", "arguments": {"x": 1}}]}, "", [{"name": "a", "arguments": {"x": "2"}}]))

    @unittest.skipUnless(os.path.exists(CASES), "template cases are not here")
    def test_render_equals_the_template(self):
        with open(CASES, encoding="utf-8") as f:
            cases = json.load(f)
        compared = 0
        for case in cases:
            messages = case["messages"]
            # What the generator never makes: errors, content parts, untrimmed replies, thinking inside the content.
            if "error" in case or any(not isinstance(m.get("content", ""), str) or m["content"] != m["content"].strip() or "</think>" in m["content"] for m in messages):
                continue
            options = case["options"]
            prompt = bool(options.get("enable_thinking")) if options.get("add_generation_prompt") else None
            self.assertEqual(to_text(render.template(messages, options.get("tools"), prompt)), case["text"], case["name"])
            compared += 1
        self.assertGreater(compared, 20)


if __name__ == "__main__":
    unittest.main()
