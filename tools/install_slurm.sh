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
"$(dirname "$0")"/debian_packages.sh install-slurm "Slurm (slurmctld, slurmd, clients) and munge" slurm-wlm munge util-linux
if missing; then
    echo "install-slurm: the packages are installed, but programs of Slurm are still missing" >&2
    exit 1
fi
