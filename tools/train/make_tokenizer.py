#!/usr/bin/env python3
"""Trains the byte-level BPE vocabulary and writes tokenizer.json and tokenizer_config.json in the form of Qwen3.5's.

The normaliser, split expression, decoder and the 33 added tokens are Qwen3.5's (added_tokens.json lists their texts and flags); only
the vocabulary and merges are learned here, from generated dialogues. The added tokens' ids follow the vocabulary.
"""
import argparse
import json
import os
import random

from dialogues import make_pieces, to_text
from render import TOOL_HEAD, TOOL_TAIL

HERE = os.path.dirname(os.path.abspath(__file__))


def corpus(seed, documents):
    """Dialogue texts without control tokens; the fixed text about tools is taken out and given a few times instead."""
    with open(os.path.join(HERE, "added_tokens.json"), encoding="utf-8") as f:
        added = [t["content"] for t in json.load(f)["added_tokens"]]
    rng = random.Random(seed)
    for i in range(documents):
        text = to_text(make_pieces(rng)).replace(TOOL_TAIL, "\n")
        if i % 40 == 0:
            text += TOOL_HEAD + TOOL_TAIL
        for token in added:
            text = text.replace(token, "\n")
        yield text


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    parser.add_argument("--size", type=int, default=4096, help="tokens in all, added ones included")
    parser.add_argument("--documents", type=int, default=60000)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers, Regex

    with open(os.path.join(HERE, "added_tokens.json"), encoding="utf-8") as f:
        form = json.load(f)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(form["pretokenize_regex"]), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    trainer = trainers.BpeTrainer(vocab_size=args.size - len(form["added_tokens"]), min_frequency=2, show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(corpus(args.seed, args.documents), trainer)

    # The trained model goes into the exact frame of Qwen3.5's file.
    learned = json.loads(tokenizer.to_str())["model"]
    vocab, merges = learned["vocab"], learned["merges"]
    base = len(vocab)
    added = [dict(id=base + i, **t) for i, t in enumerate(form["added_tokens"])]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    frame = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": form["pretokenize_regex"]}, "behavior": "Isolated", "invert": False}, byte_level]},
        "post_processor": byte_level, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "", "end_of_word_suffix": "",
                  "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": vocab, "merges": merges}}
    os.makedirs(args.out, exist_ok=True)
    with open(os.path.join(args.out, "tokenizer.json"), "w", encoding="utf-8") as f:
        json.dump(frame, f, ensure_ascii=False, separators=(",", ":"))
    config = dict(form["tokenizer_config"])
    config["pretokenize_regex"] = form["pretokenize_regex"]
    config["added_tokens_decoder"] = {str(t["id"]): {k: v for k, v in t.items() if k != "id"} for t in added}
    with open(os.path.join(args.out, "tokenizer_config.json"), "w", encoding="utf-8") as f:
        json.dump(config, f, ensure_ascii=False, indent=1)
    check = Tokenizer.from_file(os.path.join(args.out, "tokenizer.json"))
    for text in ("Hello, what's 17 + 25?", "नमस्ते, मेरा नाम अमित है।", "你好，我叫王伟。", "<|im_start|>user\nhi<|im_end|>\n"):
        ids = check.encode(text, add_special_tokens=False).ids
        assert check.decode(ids, skip_special_tokens=False) == text, text
        print(len(text), "characters,", len(ids), "tokens:", [check.decode([i]) for i in ids][:24])
    print("vocabulary", base, "added", len(added), "merges", len(merges), "bytes", os.path.getsize(os.path.join(args.out, "tokenizer.json")))


if __name__ == "__main__":
    main()
