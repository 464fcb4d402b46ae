#!/usr/bin/env bash
# usage: tests/web/run.sh [--needs package|chromium|haproxy]… FILE.test.mjs…
# Runs tests of node. What is missing is said and the whole is skipped (status 77, which CTest shows as skipped).
set -euo pipefail
folder=$(cd "$(dirname "$0")" && pwd)
skip() {
  echo "skipped: $*" >&2
  exit 77
}
command -v node >/dev/null || skip "no node (tools/install-deps.sh web)"
[ "$(node -p 'process.versions.node.split(".")[0]')" -ge 18 ] || skip "node $(node --version) is too old; 18 is needed"
while [ "${1:-}" = --needs ]; do
  case "$2" in
    package)  [ -d "$folder/node_modules/playwright-core" ] || skip "no tests/web/node_modules (cd tests/web && npm ci)" ;;
    chromium) [ -x "${CHROMIUM:-/usr/bin/chromium}" ] || skip "no Chromium (tools/install-deps.sh web)" ;;
    haproxy)  [ -x "${HAPROXY:-/usr/sbin/haproxy}" ] || skip "no HAProxy (tools/install-deps.sh web)" ;;
    *) echo "run.sh: unknown need $2" >&2; exit 2 ;;
  esac
  shift 2
done
# The runner reports one line a test; what fails is told at length.
exec node --test "$@"
