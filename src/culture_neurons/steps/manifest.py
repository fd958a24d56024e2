"""Write down what a run was: config, versions, code, models, data, seeds, hardware, and a digest of every table."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from culture_neurons.steps import cli, history


def main(o: argparse.Namespace) -> None:
    """the tables of a run and their provenance*.json -> manifest.json"""
    from culture_neurons import __version__, files, provenance
    from culture_neurons.workflow import manifest

    run_history = history.read(o.provenance)
    _, data = files.read_table(o.samples, ["sample_id"], only=True)
    folder = o.out.parent
    packages: dict[str, set[str]] = {}
    for entry in run_history["steps"].values():
        for package in entry["packages"]:
            name, _, version = package.rpartition(" ")
            packages.setdefault(name, set()).add(version)
    result = {
        "manifest": manifest.SCHEMA,
        "version": __version__,
        "code": provenance.package_digest(),
        "config": o.config,
        "order": o.order,
        "seeds": manifest.seeds(o.config),
        "models": run_history["models"],
        "data": {"source": data["settings"]["source"], "images": data["images"]},
        "packages": {name: ", ".join(sorted(versions)) for name, versions in packages.items()},
        "hardware": sorted({name for entry in run_history["steps"].values() for name in entry["hardware"]}),
        "files": manifest.digests(folder, o.files),
    }
    if reused := _reused(folder, o.files):
        result["reused"] = reused
    files.write_text(o.out, json.dumps(result, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
    cli.log.info("%s: %d files", o.out, len(result["files"]))


def _reused(folder: Path, paths: Iterable[Path]) -> dict[str, list[dict[str, Any]]]:
    """Which of the files hold answers of other runs, and from which files these are."""
    from culture_neurons import files

    result = {}
    for path in paths:
        if path.name == "predictions.parquet":
            _, metadata = files.read_table(path, ["sample_id"], only=True)
            if "reused_from" in metadata:
                result[path.relative_to(folder).as_posix()] = metadata["reused_from"]
    return result


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("--config", type=cli.json_object, required=True, help="JSON: the settings of the run")
    parser.add_argument(
        "--order", type=cli.json_object, default={}, help="JSON: models and selectors in the order of the config"
    )
    parser.add_argument("--provenance", type=Path, nargs="+", required=True, help="provenance*.json of the tables")
    parser.add_argument("--samples", type=Path, required=True, help="samples.parquet")
    parser.add_argument("--files", type=Path, nargs="+", required=True, help="the files to digest")
    parser.add_argument("--out", type=Path, required=True, help="manifest.json, in the folder of the results")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
