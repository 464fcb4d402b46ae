#!/usr/bin/env python3
"""Compares model.py with transformers' Qwen3_5ForCausalLM on an exported checkpoint, in float32: packed rows, whole dialogues and
token-by-token steps must give the same logits."""
import argparse
import random

import torch
from tokenizers import Tokenizer

from corpus import encode_documents
from dialogues import make_pieces
from model import CHUNK, Qwen35


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--documents", type=int, default=6)
    args = parser.parse_args()
    from transformers import Qwen3_5ForCausalLM
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    device = "cuda" if torch.cuda.is_available() else "cpu"
    theirs = Qwen3_5ForCausalLM.from_pretrained(args.folder, dtype=torch.float32, attn_implementation="eager").to(device).eval()
    config = theirs.config.to_dict()
    ours = Qwen35(config).to(device)
    state = {k: v for k, v in theirs.state_dict().items() if k != "lm_head.weight"}
    ours.load_state_dict(state)
    tokenizer = Tokenizer.from_file(args.folder + "/tokenizer.json")
    rng = random.Random(5)
    documents = [ids for ids, _ in encode_documents(tokenizer, [make_pieces(rng, held_out=True) for _ in range(args.documents)])]
    row = [i for ids in documents for i in ids]
    pos = [p for ids in documents for p in range(len(ids))]
    gap = -len(row) % CHUNK
    packed = ours(torch.tensor([row + [0] * gap], device=device), torch.tensor([pos + list(range(gap))], device=device))[0]
    worst = [0.0, 0.0]
    at = 0
    with torch.no_grad():
        for ids in documents:
            want = theirs(torch.tensor([ids], device=device)).logits[0].float()
            states = ours.new_state(1, len(ids))
            steps = torch.stack([ours.step(torch.tensor([i], device=device), states, t)[0] for t, i in enumerate(ids)])
            worst = [max(worst[0], float((packed[at:at + len(ids)] - want).abs().max())), max(worst[1], float((steps - want).abs().max()))]
            at += len(ids)
    print(f"largest difference of logits from transformers: packed rows {worst[0]:.2e}, steps {worst[1]:.2e}, over {at} tokens", flush=True)
    if max(worst) > 2e-3:
        raise SystemExit("model.py does not agree with transformers")


if __name__ == "__main__":
    main()
