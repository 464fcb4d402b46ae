#!/usr/bin/env bash
# Builds, tests and measures the CUDA backend on a machine with a GPU, in well under ten minutes, and prints a table.
# usage: tools/gpu-check.sh [--build DIR] [--only tests|sanitizer|bench] [--quick] [--keep DIR]
#   --build DIR   an existing build; else build/gpu-check is made (tests and command, Release, this GPU's architecture)
#   --only STEP   that step alone
#   --quick       tests on tiny models, one format and one repetition in the benchmarks
#   --keep DIR    logs and the benchmarks' JSON go there; else to a temporary folder that is removed when all went well
# Exit code 0 when every step passed, 1 when one failed (listed at the end), 2 for wrong arguments, 3 when no GPU can be
# used. Each step is bounded in time.
set -uo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
build=
only=
quick=
keep=
while [ $# -gt 0 ]; do
  case "$1" in
    --build | --only | --keep)
      [ $# -ge 2 ] || { echo "$1 takes an argument" >&2; exit 2; }
      case "$1" in
        --build) build=$(cd "$2" && pwd) || exit 2 ;;
        --only) only=$2 ;;
        --keep) mkdir -p "$2" && keep=$(cd "$2" && pwd) || exit 2 ;;
      esac
      shift ;;
    --quick) quick=1 ;;
    *) sed -n '2,9p' "$0" >&2; exit 2 ;;
  esac
  shift
done
case "$only" in ''|tests|sanitizer|bench) ;; *) echo "--only takes tests, sanitizer or bench" >&2; exit 2 ;; esac

work=$(mktemp -d)
logs=${keep:-$work/logs}
mkdir -p "$logs"
failed=()
started=$SECONDS
say() { printf '[%3d s] %s\n' $((SECONDS - started)) "$*"; }

# step NAME SECONDS COMMAND...: its output goes to a log; the end of it is shown when it fails.
step() {
  local name=$1 limit=$2 from=$SECONDS code
  shift 2
  timeout --kill-after=10 "$limit" "$@" >"$logs/$name.log" 2>&1
  code=$?
  if [ $code -eq 0 ]; then
    say "passed  $name ($((SECONDS - from)) s)"
  else
    [ $code -eq 124 ] && echo "took longer than $limit s" >>"$logs/$name.log"
    say "FAILED  $name (exit code $code; $logs/$name.log)"
    grep -E 'FAILED|Failure|error|ERROR' "$logs/$name.log" | head -20
    tail -n 15 "$logs/$name.log"
    failed+=("$name")
  fi
  return $code
}
finish() {
  echo
  if [ ${#failed[@]} -eq 0 ]; then
    say "all passed"
    rm -rf "$work"
    exit 0
  fi
  say "failed: ${failed[*]}; logs in $logs"
  exit 1
}

no_gpu() {
  say "no GPU can be used: $1"
  rm -rf "$work"
  exit 3
}

if command -v nvidia-smi >/dev/null; then
  nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv,noheader 2>/dev/null || true
fi

if [ -z "$build" ]; then
  # Building takes minutes: not before a GPU is seen, however the driver shows it.
  nvidia-smi -L >/dev/null 2>&1 || [ -e /dev/nvidia0 ] || [ -e /dev/dxg ] ||
    no_gpu "neither nvidia-smi nor a device file shows one"
  build=$root/build/gpu-check
  capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -1 | tr -d .)
  case "$capability" in 90) architecture=90a-real ;; '') architecture=native ;; *) architecture=$capability-real ;; esac
  step build 420 sh -c "cmake -S '$root' -B '$build' -G Ninja -DCMAKE_BUILD_TYPE=Release -DQWEN35_BUILD_TESTS=ON \
    -DQWEN35_CUDA=ON -DQWEN35_CUDA_ARCHITECTURES=$architecture && \
    cmake --build '$build' --target cuda_test backend_test chat_test qwen35_command" || finish
fi
program=$build/qwen35
for path in "$program" "$build/tests/backend/cuda_test" "$build/tests/backend/backend_test" "$build/tests/chat/chat_test"; do
  [ -x "$path" ] || { say "$path is missing: build cuda_test, backend_test, chat_test and qwen35_command"; failed+=(build); finish; }
done

# One test that needs a GPU says why there is none.
timeout 60 "$build/tests/backend/cuda_test" --gtest_filter=CudaFaults.AnAllocationThatCannotBe >"$logs/gpu.log" 2>&1 || {
  say "FAILED  the first test on the GPU ($logs/gpu.log)"
  tail -n 15 "$logs/gpu.log"
  failed+=(gpu)
  finish
}
grep -q SKIPPED "$logs/gpu.log" && no_gpu "$(sed -n '/Skipped$/{n;p;q}' "$logs/gpu.log")"

if [ -z "$only" ] || [ "$only" = tests ]; then
  slow=
  [ -n "$quick" ] && slow='-*Full*:*Small*'
  step kernels 120 "$build/tests/backend/cuda_test"
  grep -E 'largest|worst' "$logs/kernels.log" | head -40
  step backend 180 "$build/tests/backend/backend_test" --gtest_filter="*Cuda*:Kinds/*:*cuda*${slow}"
  grep -E 'largest|lowest' "$logs/backend.log"
  grep -q 'SKIPPED.*Cuda' "$logs/backend.log" && { say "FAILED  the GPU's tests were skipped"; failed+=(skipped); }
  step chat 180 env QWEN35_TEST_BACKEND=cuda "$build/tests/chat/chat_test"
fi

if [ -z "$only" ] || [ "$only" = sanitizer ]; then
  sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
  if [ -z "$sanitizer" ]; then
    say "skipped the sanitizer: no compute-sanitizer in PATH or /usr/local/cuda/bin"
  else
    few='Reference.TinyCuda:Kinds/VerifyRules.Keep*:Kinds/VerifyRules.Tokens*:Kinds/BatchRules.More*:Kinds/SnapshotTest.SamplingGoes*'
    step memcheck 100 "$sanitizer" --tool memcheck --error-exitcode 9 "$build/tests/backend/backend_test" --gtest_filter="$few"
    # Looks at shared memory alone, and follows every access to it: tests made small for it, kernel by kernel.
    race() {
      step "race-$1" "$2" "$sanitizer" --tool racecheck --error-exitcode 9 --print-limit 20 \
        "$build/tests/backend/cuda_test" --gtest_filter="$3" || return
      grep -h 'RACECHECK SUMMARY' "$logs/race-$1.log"
      grep -q '^\[       OK' "$logs/race-$1.log" || { say "FAILED  race-$1: no test has run"; failed+=("race-$1"); }
    }
    race sampling 20 'SamplingTest.Brief*'
    race attention 25 'CudaAttention.Brief*'
    race delta-rule 30 'CudaDeltaRule.Brief*'
    race products 40 '*CudaProductGates.Brief*'
    export QWEN35_CUDA_ARRIVALS=all  # one lane's arrival for its warp is more than the tool sees through
    race decode-tiny 40 'CudaDecode.BriefTiny*'
    race decode-full 120 'CudaDecode.BriefFull*'
    race decode-one 60 'CudaDecode.BriefOne*'
    unset QWEN35_CUDA_ARRIVALS
  fi
fi

if [ -z "$only" ] || [ "$only" = bench ]; then
  config=$root/tests/data/reference/full-0.8b/config.json
  formats=(4 5 8 bf16)
  repetitions=5
  [ -n "$quick" ] && formats=(4) repetitions=1
  for bits in "${formats[@]}"; do
    options=()
    [ "$bits" = bf16 ] || options=(--bits "$bits" --group 64)
    step "synth-$bits" 90 "$program" synth --config "$config" --seed 1 --out "$work/model" "${options[@]}" || continue
    # shellcheck disable=SC2016  # the inner shell's own arguments
    step "bench-$bits" 90 sh -c '"$1" bench --model "$2" --backend cuda --rates-only --prompt 512,4096 --depth 0,2048,8192 \
      --gen 256 --sequences 64 --reps "$3" --json >"$4"' sh "$program" "$work/model" "$repetitions" "$logs/bench-$bits.json"
    rm -rf "$work/model"
  done
  if command -v python3 >/dev/null; then
    python3 - "$logs" "${formats[@]}" <<'PY'
import json, os, sys
folder, formats = sys.argv[1], sys.argv[2:]
results = {}
for bits in formats:
    try:
        with open(os.path.join(folder, f"bench-{bits}.json")) as file:
            results[bits] = json.load(file)
    except (OSError, ValueError):
        print(f"{bits}: no result")
if not results:
    sys.exit(0)
print(f"\n{next(iter(results.values()))['backend']}; medians of {next(iter(results.values()))['repetitions']}, tokens a second")
names = list(results)
def row(label, value):
    cells = []
    for bits in names:
        try:
            cells.append(f"{value(results[bits]):>12,.1f}")
        except (KeyError, StopIteration, TypeError, ZeroDivisionError):
            cells.append(f"{'-':>12}")
    print(f"{label:<34}" + "".join(cells))
rate = lambda part, key, n: lambda r: next(x["tokens_per_second"] for x in r[part] if x[key] == n)
print(f"{'':<34}" + "".join(f"{(b if b == 'bf16' else b + ' bit'):>12}" for b in names))
for depth in (0, 2048, 8192):
    row(f"decode at depth {depth}", rate("decode", "depth", depth))
for tokens in (512, 4096):
    row(f"prefill {tokens}", rate("prefill", "tokens", tokens))
row("20 tokens to the next, ms", lambda r: r["first_token"]["ms"])
def together(r, n):
    one = next(x for x in r["state"]["batch"] if x.get("conversations", x.get("states")) == n)
    return 1e3 * n / one["ms"]
for n in (2, 8, 16, 64):
    row(f"{n} conversations at depth 8192", lambda r, n=n: together(r, n))
def verify(r, n):
    return next(x["ms"] for x in r["state"]["verify"] if x["tokens"] == n)
row("one token at depth 8192, ms", lambda r: r["state"]["decode"]["ms"])
row("verify 8, keep 4, ms", lambda r: verify(r, 8))
row("bandwidth reached, GB/s", lambda r: r["bandwidth"]["reached"])
row("device copy, GB/s", lambda r: r["bandwidth"]["measured"])
PY
  fi
fi
finish
