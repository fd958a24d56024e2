#!/bin/sh
# The browser that make check-report needs, from Debian's packages; nothing where there is one.
set -eu

found() {
    for program in chromium chromium-browser google-chrome google-chrome-stable; do
        command -v "$program" > /dev/null && return 0
    done
    return 1
}

found && exit 0
echo "install-chromium: installing chromium"
command -v apt-get > /dev/null || {
    echo "install-chromium: there is no apt-get here; install Chromium or Chrome yourself" >&2
    exit 1
}
root=""
if [ "$(id -u)" != 0 ]; then
    root="sudo -n"
    $root true 2> /dev/null || {
        echo "install-chromium: needs root: run as root, or once: sudo apt-get install chromium" >&2
        exit 1
    }
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
{ $root apt-get update && $root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
    chromium; } > "$log" 2>&1 || { tail -n 20 "$log" >&2; exit 1; }
found || {
    echo "install-chromium: the package is installed, but no browser is there" >&2
    exit 1
}
