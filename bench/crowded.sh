#!/usr/bin/env bash
# How much is left of our speed when another process takes a core: the rates alone, then beside one busy loop on the first core, in turn.
# With two threads pinned to two cores and the first shared fairly, three quarters of the machine is left.
#   bench/crowded.sh MODEL [ROUNDS=3]        needs taskset (util-linux) and python3; $QWEN35 names another executable
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -ge 1 ] || { sed -n '2,4p' "$0"; exit 2; }
qwen35=${QWEN35:-build/qwen35}
busy=
trap '[ -z "$busy" ] || kill "$busy" 2>/dev/null' EXIT

rates() {
  "$qwen35" bench --model "$1" --prompt 128 --gen 48 --depth 0 --reps 3 --threads 2 --rates-only --json 2>/dev/null |
    python3 -c 'import json, sys; j = json.load(sys.stdin); print("prefill %.0f  decode %.1f tok/s" % (j["prefill"][0]["tokens_per_second"], j["decode"][0]["tokens_per_second"]))'
}

for _ in $(seq 1 "${2:-3}"); do
  echo "alone            $(rates "$1")"
  taskset -c 0 bash -c 'while :; do :; done' &
  busy=$!
  echo "one core taken   $(rates "$1")"
  kill "$busy"
  wait "$busy" 2>/dev/null || true
  busy=
done
