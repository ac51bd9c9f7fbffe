#!/usr/bin/env bash
# The tests of the browser module drive Debian's chromium. Installs it where that can be done; they are skipped otherwise.
set -euo pipefail
command -v chromium >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "licmeter: installing chromium for the browser tests"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null
else
    echo "licmeter: no chromium here (apt-get install chromium); the browser tests are skipped" >&2
fi
