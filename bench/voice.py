#!/usr/bin/env python3
"""How well the spoken chain understands, and how long its steps take.

usage: bench/voice.py [--qwen35 build/qwen35] [--voice en-us] [--speed 150] [--model mini]

eSpeak NG (the command) asks questions that the bundled grammar covers; each is one run of `qwen35 voice --json` on a recording of its own.
Prints how many were read right, which were not, and the medians of the times."""
import argparse
import json
import os
import random
import statistics
import subprocess
import tempfile

ONES = ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen "
        "nineteen").split()
TENS = "x ten twenty thirty forty fifty sixty seventy eighty ninety".split()


def spell(n):
    return ONES[n] if n < 20 else TENS[n // 10] + (" " + ONES[n % 10] if n % 10 else "")


def questions():
    rng = random.Random(3)
    out = [f"what is {spell(rng.randint(1, 99))} {rng.choice(['plus', 'minus'])} {spell(rng.randint(1, 60))}" for _ in range(14)]
    out += [f"my name is {n}" for n in "Anna Tom Maria Peter Laura Oscar Clara Paul Alice Max".split()]
    out += ["what is my name", "what's my name", "do you remember my name"]
    out += [f"what is the capital of {c}" for c in "France Japan Germany Norway Egypt Kenya Peru Austria".split()]
    out += [f"what is {t}" for t in ["gravity", "a rainbow", "the moon", "electricity", "a penguin", "music"]]
    return out + ["how many legs does a spider have", "why is the sky blue", "where do penguins live", "tell me a joke",
                  "how many days are in a week", "what do bees make", "how far is the moon", "i live in London", "where do i live",
                  "my favorite color is green", "what is my favorite color", "i am twenty years old", "how old am i"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--qwen35", default="build/qwen35")
    parser.add_argument("--voice", default="en-us")
    parser.add_argument("--speed", default="150")
    parser.add_argument("--model", default="mini")
    args = parser.parse_args()
    right, wrong, times = 0, [], []
    with tempfile.TemporaryDirectory() as folder:
        wav = os.path.join(folder, "q.wav")
        for text in questions():
            mark = "?" if text.split()[0] in ("what", "what's", "how", "why", "where", "do") else "."
            subprocess.run(["espeak-ng", "-v", args.voice, "-s", args.speed, "-w", wav, text + mark], check=True)
            run = subprocess.run([args.qwen35, "voice", "--in", wav, "--json", "--temp", "0", "--model", args.model], capture_output=True, text=True)
            heard = json.loads(run.stdout)["turns"] if run.stdout else []
            if len(heard) == 1 and heard[0]["question"] == text:
                right += 1
            else:
                wrong.append((text, [t["question"] for t in heard]))
            times += [t["timing"] for t in heard if t["question"]]
    print(f"voice {args.voice}, {args.speed} words a minute: {right} of {right + len(wrong)} read right")
    for text, heard in wrong:
        print(f"  {text!r} was read as {heard}")
    for key in times[0] if times else []:
        values = [t[key] for t in times]
        print(f"  {key:20} median {statistics.median(values):9.3f}   largest {max(values):9.3f}")


if __name__ == "__main__":
    main()
