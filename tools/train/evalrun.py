"""Runs evaluation cases through model.py on the GPU: batched, token by token, greedy or with the chat's default sampling."""
import time

import torch

import render
from judge import judge, parse_reply

DEFAULT_SAMPLING = {"temperature": 0.6, "top_k": 50, "top_p": 0.95, "penalty": 1.1, "window": 64}
GREEDY = {"temperature": 0.0, "penalty": 1.0, "window": 64}


def prompt_ids(tokenizer, case):
    pieces = render.template(case["messages"], case["tools"], case["enable_thinking"])
    return [i for text, _ in pieces if text for i in tokenizer.encode(text, add_special_tokens=False).ids]


def choose(logits, recent, sampling, generator):
    """Next token of each row: repetition penalty over `recent` [B, window] (-1 is empty), then top-k, top-p, temperature."""
    if sampling["penalty"] != 1.0:
        seen = torch.zeros(logits.shape[0], logits.shape[1] + 1, dtype=torch.bool, device=logits.device)
        seen.scatter_(1, recent.remainder(logits.shape[1] + 1), True)
        seen = seen[:, :-1]
        logits = torch.where(seen, torch.where(logits > 0, logits / sampling["penalty"], logits * sampling["penalty"]), logits)
    if sampling["temperature"] == 0:
        return logits.argmax(-1)
    top, index = (logits / sampling["temperature"]).topk(sampling["top_k"], -1)
    p = top.softmax(-1)
    p = p * (p.cumsum(-1) - p < sampling["top_p"])
    return index.gather(1, torch.multinomial(p / p.sum(-1, keepdim=True), 1, generator=generator))[:, 0]


@torch.no_grad()
def generate(model, prompts, stops, sampling, max_new=160, seed=1):
    """Token ids written after each prompt (lists of ids), without the stop token. All rows advance together from index 0."""
    device = model.model.embed_tokens.weight.device
    generator = torch.Generator(device=device).manual_seed(seed)
    lengths = torch.tensor([len(p) for p in prompts], device=device)
    longest = int(lengths.max())
    table = torch.zeros(len(prompts), longest + max_new + 1, dtype=torch.long, device=device)
    for i, p in enumerate(prompts):
        table[i, :len(p)] = torch.tensor(p, device=device)
    states = model.new_state(len(prompts), longest + max_new)
    done = torch.zeros(len(prompts), dtype=torch.bool, device=device)
    stop_ids = torch.tensor(stops, device=device)
    shortest = int(lengths.min())
    for t in range(longest + max_new - 1):
        logits = model.step(table[:, t], states, t).float()
        if t + 1 < shortest:
            continue
        lo = max(0, t + 1 - sampling["window"])
        token = choose(logits, table[:, lo:t + 1], sampling, generator)
        writing = (t + 1 >= lengths) & ~done & (t + 1 < lengths + max_new)
        table[:, t + 1] = torch.where(writing, token, table[:, t + 1])
        done |= writing & torch.isin(token, stop_ids)
        if t % 16 == 0 and bool((done | (t + 1 >= lengths + max_new)).all()):
            break
    out = []
    for i, p in enumerate(prompts):
        ids = table[i, len(p):len(p) + max_new].tolist()
        end = next((k for k, token in enumerate(ids) if token in stops), len(ids))
        out.append(ids[:end])
    return out


def run_cases(model, tokenizer, cases, sampling, batch=640, seed=1):
    """({kind: (right, count)}, [(case, reply)] of the wrong ones)."""
    stops = [tokenizer.token_to_id("<|im_end|>"), tokenizer.token_to_id("<|endoftext|>")]
    prompts = [prompt_ids(tokenizer, case) for case in cases]
    order = sorted(range(len(cases)), key=lambda i: len(prompts[i]))
    tally, wrong = {}, []
    for start in range(0, len(order), batch):
        chosen = order[start:start + batch]
        for i, ids in zip(chosen, generate(model, [prompts[i] for i in chosen], stops, sampling, seed=seed)):
            reply = tokenizer.decode(ids, skip_special_tokens=False)
            case = cases[i]
            text, calls = parse_reply(reply.split("</think>")[-1] if case["enable_thinking"] else reply)
            right = judge(case["expect"], text, calls)
            for key in (case["kind"], case["kind"] + (" / thinking" if case["enable_thinking"] else " / direct")):
                done, count = tally.get(key, (0, 0))
                tally[key] = (done + right, count + 1)
            if not right:
                wrong.append((case, reply))
    return tally, wrong


def report(tally, wrong, title, show=2):
    print(f"== {title}")
    kinds = [k for k in tally if " / " not in k]
    for kind in sorted(kinds):
        parts = "  ".join(f"{part} {100 * tally[f'{kind} / {part}'][0] / tally[f'{kind} / {part}'][1]:.1f}" for part in ("thinking", "direct") if f"{kind} / {part}" in tally)
        print(f"{kind:26s} {100 * tally[kind][0] / tally[kind][1]:6.2f} % of {tally[kind][1]:4d}   {parts}")
    counts = {}
    for case, reply in wrong:
        counts[case["kind"]] = counts.get(case["kind"], 0) + 1
        if counts[case["kind"]] <= show:
            print("  wrong:", case["kind"], "|", case["messages"][-1]["content"][:120], "| wanted", str(case["expect"])[:160], "| got", repr(reply[-220:]), flush=True)


def evaluate(model, tokenizer, cases, title, show=2, both=True):
    """Greedy and default sampling; returns {"greedy": {kind: %}, "sampled": {kind: %}}."""
    out = {}
    for name, sampling in (("greedy", GREEDY), ("sampled", DEFAULT_SAMPLING)) if both else (("greedy", GREEDY),):
        start = time.time()
        tally, wrong = run_cases(model, tokenizer, cases, sampling)
        report(tally, wrong, f"{title}, {name}, {time.time() - start:.0f} s", show)
        out[name] = {kind: round(100 * right / count, 2) for kind, (right, count) in tally.items()}
    return out
