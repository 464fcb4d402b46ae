#!/usr/bin/env python3
"""Writes tiny_tokenizer.json: a byte-level BPE vocabulary in Qwen3.5's form, small enough to read.

The merges are learnt from TEXT by the plain algorithm: the most frequent adjacent pair, of equals the first in code
point order. Run: python3 make_tiny_tokenizer.py > tiny_tokenizer.json
"""
import collections
import json
import re
import sys

TEXT = """Hello, world! What is your name? My name is Alex. The weather is fine today, and the lights are on.
Tell me a joke about the weather. Turn the lights off in the kitchen and set a timer for ten minutes. aaaaaaaa aaaaaaaa
What's the capital of France? The capital of France is Paris. I'll tell you, it's 12 and 34.
नमस्ते दुनिया, आप कैसे हैं? 你好，世界。你好吗？ café naïve Ångström
"""
MERGES = 160
CONTROL = [  # content, special
    ("<|endoftext|>", True), ("<|im_start|>", True), ("<|im_end|>", True), ("<|vision_start|>", True),
    ("<|vision_end|>", True), ("<|image_pad|>", True), ("<|video_pad|>", True), ("<tool_call>", False),
    ("</tool_call>", False), ("<tool_response>", False), ("</tool_response>", False), ("<think>", False),
    ("</think>", False)]
REGEX = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")


def byte_alphabet():
    printable = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    others = [b for b in range(256) if b not in printable]
    return {**{b: chr(b) for b in printable}, **{b: chr(256 + i) for i, b in enumerate(others)}}


def learn(alphabet):
    words = collections.Counter(tuple(alphabet[b] for b in w.encode()) for w in re.findall(r" ?\S+", TEXT))
    merges = []
    while len(merges) < MERGES:
        pairs = collections.Counter()
        for word, count in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += count
        best = max(sorted(pairs), key=lambda pair: pairs[pair])
        merges.append(best)
        merged = collections.Counter()
        for word, count in words.items():
            out, i = [], 0
            while i < len(word):
                if word[i:i + 2] == best:
                    out.append(word[i] + word[i + 1])
                    i += 2
                else:
                    out.append(word[i])
                    i += 1
            merged[tuple(out)] += count
        words = merged
    return merges


def main():
    alphabet = byte_alphabet()
    merges = learn(alphabet)
    tokens = sorted(alphabet.values()) + [a + b for a, b in merges]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": REGEX}, "behavior": "Isolated", "invert": False}
    json.dump({
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": len(vocabulary) + i, "content": text, **plain, "special": special}
                         for i, (text, special) in enumerate(CONTROL)],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": byte_level, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
                  "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": vocabulary, "merges": [list(pair) for pair in merges]},
    }, sys.stdout, ensure_ascii=False)
    print()


if __name__ == "__main__":
    main()
