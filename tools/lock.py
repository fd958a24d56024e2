"""Write requirements.lock and requirements-torch.lock from pyproject.toml, through `uv pip compile`.

Pins that are in the locks stay; `--upgrade-package NAME` (or `--upgrade`) moves them. Any other
option is handed to uv as well. The result holds no address of an index.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK, TORCH = ROOT / "requirements.lock", ROOT / "requirements-torch.lock"
#: torch, what only some of its builds need, and torchvision, which has builds for the same devices.
_BUILDS = re.compile(r"(torch|torchvision|triton|cuda-[a-z-]+|nvidia-[a-z0-9-]+)==")

HEADER = """\
# Every package of a working set-up (to run, to test, Slurm) for Python >= 3.11, Linux and macOS, with
# the SHA-256 of all its files; made by `make lock`, and `make demo` installs it. By hand:
#   pip install --no-deps --require-hashes -r requirements.lock
#   pip install -c requirements-torch.lock torch
#   pip install --no-deps --no-build-isolation -e .
# torch has a file of its own: its builds (CPU, CUDA) differ from machine to machine and so do their
# hashes, and pip checks the hashes of all the packages of a call or of none.
"""
HEADER_TORCH = """\
# torch and the CUDA packages of its Linux build; see requirements.lock. These are constraints: a CPU
# build of torch asks for no CUDA package, and then none is installed. torchvision is the extra vision; the
# wheel of PyPI for Linux goes with the CUDA build of torch.
#   pip install -c requirements-torch.lock torch
"""


def split(compiled: str) -> tuple[list[str], list[str]]:
    """Requirements, each with its hash lines: those of requirements.lock, and the builds of torch."""
    entries = [e.rstrip("\n") for e in re.split(r"(?m)^(?=[A-Za-z0-9])", compiled) if e and not e.startswith("#")]
    builds = [re.sub(r" *\\\n.*", "", e, flags=re.S) for e in entries if _BUILDS.match(e)]
    return [e for e in entries if not _BUILDS.match(e)], builds


def main(options: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.lock"
        known = [p.read_text(encoding="utf-8") for p in (LOCK, TORCH) if p.is_file()]
        out.write_text("".join(known), encoding="utf-8")
        command = ["uv", "pip", "compile", "pyproject.toml", "--universal", "--python-version", "3.11", "--all-extras"]
        command += ["--generate-hashes", "--no-header", "--no-annotate", "--quiet", "--output-file", str(out)]
        subprocess.run([*command, *options], cwd=ROOT, check=True)
        locked, builds = split(out.read_text(encoding="utf-8"))
    LOCK.write_text(HEADER + "\n".join(locked) + "\n", encoding="utf-8")
    TORCH.write_text(HEADER_TORCH + "\n".join(builds) + "\n", encoding="utf-8")
    print(f"{LOCK.name}: {len(locked)} packages; {TORCH.name}: {len(builds)}")


if __name__ == "__main__":
    main(sys.argv[1:])
