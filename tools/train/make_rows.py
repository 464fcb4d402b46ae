#!/usr/bin/env python3
"""Packs training rows into an .npz with the qwen35 command as the tokenizer, for finetune.py, where the `tokenizers` library is
not at hand. A share of the dialogues is about facts, names in capitals, days and words that are not known."""
import argparse
import json
import random
import subprocess

import numpy as np

import render
from arithmetic import arithmetic_turn, three
from chatstate import ChatState
from corpus import CONTEXT, GENERATED, pack
from dialogues import english_turn, make_pieces, messages_of, system_prompt
from facts import capital, define, small_fact, unknown
from measures import month_rule, weekday_rule

FOCUS = [(define, 30), (small_fact, 24), (capital, 8), (unknown, 16), (weekday_rule, 4), (month_rule, 4), (three, 6), (arithmetic_turn, 4), (english_turn, 4)]


def focused_pieces(rng):
    s = ChatState(rng)
    system = system_prompt(s)
    turns = [rng.choices([f for f, _ in FOCUS], [w for _, w in FOCUS])[0](s) for _ in range(rng.choice([1, 1, 2, 3, 4]))]
    return render.as_fed(messages_of(s, turns, system, s.chance(0.55), True))


def encode(binary, model, documents):
    pieces = [piece for document in documents for piece in document if piece[0]]
    lines = "".join(json.dumps(text, ensure_ascii=False) + "\n" for text, _ in pieces)
    done = subprocess.run([binary, "tokenize", "--model", model, "--special", "--jsonl"], input=lines, capture_output=True, text=True, encoding="utf-8", check=True)
    encoded = iter(done.stdout.splitlines())
    out = []
    for document in documents:
        ids, classes = [], []
        for text, generated in document:
            if text:
                piece = json.loads(next(encoded))
                ids += piece
                classes += [GENERATED if generated else CONTEXT] * len(piece)
        out.append((ids, classes))
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default="build/qwen35")
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--documents", type=int, default=12000)
    parser.add_argument("--focus", type=float, default=0.6)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--seed", type=int, default=11)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    documents = [focused_pieces(rng) if rng.random() < args.focus else make_pieces(rng) for _ in range(args.documents)]
    encoded = encode(args.binary, args.model, documents)
    rows = []
    for start in range(0, len(encoded), 400):
        rows.append(pack(encoded[start:start + 400], args.length, 0))
    columns = [np.concatenate(c) for c in zip(*rows)]
    np.savez(args.out, ids=columns[0], classes=columns[1], pos=columns[2])
    print(len(columns[0]), "rows of", args.length, "tokens")


if __name__ == "__main__":
    main()
