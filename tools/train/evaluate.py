#!/usr/bin/env python3
"""Runs the evaluation through the qwen35 engine and prints a table and JSON. Standard library only.

usage: evaluate.py --binary build/qwen35 --model models/qwen35-mini [--cases FILE] [--sampled] [--json FILE]
Without --cases the cases of make_eval.py, seed 1, are made on the spot; they are the same on every machine.
"""
import argparse
import json
import lzma
import random
import subprocess
import sys
import tempfile
import time

from dialogues import make_pieces, to_text
from judge import judge
from make_eval import make_cases


def run_engine(binary, model, cases, options):
    requests = []
    for i, case in enumerate(cases):
        messages = []
        for m in case["messages"]:
            m = dict(m)
            if m.get("tool_calls"):
                m["content"] = m.get("content") or ""
            messages.append(m)
        request = {"messages": messages, "enable_thinking": case["enable_thinking"], "seed": i + 1}
        if case["tools"]:
            request["tools"] = case["tools"]
        requests.append(json.dumps(request, ensure_ascii=False))
    done = subprocess.run([binary, "generate", "--model", model, "--jsonl", *options], input="\n".join(requests) + "\n", capture_output=True, text=True, encoding="utf-8")
    replies = [json.loads(line) for line in done.stdout.splitlines()]
    if len(replies) != len(cases):
        sys.exit(f"{binary} gave {len(replies)} replies to {len(cases)} requests: {done.stderr[-2000:]}")
    return replies


def perplexity(binary, model, dialogues=400, seed=99):
    """Of held-out dialogues as they are rendered, control tokens included."""
    rng = random.Random(seed)
    text = "".join(to_text(make_pieces(rng, held_out=True)) for _ in range(dialogues))
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as f:
        f.write(text)
        f.flush()
        done = subprocess.run([binary, "perplexity", "--model", model, "--special", "--json", f.name], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="build/qwen35")
    parser.add_argument("--model", required=True)
    parser.add_argument("--cases", help="JSON lines of make_eval.py, plain or .xz")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--sampled", action="store_true", help="the chat's default sampling instead of greedy decoding")
    parser.add_argument("--no-perplexity", action="store_true")
    parser.add_argument("--show", type=int, default=2, help="wrong replies to print of each kind")
    parser.add_argument("--json", help="write the figures here")
    args = parser.parse_args()
    if args.cases:
        with (lzma.open if args.cases.endswith(".xz") else open)(args.cases, "rt", encoding="utf-8") as f:
            cases = [json.loads(line) for line in f]
    else:
        cases = make_cases(args.seed, args.share)
    start = time.time()
    replies = run_engine(args.binary, args.model, cases, [] if args.sampled else ["--temp", "0", "--repetition-penalty", "1"])
    tally, shown = {}, {}
    for case, reply in zip(cases, replies):
        right = "error" not in reply and judge(case["expect"], reply["text"], reply["tool_calls"])
        for part in ("all", "thinking" if case["enable_thinking"] else "direct"):
            good, count = tally.setdefault(case["kind"], {}).get(part, (0, 0))
            tally[case["kind"]][part] = (good + right, count + 1)
        if not right:
            shown[case["kind"]] = shown.get(case["kind"], 0) + 1
            if shown[case["kind"]] <= args.show:
                print("wrong:", case["kind"], "|", case["messages"][-1]["content"], "| wanted", json.dumps(case["expect"], ensure_ascii=False), "| got",
                      json.dumps({k: reply.get(k) for k in ("text", "thinking", "tool_calls", "error") if reply.get(k)}, ensure_ascii=False))
    print(f"{args.model}, {'default sampling' if args.sampled else 'greedy'}, {len(cases)} cases, {time.time() - start:.0f} s")
    figures = {"model": args.model, "sampled": args.sampled, "kinds": {}}
    for kind, parts in tally.items():
        percent = {part: round(100 * good / count, 2) for part, (good, count) in parts.items()}
        figures["kinds"][kind] = dict(percent, cases=parts["all"][1])
        print(f"{kind:26s} {percent['all']:6.2f} % of {parts['all'][1]:4d}   " + "  ".join(f"{k} {percent[k]:.1f}" for k in ("thinking", "direct") if k in percent))
    if not args.no_perplexity:
        figures["perplexity"] = perplexity(args.binary, args.model)
        print("perplexity of held-out dialogues:", json.dumps(figures["perplexity"]))
    if args.json:
        with open(args.json, "w") as f:
            json.dump(figures, f, indent=1)


if __name__ == "__main__":
    main()
