#!/bin/sh
# Sees to it that there is a Chromium for the browser suite: the one that is there, else the distribution's.
set -eu

say() { printf '%s\n' "$*" >&2; }

for browser in "${CHROMIUM:-}" chromium chromium-browser google-chrome; do
    if [ -n "$browser" ] && command -v "$browser" >/dev/null 2>&1; then
        exit 0
    fi
done

if ! command -v apt-get >/dev/null 2>&1; then
    say "The browser suite needs Chromium. Install it, or name one: CHROMIUM=/path/to/it make e2e"
    exit 1
fi
say "Installing Chromium ..."
as_root=
[ "$(id -u)" = 0 ] || as_root="sudo -n"
if ! { $as_root apt-get update -qq && $as_root apt-get install -qq -y --no-install-recommends chromium fonts-liberation; } >/dev/null; then
    say "Chromium could not be installed. Install it, or name one: CHROMIUM=/path/to/it make e2e"
    exit 1
fi
