#!/bin/sh
# A short load on a server of its own: load.sh COMMAND SERVE_LOAD
set -eu
scratch=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$scratch"' EXIT
"$1" serve --model mini --port 0 --port-file "$scratch/port" --parallel 2 --queue 2 --quiet 2>"$scratch/log" &
server=$!
for _ in $(seq 600); do
  [ -s "$scratch/port" ] && break
  sleep 0.1
done
url=http://127.0.0.1:$(cat "$scratch/port")
# More clients than places: some are told 429 and come back when they may.
"$2" --url "$url" --clients 6 --duration 2 --turns 2 --max-tokens 8 --pid "$server" --soak
# Requests that come by themselves.
"$2" --url "$url" --clients 4 --rate 5 --duration 2 --max-tokens 8 --retries 20
kill "$server"
status=0
wait "$server" || status=$?
server=
cat "$scratch/log"
exit "$status"
