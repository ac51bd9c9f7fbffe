#!/usr/bin/env bash
# All tests, in two processes that take about as long: those that need nothing, and those that keep the engine busy;
# and beside them the others on the real parts, which wait most of the time.
set -euo pipefail
bin=${1:?usage: run_tests.sh VENV_BIN}
busy=(tests/integration/{api,test_audit.py,test_audit_tail.py,test_proof.py,test_statistics.py})
log=$(mktemp)
"$bin/pytest" tests/unit tests/contract tests/property "${busy[@]}" >"$log" 2>&1 &
alone=$!
trap 'kill "$alone" 2>/dev/null || true; rm -f "$log"' EXIT  # whatever ends us ends both
failed=0
"$bin/pytest" tests/integration "${busy[@]/#/--ignore=}" || failed=1
wait "$alone" || failed=1
cat "$log"
exit "$failed"
