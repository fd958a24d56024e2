"""Run a command whose steps start warm: `python -m culture_neurons.warm snakemake --cores 2`.

Python, torch and transformers take seconds to load, longer than most steps of the demos compute. Here one server loads
them once; every step that the command starts on this machine asks it for a copy of itself (fork), which does the work
while the step passes on its output and exit code. Results are the same bytes.

Not for jobs of a cluster, and not needed for large models: what they load takes longer. Two things differ. The
`benchmarks/*.tsv` of such a run have the right seconds, and the memory and CPU time of the step that waits. And where
there is no server, or its code is not what lies on disk, a step does its work itself.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from culture_neurons.provenance import package_digest

#: Environment variable with the server's socket.
SOCKET = "CULTURE_NEURONS_WARM"
#: What the server loads: what most steps need.
_LOADED = ("models.loading", "analysis.mask_effects", "store", "report.figures")
#: Only a process without threads can be copied, so libraries start none; and to ask for GPUs must not touch any.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
}  # fmt: skip
#: Answer to a step that has to do its work itself; exit codes are below it.
_YOURSELF = 255


@contextmanager
def served() -> Iterator[dict[str, str]]:
    """A server; gives the environment of processes that may use it. It ends with the block, or with this process."""
    with tempfile.TemporaryDirectory(prefix="culture-neurons-") as folder:
        path = os.path.join(folder, "socket")
        with socket.socket(socket.AF_UNIX) as listener:
            # Whoever comes before the server has loaded everything waits.
            listener.bind(path)
            listener.listen(128)
            server = subprocess.Popen(
                [sys.executable, "-m", __spec__.name, "--serve", str(listener.fileno())], stdin=subprocess.PIPE,
                env=os.environ | _ENVIRONMENT, pass_fds=[listener.fileno()], start_new_session=True,
            )  # fmt: skip
        try:
            yield os.environ | {SOCKET: path}
        finally:
            server.kill()
            server.wait()
            server.stdin.close()


def forward() -> int | None:
    """Let the server run the module that this process was started for; its exit code, or None: do it yourself."""
    path, spec = os.environ.get(SOCKET), getattr(sys.modules["__main__"], "__spec__", None)
    if not path or spec is None:
        return None
    environment = {key: value for key, value in os.environ.items() if key != SOCKET}
    request = {"module": spec.name, "argv": sys.argv, "folder": os.getcwd(), "environment": environment,
               "code": package_digest(), "umask": _umask()}  # fmt: skip
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(path)
            socket.send_fds(connection, [b"!"], [1, 2])
            connection.sendall(json.dumps(request).encode() + b"\n")
            answer = connection.recv(1)
        except OSError:
            return None
    # Nothing: the copy was killed.
    code = answer[0] if answer else 128 + signal.SIGKILL
    return None if code == _YOURSELF else code


def serve(listener: socket.socket) -> None:
    """Load everything, then answer each connection with a copy of this process, until the input ends."""
    for name in _LOADED:
        importlib.import_module(f"culture_neurons.{name}")
    digest = package_digest()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # copies that end leave nothing behind
    while sys.stdin not in (ready := select.select([listener, sys.stdin], [], [])[0]):
        assert ready == [listener]
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            try:
                code = _work(connection, digest)
            except BaseException:
                traceback.print_exc()
                code = 1
            connection.sendall(bytes([code]))
            os._exit(0)
        connection.close()


def _work(connection: socket.socket, digest: str) -> int:
    """In a copy of the server: what one step asked for; the exit code."""
    _, files, _, _ = socket.recv_fds(connection, 1, 2)
    for number, file in zip((1, 2), files, strict=True):
        os.dup2(file, number)
        os.close(file)
    with connection.makefile("rb") as lines:
        request: Mapping[str, Any] = json.loads(lines.readline())
    # Of the step, and of what this process would still load from the disk.
    if {request["code"], package_digest()} != {digest}:
        return _YOURSELF
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115
    os.chdir(request["folder"])
    os.umask(request["umask"])
    os.environ.clear()
    os.environ.update(request["environment"])
    threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
    sys.argv = request["argv"]
    try:
        runpy.run_module(request["module"], run_name="__main__")
    except SystemExit as leave:
        if isinstance(leave.code, str):
            print(leave.code, file=sys.stderr)
        return leave.code if isinstance(leave.code, int) else int(leave.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _end_with(connection: socket.socket) -> None:
    """End this process at once when the step that waits for it has ended: killed, then."""
    connection.recv(1)
    os._exit(1)


def _umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value


def main(words: list[str]) -> int:
    """Run a command with a server beside it; its exit code."""
    if words[:1] == ["--serve"]:
        with socket.socket(fileno=int(words[1])) as listener:
            serve(listener)
        return 0
    if not words or shutil.which(words[0]) is None:
        found = f"no program {words[0]!r}; " if words else ""
        print(f"{found}expected a command: python -m culture_neurons.warm snakemake --cores 2", file=sys.stderr)
        return 2
    with served() as environment, subprocess.Popen(words, env=environment) as command:
        while True:
            with suppress(KeyboardInterrupt):  # the command gets it too, and knows what to do
                return command.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
