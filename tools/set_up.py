"""Make .venv with the locked packages and this package in it; do nothing when it is up to date.

Standard library only: `make` calls it with any Python >= 3.11. A digest of the lock files
and of pyproject.toml, written into .venv at the end, tells whether there is anything to do,
so a check-out that only touches files sets nothing up again.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "set-up.sha256"
LOG = VENV / "set-up.log"
KEYS = ("requirements.lock", "requirements-torch.lock", "pyproject.toml")


def digest(root: Path = ROOT) -> str:
    """SHA-256 over the files that decide what .venv holds, and over the place of the clone."""
    result = hashlib.sha256(str(root).encode())
    for name in KEYS:
        result.update(b"\0" + (root / name).read_bytes())
    return result.hexdigest()


def say(text: str) -> None:
    print(f"set-up: {text}", flush=True)


def leave(text: str) -> None:
    sys.exit(f"set-up: {text}")


def pip(what: str, *arguments: str, total: int = 0) -> None:
    """Run pip in .venv; its output goes to the log, a short line on every few packages to the screen."""
    say(what)
    command = [str(PYTHON), "-m", "pip", *arguments]
    environment = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    # In a terminal the count is rewritten in place; in a log there is a line at every quarter.
    seen, lines, start = 0, deque(maxlen=200), time.monotonic()
    with (
        LOG.open("a", encoding="utf-8") as log,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=ROOT
        ) as process,
    ):
        for line in process.stdout:
            log.write(line)
            lines.append(line.rstrip())
            if total and line.startswith(("Collecting ", "Processing ")):
                seen += 1
                if sys.stdout.isatty():
                    print(f"\r  fetched {min(seen, total)} of {total}  ", end="", flush=True)
                elif seen % max(total // 4, 1) == 0:
                    say(f"  fetched {min(seen, total)} of {total} ({time.monotonic() - start:.0f} s)")
            elif total and line.startswith("Installing collected packages"):
                print("\r" if sys.stdout.isatty() else "", end="")
                say("  unpacking ...")
            elif line.lstrip().startswith("Downloading ") and re.search(r"\((\d{3,}\.\d MB|[\d.]+ GB)\)", line):
                say(f"  {line.strip()}")
    if process.returncode:
        errors = [line for line in lines if line.lower().startswith("error")] or list(lines)[-10:]
        leave("pip failed:\n" + "\n".join(errors) + f"\nThe whole log is in {LOG.relative_to(ROOT)}.")


def main() -> None:
    wanted = digest()
    if STAMP.is_file() and STAMP.read_text(encoding="ascii") == wanted and PYTHON.exists():
        return
    if sys.version_info < (3, 11):  # noqa: UP036, this may well run with an older one
        leave(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}; try: make PYTHON=/path/to/python3.11")
    try:
        import ensurepip
        import venv
    except ImportError as error:
        leave(
            f"{sys.executable} lacks the module {error.name}; on Debian or Ubuntu, install the package"
            f" python3.{sys.version_info.minor}-venv, or try: make PYTHON=/path/to/python3.11"
        )
    if Path(sys.prefix).resolve() == VENV:  # called from the activated .venv, which goes now
        os.execv(sys._base_executable, [sys._base_executable, __file__])
    start = time.monotonic()
    say(f"making .venv with Python {sys.version.split()[0]} and pip {ensurepip.version()}")
    shutil.rmtree(VENV, ignore_errors=True)
    venv.create(VENV, with_pip=True)
    locked = len(re.findall(r"(?m)^[a-z0-9]", (ROOT / "requirements.lock").read_text(encoding="utf-8")))
    pip(
        f"installing the {locked} packages of requirements.lock, with their hashes checked (one to three minutes)",
        *("install", "--no-compile", "--no-deps", "--require-hashes", "-r", "requirements.lock"),
        total=locked,
    )
    pip(
        "installing torch (its CUDA build takes some minutes to download)",
        *("install", "--no-compile", "--progress-bar", "off", "-c", "requirements-torch.lock", "torch"),
    )
    pip("installing culture-neurons", "install", "--no-deps", "--no-build-isolation", "-e", ".")
    pip("checking that the packages fit together", "check")
    say("compiling them")
    # On all cores; pip would do it on one. Files for other versions of Python, which some packages bring, are left out.
    with LOG.open("a", encoding="utf-8") as log:
        words = [str(PYTHON), "-m", "compileall", "-q", "-q", "-j", "0", str(VENV / "lib")]
        subprocess.run(words, stdout=log, stderr=log, check=False)
    STAMP.write_text(wanted, encoding="ascii")
    say(f"done in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
