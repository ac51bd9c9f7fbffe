#!/usr/bin/env bash
# All tests, in two processes: those that need nothing beside those that wait for the real parts most of the time.
set -euo pipefail
bin=${1:?usage: run_tests.sh VENV_BIN}
log=$(mktemp)
"$bin/pytest" tests/unit tests/contract tests/property >"$log" 2>&1 &
alone=$!
trap 'kill "$alone" 2>/dev/null || true; rm -f "$log"' EXIT  # whatever ends us ends both
failed=0
"$bin/pytest" tests/integration || failed=1
wait "$alone" || failed=1
cat "$log"
exit "$failed"
