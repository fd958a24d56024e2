"""A finished run, from its folder alone: its config is that of `manifest.json`, and its files lie below the folder.

Figures, tables for a paper and the report are drawn again from such a folder, wherever it was copied to, without
Snakemake: `arguments` gives their steps what the rules would.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from culture_neurons import layout
from culture_neurons.errors import FileError
from culture_neurons.files import read_json
from culture_neurons.provenance import ROOT
from culture_neurons.report.registry import FIGURES, write_list
from culture_neurons.workflow.run import Run
from culture_neurons.workflow.settings import as_json

#: Says which defaults the keys have that a config of an earlier version lacks. It lies beside the package, in a clone.
SCHEMA = ROOT.parents[1] / "workflow" / "schemas" / "config.schema.yaml"
#: What no config is without; `read` needs no other key.
REQUIRED = ("dataset", "data", "models", "selectors", "top_fractions", "evidence", "evaluation", "finetuning")
#: Names of a run, of models and selectors, which become names of files: as in the schema.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class SavedRun(Run):
    """A run as `Run` has it, with all paths below `folder`. How its jobs ran is not known: no memory, no shards."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        # What a path is of is read from it with the folder's name (`layout.key`).
        self.folder = folder if folder.name not in ("", "..") else folder.resolve()

    def path(self, name: str, **given: object) -> str:
        """A path of this run; see `layout.path`."""
        in_results = layout.path(name, dataset=self.dataset, **given)
        return str(self.folder / in_results.removeprefix(layout.ROOT.format(dataset=self.dataset)))


def read(folder: Path) -> SavedRun:
    """The run in a results folder. Raises FileError where its manifest is missing, damaged, or of no use."""
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        raise FileError(f"{manifest}: no such file; expected the folder of a finished run, such as results/demo")
    written = read_json(manifest)
    config = written.get("config") if isinstance(written, dict) else None
    lacking = [key for key in REQUIRED if key not in config] if isinstance(config, dict) else REQUIRED
    if lacking:
        raise FileError(f"{manifest}: no config with {', '.join(lacking)}; expected the manifest of a finished run")
    config = {"shards": {}, **copy.deepcopy(config)}
    for part, names in written.get("order", {}).items():
        # A figure shows selectors in the order of the run's config, whose keys are sorted in a manifest.
        config[part] = {name: config[part][name] for name in names if name in config[part]} | config[part]
    for name in (config["dataset"], *config["models"], *config["selectors"]):
        if not _NAME.fullmatch(str(name)):
            raise FileError(f"{manifest}: name {name!r}: expected letters, digits, '.', '_' and '-'")
    if SCHEMA.is_file():
        schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
        with_defaults(config, schema, schema["$defs"])
    return SavedRun(folder, config)


def with_defaults(value: dict[str, Any], schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Set the defaults of a JSON Schema in nested settings, as Snakemake does; returns `value`."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    named = schema.get("properties", {})
    for key, part in named.items():
        if "default" in part and key not in value:
            value[key] = copy.deepcopy(part["default"])
        if isinstance(value.get(key), dict):
            with_defaults(value[key], part, definitions)
    others = schema.get("additionalProperties")
    if isinstance(others, dict):
        for key, part in value.items():
            if key not in named and isinstance(part, dict):
                with_defaults(part, others, definitions)
    return value


def arguments(step: str, folder: Path) -> tuple[list[str], list[str]]:
    """The command line of `figures` or `report` for a results folder; and a note for each thing left out.

    Left out is what reads a file that is not there: a table of another version, or weights that were not copied.
    Raises FileError for a folder that holds no finished run.
    """
    notes: list[str] = []
    return _COMMANDS[step](read(folder), notes), notes


def _figures(run: SavedRun, notes: list[str]) -> list[str]:
    return [
        *("--tables", str(run.folder / "tables"), "--more", *_tables(run, notes), "--figures", _shown(run, notes)),
        *("--selectors", *run.shown, "--top-fraction", run.top, "--threads", "2"),
        *("--out-dir", str(run.folder / "figures"), "--group-noun", _noun(run)),
    ]


def _noun(run: SavedRun) -> str:
    """What the run calls a group of questions; runs of earlier versions do not say."""
    return str(run.config.get("group_noun") or "culture")


def _report(run: SavedRun, notes: list[str]) -> list[str]:
    cards, more = run.all("cards") if run.cards else [], _tables(run, notes)
    paper = {"summary": run.shown, "drops": run.shown, "sets": run.evaluated and "sets" in more}
    return [
        *("--tables", str(run.folder / "tables"), "--more", *more),
        *("--figures", str(run.folder / "figures"), "--show", _shown(run, [])),
        *("--dropped", run.path("dropped", of=""), "--counts", run.path("counts", of="")),
        *("--run", as_json(run.report_settings), "--provenance", *_provenance(run)),
        *("--training", *_there(run.all("training", model=run.trained), notes), "--cards", *_there(cards, notes)),
        *("--out", run.path("report"), "--selectors", *run.latex_selectors, "--top-fraction", run.top),
        *(word for name, has in paper.items() if has for word in (f"--{name}", run.path("latex", table=name))),
    ]


_COMMANDS: Mapping[str, Callable[[SavedRun, list[str]], list[str]]] = {
    "figures": _figures, "report": _report,
}  # fmt: skip


def _provenance(run: SavedRun) -> list[str]:
    """What made its tables: of its rules alone, since those of an earlier version may lie there too; and all that there
    is where an earlier version made them, whose rules had other names."""
    if all(Path(file).is_file() for file in run.provenance):
        return run.provenance
    return sorted(map(str, (run.folder / "tables").glob("provenance*.json")))


def _tables(run: SavedRun, notes: list[str]) -> list[str]:
    """Names of the tables that only some runs make and that this one has."""
    paths = {name: run.path("table", table=name) for name in run.further_tables}
    there = _there(list(paths.values()), notes)
    return [name for name, path in paths.items() if path in there]


def _shown(run: SavedRun, notes: list[str]) -> str:
    """The figures whose tables are there, as steps take them."""
    without = set(run.further_tables) - set(_tables(run, []))
    return write_list(file for file in run.figures if not without & set(FIGURES[file.kind].reads))


def _there(files: list[str], notes: list[str]) -> list[str]:
    """Those of the files that exist, with a note for each of the others."""
    missing = [file for file in files if not Path(file).is_file()]
    notes += [f"{file}: no such file; what shows it is left out" for file in missing]
    return [file for file in files if file not in missing]
