#!/usr/bin/env bash
# All tests, in three processes: those that need nothing, which give way to the others and keep the processors busy
# while these wait; and two halves of those on the real parts, which take about as long.
set -euo pipefail
bin=${1:?usage: run_tests.sh VENV_BIN}
books=(tests/integration/{api,test_audit.py,test_audit_tail.py,test_notify_people.py,test_notify_process.py}
  tests/integration/{test_notify_webhooks.py,test_proof.py,test_rejects.py,test_replay.py,test_statistics.py})
logs=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$logs"' EXIT  # whatever ends us ends all
patience=(-o timeout=1200 -o faulthandler_timeout=1500)
nice -n 5 "$bin/pytest" "${patience[@]}" tests/unit tests/contract tests/property >"$logs/alone" 2>&1 &
alone=$!
"$bin/pytest" "${books[@]}" >"$logs/books" 2>&1 &
second=$!
failed=0
"$bin/pytest" tests/integration "${books[@]/#/--ignore=}" 2>&1 | tee "$logs/parts" || failed=1
wait "$second" || failed=1
wait "$alone" || failed=1
cat "$logs/books" "$logs/alone"
grep -hE '^(FAILED|ERROR) |^=+ .*(passed|failed|error).* =+$' "$logs"/* || failed=1  # the end of each, together
exit "$failed"
