#!/bin/sh
# debian_packages.sh NAME WHAT PACKAGE...: install packages of Debian (or Ubuntu), as root or through sudo.
# NAME stands before messages; WHAT is what to install by hand where there is no apt-get.
set -eu

name=$1 what=$2
shift 2
echo "$name: installing $*"
command -v apt-get > /dev/null || {
    echo "$name: there is no apt-get here; install $what yourself" >&2
    exit 1
}
root=""
if [ "$(id -u)" != 0 ]; then
    root="sudo -n"
    $root true 2> /dev/null || {
        echo "$name: needs root: run as root, or once: sudo apt-get install $*" >&2
        exit 1
    }
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
{ $root apt-get update && $root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
    "$@"; } > "$log" 2>&1 || { tail -n 20 "$log" >&2; exit 1; }
