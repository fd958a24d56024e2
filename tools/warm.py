"""Run a command whose steps start warm: `python tools/warm.py snakemake --cores 2`.

Loading torch and transformers takes seconds, longer than most steps of the demos compute. Here one server loads them
once. Every step that the command starts on this machine (`python -m culture_neurons.steps.X`) asks it, before Python
has loaded anything, to do the work in a copy of itself (fork); the step only waits for the exit code. Results are the
same bytes. Where there is no server, or its code is not what the step would load from disk, a step does its work
itself. The package knows nothing of all this: see warm_start.py for how a step asks.

Not for jobs of a cluster, and not needed for large models: what they load takes longer. The `benchmarks/*.tsv` of such
a run have the right seconds, but the memory and CPU time of a process that waits.
"""

from __future__ import annotations

import ast
import importlib
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
from importlib.machinery import PathFinder
from pathlib import Path

#: What Python runs before a step.
_START = Path(__file__).with_name("warm_start.py")
PACKAGE = "culture_neurons"
#: What the server loads: what most steps need.
_LOADED = ("models.loading", "analysis.mask_effects", "store", "report.figures")
#: Only a process without threads can be copied, so libraries start none; and to ask for GPUs must not touch any.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
}  # fmt: skip
#: Answer to a step that has to do its work itself; exit codes are below it.
_REFUSED = 255


@contextmanager
def served() -> Iterator[str]:
    """Start a server; it ends with the block, or with this process.

    Gives a folder; processes with it on their PYTHONPATH use the server.
    """
    with tempfile.TemporaryDirectory(prefix="culture-neurons-") as folder:
        shutil.copyfile(_START, os.path.join(folder, "sitecustomize.py"))
        path = os.path.join(folder, "socket")
        with socket.socket(socket.AF_UNIX) as listener:
            # Whoever comes before the server has loaded everything waits.
            listener.bind(path)
            listener.listen(128)
            server = subprocess.Popen(
                [sys.executable, "-P", __file__, "--serve", str(listener.fileno())], stdin=subprocess.PIPE,
                env=os.environ | _ENVIRONMENT, pass_fds=[listener.fileno()], start_new_session=True,
            )  # fmt: skip
        try:
            yield folder
        finally:
            server.kill()
            server.wait()
            server.stdin.close()


def environment(folder: str) -> dict[str, str]:
    """The environment of this process, with a server's folder first on PYTHONPATH."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))}


def serve(listener: socket.socket) -> None:
    """Load everything, then answer each connection with a copy of this process, until the input ends."""
    for name in _LOADED:
        importlib.import_module(f"{PACKAGE}.{name}")
    sources = _sources(_package(sys.path))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # copies that end leave nothing behind
    while sys.stdin not in (ready := select.select([listener, sys.stdin], [], [])[0]):
        assert ready == [listener]
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            try:
                code = _work(connection, sources)
            except BaseException:
                traceback.print_exc()
                code = 1
            connection.sendall(bytes([code]))
            os._exit(0)
        connection.close()


def _work(connection: socket.socket, sources: Mapping[str, bytes]) -> int:
    """In a copy of the server: run the step that was asked for; its exit code."""
    _, files, _, _ = socket.recv_fds(connection, 1, 2)
    for number, file in zip((1, 2), files, strict=True):
        os.dup2(file, number)
        os.close(file)
    with connection.makefile("rb") as lines:
        request = ast.literal_eval(lines.readline().decode())
    # Where the step would find the package, and where this process would load what it has not loaded yet.
    places = {_package([request["folder"], *request["path"]]), _package(sys.path)}
    if request["prefix"] != sys.prefix or any(_sources(place) != sources for place in places):
        return _REFUSED
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115
    os.chdir(request["folder"])
    os.umask(request["umask"])
    os.environ.clear()
    os.environ.update(request["environment"])
    threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
    sys.argv = [request["module"], *request["arguments"]]
    try:
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    except SystemExit as leave:
        if isinstance(leave.code, str):
            print(leave.code, file=sys.stderr)
        return leave.code if isinstance(leave.code, int) else int(leave.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _package(path: list[str]) -> Path | None:
    """The folder of the package that is found on a path, or None."""
    spec = PathFinder.find_spec(PACKAGE, path)
    return Path(spec.origin).parent if spec and spec.origin else None


def _sources(package: Path | None) -> dict[str, bytes]:
    """The code of a package: files, by their path in it."""
    files = (path for path in package.rglob("*") if path.suffix in (".py", ".j2")) if package else ()
    return {str(path.relative_to(package)): path.read_bytes() for path in files}


def _end_with(connection: socket.socket) -> None:
    """End this process at once when the step that waits for it has ended: killed, then."""
    connection.recv(1)
    os._exit(1)


def main(words: list[str]) -> int:
    """Run a command with a server beside it; its exit code."""
    if words[:1] == ["--serve"]:
        with socket.socket(fileno=int(words[1])) as listener:
            serve(listener)
        return 0
    if not words or shutil.which(words[0]) is None:
        problem = f"no program {words[0]!r}; " if words else ""
        print(f"{problem}expected a command: python tools/warm.py snakemake --cores 2", file=sys.stderr)
        return 2
    with served() as folder, subprocess.Popen(words, env=environment(folder)) as command:
        while True:
            with suppress(KeyboardInterrupt):  # the command gets it too, and knows what to do
                return command.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
