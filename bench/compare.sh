#!/usr/bin/env bash
# Ours beside llama.cpp, in turn, on random weights in the shape of Qwen3.5-0.8B: prints the table of docs/performance.md.
#
#   PEER="COMMAND" bench/compare.sh [--rounds N] [--threads N] [--quick] [FORM ...]
#
#   FORM        4, 5, 8 (bits, groups of 64) or bf16; all when none is given
#   --rounds N  default 5. A round runs every form once, ours and then the peer's format of that form.
#   --threads N default 2, pinned to a core each
#   --quick     two rounds of short runs: to see that everything works, not for the record
#
# A machine's speed drifts by the minute, so only what ran within one sitting and in turn is compared: medians over the rounds, with the
# range, and the ratio of the medians.
#
# PEER is a command, arguments included, that runs the peer; without it only ours are measured. The script appends
#     FORMAT -p PROMPT -n TOKENS -d 0 -r 1 -t THREADS
# FORMAT being Q4_0-pure (Q4_0 for every matrix), Q8_0 or BF16: weights of the same shape. It must pin its threads, read PROMPT tokens,
# decode TOKENS, and print the rates in tokens a second on lines of their own, among others if it likes:
#     RAW pp512 171.2
#     RAW tg128 45.3
# where 512 and 128 are PROMPT and TOKENS. 5 bits have no counterpart there: they are set against both Q4_0 and Q8_0.
#
# Needs build/qwen35, python3 and 3 GB under $QWEN35_BENCH_MODELS (default: qwen35-bench in $TMPDIR), where checkpoints are drawn once.
# $QWEN35 names another executable. Nothing else should run meanwhile.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=5 threads=2 prompt=512 tokens=128 quick='' forms=()
usage() { echo "error: $1; see the head of bench/compare.sh" >&2; exit 2; }
fail() { echo "error: $1" >&2; exit 1; }
is_count() { [[ $1 =~ ^[1-9][0-9]{0,3}$ ]]; }
while [ $# -gt 0 ]; do
  case $1 in
    --rounds|--threads)
      is_count "${2:-}" || usage "$1 is '${2:-}', expected a number from 1"
      declare "${1#--}=$2"; shift ;;
    --quick) quick=yes ;;
    4|5|8|bf16) forms+=("$1") ;;
    *) usage "'$1' is neither an option nor a form (4, 5, 8, bf16)" ;;
  esac
  shift
done
[ -z "$quick" ] || { rounds=2 prompt=128 tokens=32; }
[ ${#forms[@]} -gt 0 ] || forms=(4 5 8 bf16)
read -ra peer <<<"${PEER:-}"
qwen35=${QWEN35:-build/qwen35}
[ -x "$qwen35" ] || fail "$qwen35 is not an executable; run 'make build'"
models=${QWEN35_BENCH_MODELS:-${TMPDIR:-/tmp}/qwen35-bench}
results=$(mktemp)
trap 'rm -f "$results"' EXIT

draw() {  # FORM: its checkpoint, if it is not there
  [ -d "$models/$1" ] && return
  local bits=()
  [ "$1" = bf16 ] || bits=(--bits "$1" --group 64)
  mkdir -p "$models"
  "$qwen35" synth --config tests/data/reference/full-0.8b/config.json --seed 1 --tokenizer models/qwen35-mini/tokenizer.json \
    --out "$models/$1" "${bits[@]}" >&2
}

run_ours() {  # FORM
  "$qwen35" bench --model "$models/$1" --prompt "$prompt" --gen "$tokens" --depth 0 --threads "$threads" --reps 1 --rates-only --json |
    python3 -c 'import json, sys; print("ours", sys.argv[1], json.dumps(json.load(sys.stdin)))' "$1" >>"$results"
}

run_peer() {  # FORMAT
  local output read decoded
  output=$("${peer[@]}" "$1" -p "$prompt" -n "$tokens" -d 0 -r 1 -t "$threads") ||
    fail "PEER failed on $1; it is '${PEER:-}', expected a command as the head of bench/compare.sh describes it"
  read=$(awk -v name="pp$prompt" '$1 == "RAW" && $2 == name { print $3; exit }' <<<"$output")
  decoded=$(awk -v name="tg$tokens" '$1 == "RAW" && $2 == name { print $3; exit }' <<<"$output")
  if [ -z "$read" ] || [ -z "$decoded" ]; then
    fail "PEER, '${PEER:-}', printed no lines 'RAW pp$prompt RATE' and 'RAW tg$tokens RATE' for $1; see the head of bench/compare.sh"
  fi
  echo "peer $1 $read $decoded" >>"$results"
}

declare -A counterparts=([4]=Q4_0-pure [5]="Q4_0-pure Q8_0" [8]=Q8_0 [bf16]=BF16)
for form in "${forms[@]}"; do draw "$form"; done
for round in $(seq 1 "$rounds"); do
  declare -A done_formats=()
  for form in "${forms[@]}"; do
    [ ! -t 2 ] || printf '\rround %s of %s: %s\033[K' "$round" "$rounds" "$form" >&2
    run_ours "$form"
    [ ${#peer[@]} -gt 0 ] || continue
    for format in ${counterparts[$form]}; do
      # Each once a round: 5 bits share the runs of 4 and 8.
      [ -n "${done_formats[$format]:-}" ] || run_peer "$format"
      done_formats[$format]=yes
    done
  done
  unset done_formats
done
[ ! -t 2 ] || printf '\r\033[K' >&2

python3 bench/compare_table.py "$results" "$prompt" "$tokens" "$threads" "$rounds"
