"""Dry runs as copies of one process that has loaded Snakemake: to load it takes longer than most of them.

No module of the package may be imported here: a copy imports that of the project.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
# Where pytest does not run in the repository's folder, the second is not found, and a dry run takes longer.
_CONTEXT.set_forkserver_preload(["snakemake.cli", "tests.pipeline.loaded_snakemake"])


def run(
    words: Sequence[str], folder: Path, environment: Mapping[str, str], seconds: float
) -> subprocess.CompletedProcess:
    """What `snakemake {words}` does in a folder; both of its outputs are in `stdout`."""
    with tempfile.NamedTemporaryFile() as output:
        process = _CONTEXT.Process(target=_snakemake, args=(words, folder, dict(environment), output.name))
        process.start()
        process.join(seconds)
        if process.exitcode is None:
            process.kill()
            process.join()
        text = Path(output.name).read_text(encoding="utf-8")
        done = subprocess.CompletedProcess(["snakemake", *words], process.exitcode, stdout=text, stderr="")
        process.close()
    return done


def _snakemake(words: Sequence[str], folder: Path, environment: dict[str, str], output: str) -> None:
    from snakemake.cli import main

    with open(output, "ab") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["snakemake", *words]
    main(words)
