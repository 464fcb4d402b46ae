#!/usr/bin/env bash
# Prefill and decode rates on random weights in the shape of Qwen3.5-0.8B: draws each checkpoint once, then runs `generate` several
# times and prints the medians. usage: bench/full-shape.sh [THREADS=2] [RUNS=5] [BITS ...]; needs build/qwen35 and about 3 GB in $TMPDIR.
set -euo pipefail
cd "$(dirname "$0")/.."
threads=${1:-2}
runs=${2:-5}
shift $(( $# < 2 ? $# : 2 ))
forms=("$@")
[ ${#forms[@]} -gt 0 ] || forms=(4 5 8 bf16)

folder=${TMPDIR:-/tmp}/qwen35-bench
mkdir -p "$folder"
prompt=$(for i in $(seq 1 250); do printf 'hello %d ' "$((i % 10))"; done)

printf '| weights | prompt tokens | prefill tok/s (min–max) | decode tok/s (min–max) | first token ms |\n|---|---|---|---|---|\n'
for form in "${forms[@]}"; do
  model=$folder/$form
  if [ ! -d "$model" ]; then
    bits=(); [ "$form" = bf16 ] || bits=(--bits "$form" --group 64)
    build/qwen35 synth --config tests/data/reference/full-0.8b/config.json --seed 1 --tokenizer models/qwen35-mini/tokenizer.json \
      --out "$model" "${bits[@]}" >&2
  fi
  for _ in $(seq 1 "$runs"); do
    build/qwen35 generate --model "$model" --prompt "$prompt" --no-thinking --max-tokens 64 --temp 0 --repetition-penalty 1 \
      --threads "$threads" --json
  done | python3 -c '
import json, statistics, sys
runs = [json.loads(line)["metrics"] for line in sys.stdin]
tokens = runs[0]["prompt_tokens"]
prefill = sorted(1e3 * m["prompt_tokens"] / m["prefill_ms"] for m in runs)
decode = sorted(m["decode_tokens_per_second"] for m in runs)
first = statistics.median(m["time_to_first_token_ms"] for m in runs)
line = "| {} | {} | {:.0f} ({:.0f}–{:.0f}) | {:.1f} ({:.1f}–{:.1f}) | {:.0f} |"
print(line.format(sys.argv[1], tokens, statistics.median(prefill), prefill[0], prefill[-1],
                  statistics.median(decode), decode[0], decode[-1], first))' "$form"
done
