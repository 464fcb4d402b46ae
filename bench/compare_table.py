"""Prints the Markdown table of bench/compare.sh: compare_table.py RESULTS PROMPT TOKENS THREADS ROUNDS.

A line of RESULTS is `ours FORM JSON`, the object that `qwen35 bench --json` prints, or `peer FORMAT PREFILL DECODE`, tokens a second.
"""
import json
import sys
from statistics import median

NAMES = {"4": "4 bits", "5": "5 bits", "8": "8 bits", "bf16": "bf16"}
COUNTERPARTS = {"4": ["Q4_0-pure"], "5": ["Q4_0-pure", "Q8_0"], "8": ["Q8_0"], "bf16": ["BF16"]}


def spread(rates, digits):
    return f"{median(rates):.{digits}f} ({min(rates):.{digits}f}–{max(rates):.{digits}f})"


def against(rates, peers, digits):
    """The cells `peer` and `ratio`, one entry a counterpart."""
    found = [(name, rates_of_peer) for name, rates_of_peer in peers if rates_of_peer]
    if not found:
        return "–", "–"
    cells = "<br>".join(f"{name} {spread(rates_of_peer, digits)}" for name, rates_of_peer in found)
    return cells, "<br>".join(f"{median(rates) / median(rates_of_peer):.2f}" for _, rates_of_peer in found)


def main(path, prompt, tokens, threads, rounds):
    ours, peer = {}, {}
    with open(path) as results:
        for line in results:
            side, form, rest = line.split(maxsplit=2)
            if side == "ours":
                ours.setdefault(form, []).append(json.loads(rest))
            else:
                peer.setdefault(form, []).append([float(rate) for rate in rest.split()])
    prefill = {form: [run["prefill"][0]["tokens_per_second"] for run in runs] for form, runs in ours.items()}
    decode = {form: [run["decode"][0]["tokens_per_second"] for run in runs] for form, runs in ours.items()}

    backend = next(iter(ours.values()))[0]["backend"]
    print(f"{backend}, {threads} pinned, {rounds} rounds in turn: medians (range), ratios of medians\n")
    print(f"| weights | prefill {prompt} tok/s | peer | ratio | decode {tokens} tok/s | peer | ratio | GB/s of the read test's |")
    print("|---|---|---|---|---|---|---|---|")
    for form in ours:
        names = COUNTERPARTS[form]
        cells = [NAMES[form], spread(prefill[form], 0)]
        cells += against(prefill[form], [(name, [run[0] for run in peer.get(name, [])]) for name in names], 0)
        cells.append(spread(decode[form], 1))
        cells += against(decode[form], [(name, [run[1] for run in peer.get(name, [])]) for name in names], 1)
        bands = [run["bandwidth"] for run in ours[form]]
        share = median(band["reached"] / band["measured"] for band in bands)
        cells.append(f"{median(b['reached'] for b in bands):.1f} of {median(b['measured'] for b in bands):.1f}: {100 * share:.0f} %")
        print("| " + " | ".join(cells) + " |")

    notes = []
    if peer:
        best = max(peer, key=lambda name: median(run[0] for run in peer[name]))
        rate = median(run[0] for run in peer[best])
        ratios = ", ".join(f"{NAMES[form]} {median(prefill[form]) / rate:.2f}" for form in ours)
        notes.append(f"Prefill against the best of the peer's formats here ({best}, {rate:.0f} tok/s): {ratios}.")
    if {"4", "5", "8"} <= ours.keys():
        size = {form: ours[form][0]["weight_bytes"] for form in ("4", "5", "8")}
        time = {form: 1 / median(decode[form]) for form in ("4", "8")}
        expected = time["4"] + (size["5"] - size["4"]) / (size["8"] - size["4"]) * (time["8"] - time["4"])
        notes.append(f"5 bits in proportion to their bytes, between 4 and 8, would decode {1 / expected:.1f} tok/s.")
    if notes:
        print("\n" + "\n".join(notes))


if __name__ == "__main__":
    main(*sys.argv[1:])
