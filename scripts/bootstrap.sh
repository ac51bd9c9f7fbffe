#!/usr/bin/env bash
# Makes a virtual environment from requirements.lock: pip brings uv, uv brings the rest and checks each hash.
set -euo pipefail
venv=${1:?usage: bootstrap.sh VENV}
uv_version=0.13.9 # the version that wrote requirements.lock
python=${PYTHON:-python3}

fail() { printf 'licmeter: %s\n' "$*" >&2; exit 1; }

command -v "$python" >/dev/null || fail "no $python here; install Python 3.11 or later, or set PYTHON=/path/to/python3"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$python" --version) is too old; Python 3.11 or later is needed (set PYTHON=/path/to/python3)"

if [ ! -x "$venv/bin/pip" ]; then
    # Debian ships Python without ensurepip, which venv needs.
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
        [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
            fail "this Python cannot make virtual environments; install python3-venv (apt-get install python3-venv)"
        apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null
    fi
    echo "licmeter: making $venv"
    rm -rf "$venv"
    "$python" -m venv "$venv"
fi
"$venv/bin/uv" --version 2>/dev/null | grep -q "^uv $uv_version" || "$venv/bin/pip" install -q "uv==$uv_version"
echo "licmeter: installing what requirements.lock pins (some 400 MB on the first run)"
VIRTUAL_ENV=$PWD/$venv "$venv/bin/uv" pip install -q --require-hashes -r requirements.lock
VIRTUAL_ENV=$PWD/$venv "$venv/bin/uv" pip install -q --no-deps --no-build-isolation -e .
