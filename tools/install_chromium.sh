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
"$(dirname "$0")"/debian_packages.sh install-chromium "Chromium or Chrome" chromium
found || {
    echo "install-chromium: the package is installed, but no browser is there" >&2
    exit 1
}
