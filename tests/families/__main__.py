"""Check every family of the installed transformers, and write docs/model-families.md and .json.

    python -m tests.families [--jobs 2] [family ...]     families named: their results are printed, nothing is written
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.families.running import run_each, works

_UNSEEN = "--without-torchvision"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(_UNSEEN, metavar="FOLDER", dest="folder",
                        help="load the models of a folder, without torchvision")  # fmt: skip
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    if options.folder:
        sys.modules["torchvision"] = None  # as if it were not installed
        print(json.dumps(_load_all(Path(options.folder), options.names, options.jobs)))
        return
    from transformers.utils import is_torchvision_available

    if not is_torchvision_available():
        raise SystemExit("torchvision is not installed (pip: the extra vision); the table needs it")
    results = check_all(options.names, options.jobs)
    if options.names:
        print(json.dumps(results, indent=1))
        return
    from tests.families import table

    table.write(results)
    text = sum(works(result, "text") for result in results.values())
    images = sum(works(result, "images") for result in results.values())
    print(f"{len(results)} families: {text} answer questions in words, {images} about images")


def check_all(names: list[str], jobs: int) -> dict[str, Any]:
    """The results of the families named, or of all, and which of them need torchvision (`vision`)."""
    from tests.families import checks
    from tests.families.registry import families

    _quiet()
    with tempfile.TemporaryDirectory() as folder:
        results = run_each(
            names or list(families()), lambda name: checks.check(name, Path(folder) / name), jobs, tell=_tell
        )
        seeing = [name for name, result in results.items() if "images" in result]
        if seeing:
            command = [sys.executable, "-m", "tests.families", "--jobs", str(jobs), _UNSEEN, folder, *seeing]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            loads = json.loads(output.strip().rpartition("\n")[2])
            for name in seeing:
                results[name]["vision"] = not loads[name].get("loads", False)
    return results


def _load_all(folder: Path, names: list[str], jobs: int) -> dict[str, Any]:
    from culture_neurons.models import loading

    _quiet()

    def load(name: str) -> dict[str, Any]:
        loading.load({"name": name, "path": str(folder / name)})
        return {"loads": True}

    return run_each(names, load, jobs)


def _quiet() -> None:
    import warnings

    import torch
    import transformers

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def _tell(name: str, result: dict[str, Any]) -> None:
    modes = {mode: [a for a, why in result[mode].items() if why] for mode in ("text", "images") if mode in result}
    print(f"{name}: {result.get('refused') or modes}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
