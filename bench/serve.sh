#!/usr/bin/env bash
# What the server does under load: starts it on a model, then 1, 4, 16 and 64 clients in turn, each for a while, on a
# machine that does nothing else. Prints the table of docs/server.md.
#   bench/serve.sh MODEL [SECONDS=60] [OPTIONS OF serve_load …]     needs bench/load (CMake builds it with the tests);
#   $QWEN35 and $SERVE_LOAD name other executables, $SERVE_OPTIONS are the server's
# A request a second for half an hour, with the server's memory:
#   bench/serve.sh mini 1800 --clients 8 --rate 1 --soak
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,8p' "$0"; exit 2; }
root=$(cd "$(dirname "$0")/.." && pwd)
qwen35=${QWEN35:-$root/build/qwen35}
load=${SERVE_LOAD:-$root/build/bench/serve_load}
model=$1
seconds=${2:-60}
shift $(($# < 2 ? $# : 2))

scratch=$(mktemp -d)
server=
finish() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  [ -z "$server" ] || wait "$server" 2>/dev/null || true
  rm -rf "$scratch"
}
trap finish EXIT
# shellcheck disable=SC2086  # the options are words
"$qwen35" serve --model "$model" --port 0 --port-file "$scratch/port" --quiet ${SERVE_OPTIONS:-} 2>"$scratch/log" &
server=$!
while [ ! -s "$scratch/port" ]; do
  kill -0 "$server" 2>/dev/null || { cat "$scratch/log" >&2; exit 1; }
  sleep 0.2
done
grep '^memory:' "$scratch/log" || true
case " $* " in *" --clients"*) ;; *) set -- --clients 1,4,16,64 "$@" ;; esac
status=0
"$load" --url "http://127.0.0.1:$(cat "$scratch/port")" --pid "$server" --duration "$seconds" --warm-up 5 "$@" || status=$?
awk '/^VmHWM/ {printf "the server took at most %.0f MiB of memory\n", $2 / 1024}' "/proc/$server/status"
exit "$status"
