"""A real Slurm on this host, for as long as a test needs it: a controller and two nodes, nothing outside one folder.

The daemons run in the foreground as children of the tests and get a signal when these die, so that none is left
behind, whatever happens. Nodes claim more cores than there are, and GPUs that do not exist: what counts here is what
jobs ask for, and where they go.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

#: Name of a node -> the type of its two GPUs.
NODES = {"n1": "small", "n2": "large"}

SLURM_CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
AccountingStorageType=accounting_storage/none
# Without this pair nothing ends a job that takes more memory than it asked for.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
KillWait=2
ReturnToService=2
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,bf_interval=2,sched_min_interval=0,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
GresTypes=gpu
# Every job of the session can be looked at afterwards.
MinJobAge=7200
{nodes}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Cluster:
    """A running cluster: `environment` for programs that use it, and what it knows of its jobs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        programs = folder / "bin"
        self.environment = os.environ | {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        }

    def command(self, *words: str) -> str:
        """The output of a client of Slurm."""
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=30, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def jobs(self, folder: Path | None = None) -> list[dict[str, str]]:
        """What Slurm knows of all jobs so far, those that have ended too; or of those that were sent from `folder`."""
        lines = self.command("scontrol", "--oneliner", "show", "jobs").splitlines()
        found = [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in lines if line.startswith("JobId=")]
        return [job for job in found if folder is None or job["WorkDir"] == str(folder)]

    def waiting(self) -> list[str]:
        """Ids of jobs that have not ended."""
        return self.command("squeue", "--noheader", "--format=%i").split()

    def cancel(self, seconds: float = 20) -> None:
        """End all jobs, and wait until they have ended."""
        deadline = time.monotonic() + seconds
        while (ids := self.waiting()) and time.monotonic() < deadline:
            self.command("scancel", *ids)
            time.sleep(0.2)

    def processes(self, word: str = "") -> list[int]:
        """Ids of processes that this cluster started; or of those with this word on their command line."""
        ours = f"SLURM_CONF={self.environment['SLURM_CONF']}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if word and word.encode() not in (path / "cmdline").read_bytes().split(b"\0"):
                    continue
                if ours in (path / "environ").read_bytes().split(b"\0"):
                    found.append(int(path.name))
        return found


@contextlib.contextmanager
def running() -> Iterator[Cluster]:
    """Start a cluster, hand it out, and stop all of it.

    Raises RuntimeError with what the daemons said when they don't come up.
    """
    # Not the folder of pytest: names of sockets may not be longer than 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    daemons: list[subprocess.Popen] = []
    cluster = Cluster(folder)
    try:
        _configure(folder)
        _start(cluster, daemons, "munged", "--foreground", "--force", *_munge(folder))
        _wait(cluster, daemons, lambda: (folder / "munge.socket").exists())
        _start(cluster, daemons, "slurmctld", "-D", "-c", "-i", "-f", str(folder / "slurm.conf"))
        for node in NODES:
            _start(cluster, daemons, "slurmd", "-D", "-N", node, "-f", str(folder / "slurm.conf"))
        _wait(cluster, daemons, lambda: _idle(cluster))
        yield cluster
    finally:
        _stop(cluster, daemons)
        shutil.rmtree(folder, ignore_errors=True)


def _configure(folder: Path) -> None:
    host = socket.gethostname().partition(".")[0]
    ports = _free_ports(1 + len(NODES))
    nodes = "\n".join(
        f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=8 RealMemory=64000"
        f" Gres=gpu:{kind}:2 State=UNKNOWN"
        for (node, kind), port in zip(NODES.items(), ports[1:], strict=True)
    )
    text = SLURM_CONF.format(host=host, controller=ports[0], user=getpass.getuser(), folder=folder, nodes=nodes)
    (folder / "slurm.conf").write_text(text, encoding="utf-8")
    gpus = [f"NodeName={node} Name=gpu Type={kind} File=/dev/null,/dev/zero\n" for node, kind in NODES.items()]
    (folder / "gres.conf").write_text("".join(gpus), encoding="utf-8")
    (folder / "state").mkdir()
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o400)
    # The executor's job step takes all variables named SLURM_* from srun, the place of the configuration too.
    wrapper = folder / "bin" / "srun"
    wrapper.parent.mkdir()
    script = f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun")} "$@"\n'
    wrapper.write_text(script, encoding="utf-8")
    wrapper.chmod(0o755)


def _munge(folder: Path) -> list[str]:
    names = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    return [f"--{option}={folder}/munge.{name}" for option, name in names.items()]


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _start(cluster: Cluster, daemons: list[subprocess.Popen], *words: str) -> None:
    with (cluster.folder / f"{words[0]}-{len(daemons)}.log").open("w") as log:
        # setpriv: when the tests are killed, so is the daemon.
        daemons.append(
            subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *words], env=cluster.environment, stdout=log, stderr=log,
                stdin=subprocess.DEVNULL,
            )
        )  # fmt: skip


def _idle(cluster: Cluster) -> bool:
    with contextlib.suppress(RuntimeError):
        return cluster.command("sinfo", "--noheader", "--format=%t %D").split() == ["idle", str(len(NODES))]
    return False


def _wait(cluster: Cluster, daemons: list[subprocess.Popen], ready, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline or any(daemon.poll() is not None for daemon in daemons):
            logs = "\n".join(f"{p.name}:\n{p.read_text(errors='replace')}" for p in cluster.folder.glob("*.log"))
            raise RuntimeError(f"Slurm does not come up:\n{logs}")
        time.sleep(0.1)


def _stop(cluster: Cluster, daemons: list[subprocess.Popen]) -> None:
    """Jobs first, then the daemons, the last one first, then what is left of the jobs."""
    with contextlib.suppress(RuntimeError, OSError, subprocess.TimeoutExpired):
        cluster.cancel()
    for daemon in reversed(daemons):
        daemon.terminate()
        try:
            daemon.wait(timeout=10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
    for process in cluster.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
