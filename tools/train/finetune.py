#!/usr/bin/env python3
"""Trains an exported checkpoint a little further on rows of make_rows.py, on a CPU if need be, and exports it again.

Needs torch (1.13 is enough) and numpy, neither transformers nor safetensors nor tokenizers: the checkpoint is read and written here in its own layout.
"""
import argparse
import json
import os
import shutil
import struct
import time

import numpy as np
import torch
import torch.nn.functional as F

from model import Qwen35
from train_loss import penalise, targets_of, weighted_loss

if not hasattr(F, "scaled_dot_product_attention"):
    def attention(q, k, v, attn_mask=None):
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        if attn_mask is not None:
            scores = scores.masked_fill(~attn_mask, float("-inf"))
        return scores.softmax(-1) @ v
    F.scaled_dot_product_attention = attention


def read_shard(path):
    """(header, {name: float32 tensor}) of a bf16 safetensors file."""
    with open(path, "rb") as f:
        data = f.read()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = (8 + size + x for x in entry["data_offsets"])
        bits = np.frombuffer(data[begin:end], np.uint16).astype(np.uint32) << 16
        tensors[name] = torch.from_numpy(bits.view(np.float32).copy()).reshape(entry["shape"])
    return data[:8 + size], header, tensors


def write_shard(path, head, header, tensors):
    """The same header with the tensors' new values; its offsets stay right because no shape changes."""
    with open(path, "wb") as f:
        f.write(head)
        for name, entry in sorted(((n, e) for n, e in header.items() if n != "__metadata__"), key=lambda item: item[1]["data_offsets"][0]):
            f.write(tensors[name].to(torch.bfloat16).contiguous().view(torch.int16).numpy().tobytes())


def export(source, out, weights):
    os.makedirs(out, exist_ok=True)
    for file in os.listdir(source):
        if file.endswith(".safetensors"):
            head, header, _ = read_shard(os.path.join(source, file))
            write_shard(os.path.join(out, file), head, header, weights)
        else:
            shutil.copy(os.path.join(source, file), out)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="Hugging Face folder to start from")
    parser.add_argument("--rows", required=True, help=".npz of make_rows.py")
    parser.add_argument("--out", required=True, help="Hugging Face folder to write")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--lr", type=float, default=1.5e-4)
    parser.add_argument("--warmup", type=int, default=15)
    parser.add_argument("--penalised", type=float, default=0.4)
    parser.add_argument("--seconds", type=float, default=3600, help="the rate falls to zero with whichever ends first, steps or seconds")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--log", type=int, default=10)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    with open(os.path.join(args.model, "config.json"), encoding="utf-8") as f:
        model = Qwen35(json.load(f))
    weights = {}
    for file in sorted(os.listdir(args.model)):
        if file.endswith(".safetensors"):
            weights.update(read_shard(os.path.join(args.model, file))[2])
    model.load_state_dict(weights)
    rows = np.load(args.rows)
    rows = [rows[key].astype(np.int64) for key in ("ids", "classes", "pos")]
    order = np.random.default_rng(args.seed).permutation(len(rows[0]))
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, betas=(0.9, 0.98), weight_decay=0.0)
    share, start, sums = int(args.batch * args.penalised), time.time(), np.zeros(2)
    for step in range(1, args.steps + 1):
        done = max((step - 1) / args.steps, (time.time() - start) / args.seconds)
        if done >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = args.lr * min(1.0, step / args.warmup) * (1 - done)
        pick = order[np.arange((step - 1) * args.batch, step * args.batch) % len(order)]
        ids, classes, pos = (torch.from_numpy(x[pick]) for x in rows)
        targets, weight = targets_of(ids, classes, pos, 0.1)
        logits = model(ids, pos)
        if share:
            logits = torch.cat([penalise(logits[:share], ids[:share]), logits[share:]])
        loss, written = weighted_loss(logits, targets, weight)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        sums += [float(loss), float(written)]
        if step % args.log == 0:
            print(f"step {step} time {time.time() - start:.0f} loss {sums[0] / args.log:.4f} written {sums[1] / args.log:.4f} {step * ids.numel() / (time.time() - start):.0f} tok/s", flush=True)
            sums[:] = 0
        if step % 100 == 0:
            export(args.model, args.out, model.state_dict())
    export(args.model, args.out, model.state_dict())
    print(f"wrote {args.out} after {step} steps, {time.time() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
