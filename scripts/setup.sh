#!/bin/sh
# Makes $VENV with everything pinned and hashed: what a user needs; with the word `dev` also what the tests and checks
# need, beside it. Uses uv, or brings it into .tools/.
set -eu
: "${PYTHON:=python3}" "${VENV:=.venv}"

say() { printf '%s\n' "$*" >&2; }

count() { grep -c '^[a-z0-9].*==' "$1"; }

if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    say "cyclr-bulk needs Python 3.11 or newer; '$PYTHON' is $("$PYTHON" --version 2>&1 || echo missing)."
    say "Install one, or name it: make setup PYTHON=python3.12"
    exit 1
fi

if command -v uv >/dev/null 2>&1; then
    uv=uv
elif [ -x .tools/uv/bin/uv ]; then
    uv=.tools/uv/bin/uv
else
    say "Bringing uv, which installs packages, into .tools/ ..."
    if { "$PYTHON" -m venv .tools/uv && .tools/uv/bin/python -m pip install --quiet uv; } >/dev/null 2>&1; then
        uv=.tools/uv/bin/uv
    elif rm -rf .tools/uv && "$PYTHON" -m pip install --quiet --target .tools/uv uv >/dev/null 2>&1; then
        uv=.tools/uv/bin/uv
    else
        rm -rf .tools/uv
        say "cyclr-bulk sets itself up with uv, and could not bring it: Python has neither venv nor pip here,"
        say "or the package index cannot be reached. Install one of them and try again:"
        say "  Debian, Ubuntu: apt install python3-venv      Fedora: dnf install python3-pip"
        exit 1
    fi
fi

# Compiled now, so that no start of a command waits for it (some machines never write bytecode by themselves).
install() {
    "$uv" pip install --quiet --compile-bytecode --python "$VENV/bin/python" --require-hashes -r "$1"
}

if [ "${1:-}" = dev ]; then
    say "Installing what tests and checks need too, $(count requirements/dev.txt) packages at most in all ..."
    install requirements/dev.txt
    exit
fi

if [ ! -x "$VENV/bin/python" ]; then
    say "Making $VENV with $("$PYTHON" --version) ..."
    "$uv" venv --quiet --python "$PYTHON" "$VENV"
fi
say "Installing what cyclr-bulk needs, $(count requirements/runtime.txt) packages at most; this may take a minute ..."
install requirements/runtime.txt
say "Installing cyclr-bulk itself ..."
# What builds it is pinned and hashed as well, and stays out of $VENV.
"$uv" pip install --quiet --python "$VENV/bin/python" --no-deps --build-constraints requirements/dev.txt --editable .
say "Done: $VENV/bin/cyclr-bulk"
