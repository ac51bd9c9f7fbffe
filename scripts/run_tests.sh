#!/usr/bin/env bash
# All tests, in two processes that take about as long: those that need nothing, and the statistics API on the real
# engine; and beside them the others on the real parts, which wait most of the time.
set -euo pipefail
bin=${1:?usage: run_tests.sh VENV_BIN}
log=$(mktemp)
"$bin/pytest" tests/unit tests/contract tests/property tests/integration/api >"$log" 2>&1 &
alone=$!
trap 'kill "$alone" 2>/dev/null || true; rm -f "$log"' EXIT  # whatever ends us ends both
failed=0
"$bin/pytest" tests/integration --ignore=tests/integration/api || failed=1
wait "$alone" || failed=1
cat "$log"
exit "$failed"
