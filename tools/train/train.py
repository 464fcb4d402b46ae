#!/usr/bin/env python3
"""Trains qwen35-mini on one GPU, in one or more runs of bounded time, and exports a Hugging Face checkpoint.

The learning rate follows elapsed training time: a warm-up, a plateau, then a fall to zero at --total-seconds. A run stops after
--seconds of training and writes --out/state.pt (all that --resume needs) and --out/weights.pt (weights alone).
"""
import argparse
import json
import math
import os
import random
import sys
import time

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from corpus import Corpus, encode_documents, pack
from dialogues import make_pieces
from evalrun import evaluate
from export import export
from make_eval import make_cases
from model import Qwen35
from train_loss import penalise, targets_of, weighted_loss

CONFIG = dict(hidden_size=320, intermediate_size=704, num_hidden_layers=8, num_attention_heads=5, num_key_value_heads=1, head_dim=64,
              linear_num_key_heads=5, linear_num_value_heads=5, linear_key_head_dim=64, linear_value_head_dim=64, linear_conv_kernel_dim=4,
              tie_word_embeddings=True, rms_norm_eps=1e-6, initializer_range=0.02,
              rope_parameters=dict(rope_type="default", rope_theta=1e7, partial_rotary_factor=0.25, mrope_section=[11, 11, 10], mrope_interleaved=True),
              layer_types=(["linear_attention"] * 3 + ["full_attention"]) * 2, max_position_embeddings=32768)


def to_device(batch, device):
    return [torch.from_numpy(x.astype("int64")).pin_memory().to(device, non_blocking=True) if device == "cuda" else torch.from_numpy(x.astype("int64")) for x in batch]


def rate(elapsed, args):
    """Share of the peak learning rate after `elapsed` seconds of training."""
    p = elapsed / args.total_seconds
    if p < args.plateau:
        return 1.0
    return max(0.0, 1 - (p - args.plateau) / (1 - args.plateau)) ** 1.2


@torch.no_grad()
def held_out_loss(model, tokenizer, device, length, seed=99):
    """Mean loss (all tokens, written tokens) on dialogues of evaluation words."""
    rng = random.Random(seed)
    rows = pack(encode_documents(tokenizer, [make_pieces(rng, held_out=True) for _ in range(400)]), length, tokenizer.token_to_id("<|endoftext|>"))
    total = torch.zeros(4, device=device)
    for i in range(0, len(rows[0]), 16):
        ids, classes, pos = to_device([x[i:i + 16] for x in rows], device)
        targets, weights = targets_of(ids, classes, pos, 0.5)
        each = F.cross_entropy(model(ids, pos).float().flatten(0, 1), targets.flatten(), reduction="none")
        every, written = (weights.flatten() > 0).float(), (weights.flatten() == 1).float()
        total += torch.stack([(each * every).sum(), every.sum(), (each * written).sum(), written.sum()])
    return float(total[0] / total[1]), float(total[2] / total[3])


def train(args, device):
    torch.manual_seed(args.seed)
    torch.backends.cuda.matmul.allow_tf32 = True
    tokenizer = Tokenizer.from_file(args.tokenizer)
    corpus = Corpus(args.tokenizer, args.length, args.workers, args.seed * 100 + args.run)
    config = dict(CONFIG, vocab_size=tokenizer.get_vocab_size())
    model = Qwen35(config, torch.bfloat16).to(device)
    size = sum(p.numel() for p in model.parameters())
    print(f"{size} parameters, vocabulary {config['vocab_size']}, row {args.length}, batch {args.batch}", flush=True)
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": args.decay}, {"params": vectors, "weight_decay": 0.0}], lr=args.lr, betas=(0.9, 0.95), fused=device == "cuda")
    elapsed, step, seen, warm = 0.0, 0, 0, 0
    if args.resume:
        saved = torch.load(args.resume, map_location=device)
        model.load_state_dict(saved["model"])
        elapsed, step, seen = saved["elapsed"], saved["step"], saved["seen"]
        if "optimizer" in saved:
            optimizer.load_state_dict(saved["optimizer"])
            warm = 10**6
        print(f"resumed at step {step}, {elapsed:.0f} s, {seen / 1e6:.1f} M tokens", flush=True)
    loss_of = weighted_loss
    if args.compile:
        torch._dynamo.config.recompile_limit = 64
        for layer in model.model.layers:
            layer.compile()
        loss_of = torch.compile(weighted_loss)
    share = int(args.batch * args.penalised)
    warm_start = time.time()
    start, last, last_step = None, None, step
    sums = torch.zeros(2, device=device)
    while True:
        ids, classes, pos = to_device(corpus.batch(args.batch), device)
        targets, weights = targets_of(ids, classes, pos, args.context_weight)
        logits = model(ids, pos)
        if share and elapsed > args.penalise_after * args.total_seconds:
            logits = torch.cat([penalise(logits[:share], ids[:share]), logits[share:]])
        loss, written = loss_of(logits, targets, weights)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        warm += 1
        scale = rate(elapsed, args) * min(1.0, warm / args.warmup)
        for group in optimizer.param_groups:
            group["lr"] = args.lr * scale
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        seen += ids.numel()
        sums += torch.stack([loss.detach(), written])
        if start is None:   # compilation does not count as training time
            torch.cuda.synchronize() if device == "cuda" else None
            print(f"first step after {time.time() - warm_start:.0f} s", flush=True)
            start, last, base = time.time(), time.time(), elapsed
        if step % 10 == 0:
            elapsed = base + time.time() - start
        if step % args.log == 0:
            torch.cuda.synchronize() if device == "cuda" else None
            now = time.time()
            values = (sums / (step - last_step)).tolist()
            print(f"step {step} time {elapsed:.0f} tokens {seen / 1e6:.1f}M loss {values[0]:.4f} written {values[1]:.4f} lr {args.lr * scale:.2e} "
                  f"{(step - last_step) * ids.numel() / (now - last) / 1000:.0f}k tok/s", flush=True)
            if not math.isfinite(values[0]):
                sys.exit("loss is not finite")
            sums.zero_()
            last, last_step = now, step
        if elapsed - base >= args.seconds or elapsed >= args.total_seconds or step == args.steps:
            break
    corpus.close()
    os.makedirs(args.out, exist_ok=True)
    state = {"model": model.state_dict(), "elapsed": elapsed, "step": step, "seen": seen}
    torch.save(state, os.path.join(args.out, "weights.pt"))
    torch.save(dict(state, optimizer=optimizer.state_dict()), os.path.join(args.out, "state.pt"))
    print(f"stopped at step {step}, {elapsed:.0f} s, {seen / 1e6:.1f} M tokens", flush=True)
    return config, tokenizer


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--resume")
    parser.add_argument("--seconds", type=float, default=500)
    parser.add_argument("--total-seconds", type=float, default=1000)
    parser.add_argument("--steps", type=int, default=-1)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--decay", type=float, default=0.02)
    parser.add_argument("--warmup", type=int, default=300)
    parser.add_argument("--plateau", type=float, default=0.45)
    parser.add_argument("--context-weight", type=float, default=0.1)
    parser.add_argument("--penalised", type=float, default=0.4, help="share of rows whose logits are penalised")
    parser.add_argument("--penalise-after", type=float, default=0.1)
    parser.add_argument("--workers", type=int, default=14)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--run", type=int, default=0, help="number of this run: its data differ from the runs before")
    parser.add_argument("--log", type=int, default=200)
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    parser.add_argument("--eval-share", type=float, default=1.0, help="share of the evaluation cases to run; 0 for none")
    parser.add_argument("--eval-seed", type=int, default=1)
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    config, tokenizer = train(args, device)
    # What is exported is bf16, so that is what is judged.
    weights = torch.load(os.path.join(args.out, "weights.pt"), map_location=device)["model"]
    model = Qwen35(config).to(device)
    model.load_state_dict({k: v.to(torch.bfloat16).float() for k, v in weights.items()})
    export(weights, config, tokenizer, os.path.dirname(args.tokenizer), os.path.join(args.out, "hf"))
    every, written = held_out_loss(model, tokenizer, device, args.length)
    print(f"held-out dialogues: perplexity {math.exp(every):.3f} over all tokens, {math.exp(written):.4f} over written tokens", flush=True)
    results = {"perplexity_all": math.exp(every), "perplexity_written": math.exp(written)}
    if args.eval_share:
        results.update(evaluate(model, tokenizer, make_cases(args.eval_seed, args.eval_share), os.path.basename(args.out)))
    with open(os.path.join(args.out, "eval.json"), "w") as f:
        json.dump(results, f, indent=1)


if __name__ == "__main__":
    main()
