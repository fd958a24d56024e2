#!/bin/sh
# The programs that make test-slurm needs, from Debian's (or Ubuntu's) packages; nothing where they are there.
# Only programs: the tests configure, start and stop their own Slurm, below /tmp.
set -eu

missing() {
    for program in munged slurmctld slurmd sbatch srun squeue scontrol sinfo scancel setpriv; do
        PATH="$PATH:/usr/sbin:/sbin" command -v "$program" > /dev/null || return 0
    done
    return 1
}

missing || exit 0
echo "install-slurm: installing slurm-wlm and munge"
command -v apt-get > /dev/null || {
    echo "install-slurm: there is no apt-get here; install Slurm (slurmctld, slurmd, clients) and munge yourself" >&2
    exit 1
}
root=""
if [ "$(id -u)" != 0 ]; then
    root="sudo -n"
    $root true 2> /dev/null || {
        echo "install-slurm: needs root: run as root, or once: sudo apt-get install slurm-wlm munge" >&2
        exit 1
    }
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
{ $root apt-get update && $root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
    slurm-wlm munge util-linux; } > "$log" 2>&1 || { tail -n 20 "$log" >&2; exit 1; }
if missing; then
    echo "install-slurm: the packages are installed, but programs of Slurm are still missing" >&2
    exit 1
fi
