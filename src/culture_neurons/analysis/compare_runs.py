"""Two finished runs side by side: what can be compared of them, and the tables of it.

What can't be compared gets a row of `compared` with the reason, in one line; all else goes on. `TABLES` has every table
of a comparison, once, as `culture_neurons.tables` has those of a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import pandas as pd

from culture_neurons import files
from culture_neurons.analysis import compared_effects, compared_masks, p_values, paired_changes
from culture_neurons.analysis.finished_run import FinishedRun, MaskFile, MaskKey
from culture_neurons.errors import ConfigError, CultureNeuronsError, FileError
from culture_neurons.files import first_line
from culture_neurons.tables import Table

T = TypeVar("T")
PAIR = ("model", "other_model")
FILES = (*PAIR, "selector", "top_fraction")
_ALL = (
    Table(
        "compared",
        "compare",
        ("what", *FILES, "compared", "n", "reason"),
        "What was compared",
        "What the two runs have in common, and what could not be compared and why. n counts questions, or cultures "
        "with a mask in both.",
    ),
    Table(
        "paired_effects",
        "compare",
        (*FILES, *compared_effects.COLUMNS, "p_adjusted", "control", "planted"),
        "Do the masks do the same?",
        "On the questions that both runs evaluate: the mean of the first run, that of the other, and the difference "
        "of the two, paired by question, with 95 % intervals; accuracy in points, log-probability in nats. Self: "
        "under the own culture's mask; cross: under the others'; specificity: self - cross; baseline: without masks. "
        "A negative difference: the first run has the larger loss, or the lower baseline. Single cultures are in the "
        "file.",
        left_out=r"^(n_cultures|.*_value_p|value_p|culture|other_culture)$",
        decimals=dict.fromkeys(("value", "other_value", "difference"), 3),
        averaged=("culture",),
    ),
    Table(
        "shared_neurons",
        "compare",
        (*FILES, "same_model", *compared_masks.COLUMNS, "p_adjusted", "control", "planted"),
        "Are the neurons the same?",
        "The masks of one culture in both runs: their sizes, the neurons in both, the Jaccard index (overlap), and "
        "that of masks with these numbers of neurons per layer that fall anywhere in a layer (expected); p: chance to "
        "share as many. Depth: how much of the two histograms over relative depth lies in both, and of random masks. "
        "Other pairs of cultures and single layers are in the file.",
        left_out=r"^(layer|matched)$",
        decimals=dict.fromkeys(("overlap", "expected", "depth_overlap", "depth_expected"), 3),
        averaged=("layer",),
    ),
    Table(
        "transferred_masks",
        "compare",
        (*FILES, "masks_of", "questions_of", *compared_effects.COLUMNS, "p_adjusted", "control", "planted"),
        "Do masks of one run hold on the questions of the other?",
        "Value: under the masks that the run `masks_of` chose; other value: under the own masks of the run whose "
        "questions they are; difference: the first minus the second, paired by question. A negative value: answers "
        "were lost. Single cultures are in the file.",
        left_out=r"^(culture|other_culture|other_value_p)$",
        decimals=dict.fromkeys(("value", "other_value", "difference"), 3),
        averaged=("culture",),
    ),
)  # fmt: skip
#: By name, in the order of the page.
TABLES: Mapping[str, Table] = MappingProxyType({table.name: table for table in _ALL})
#: Columns that hold names.
TEXT = (
    "what", *PAIR, "selector", "compared", "reason", "culture", "other_culture", "measure", "averaged_over",
    "same_model", "matched", "control", "planted", "masks_of", "questions_of",
)  # fmt: skip


class Comparison:
    """The rows of all tables, as they are found, and what could not be compared."""

    def __init__(self, first: FinishedRun, second: FinishedRun, replicates: int, seed: int) -> None:
        self.first, self.second, self.replicates, self.seed = first, second, replicates, seed
        self.parts: dict[str, list[pd.DataFrame]] = {name: [] for name in TABLES}
        self.notes: list[dict[str, Any]] = []

    def note(self, what: str, reason: str = "", n: int | None = None, **names: str) -> None:
        """Write down that something was compared, or, with a reason, that it was not."""
        self.notes.append({"what": what, **names, "compared": "no" if reason else "yes", "n": n, "reason": reason})

    def attempt(self, what: str, work: Callable[[], T], **names: str) -> T | None:
        """What `work` gives; None, with its reason noted, where a file is missing or does not fit."""
        try:
            return work()
        except CultureNeuronsError as error:
            self.note(what, first_line(error), **names)
            return None

    def add(self, name: str, rows: pd.DataFrame, **names: Any) -> None:
        """Add rows to a table, after columns that name them."""
        if len(rows):
            self.parts[name].append(rows.assign(**names))

    def planted(self, model: str, other: str) -> str:
        """Whether either model is a control whose culture neurons are planted."""
        return "yes" if model in self.first.planted or other in self.second.planted else "no"


def compare(
    first: FinishedRun,
    second: FinishedRun,
    replicates: int = 2000,
    seed: int = 0,
    transfers: Sequence[Path] | None = None,
) -> dict[str, pd.DataFrame]:
    """The tables of two runs by name (`TABLES`); that of transferred masks only where `transfers` are given.

    transfers   files of `steps.transfer`: answers to one run's questions under the masks of the other; None: it was
                not asked for

    Raises ConfigError where both are one folder, or have one name.
    """
    if first.folder.resolve() == second.folder.resolve():
        raise ConfigError(f"runs: {first.folder} is given twice; expected two results folders")
    if first.name == second.name:  # tables and figures tell runs apart by their names
        raise ConfigError(
            f"runs: {first.folder} and {second.folder} have one name, {first.name!r}; expected folders of two names"
        )
    state = Comparison(first, second, replicates, seed)
    common = set(first.samples["sample_id"]) & set(second.samples["sample_id"])
    state.note("questions", "" if common else "no sample id is in both samples.parquet: effects can't be paired",
               len(common))  # fmt: skip
    matches = compared_masks.match_cultures(first.samples, second.samples)
    state.note("cultures", "" if matches else "no culture has a name or questions in both: own masks can't be compared",
               len(matches))  # fmt: skip
    for model, other in model_pairs(state):
        _compare_models(state, model, other, matches)
        if transfers is not None and (model != other or not same_model(state, model, other)):
            state.note("transfer", "masks move between runs of one model (name, revision and dtype)", model=model,
                       other_model=other)  # fmt: skip
    for path in transfers or ():
        _read_transfer(state, path)
    result = {name: _whole(state, name) for name in TABLES if name != "compared"}
    if transfers is None:
        del result["transferred_masks"]
    notes = pd.DataFrame(state.notes, columns=list(TABLES["compared"].columns)).astype({"n": "Int64"})
    return {"compared": notes, **result}


def model_pairs(state: Comparison) -> Iterator[tuple[str, str]]:
    """Models of one name in both runs; where there are none, each of the first with each of the other."""
    first, second = state.first.models, state.second.models
    names = [name for name in first if name in second]
    if not names:
        yield from product(first, second)
        return
    yield from ((name, name) for name in names)
    for run, models in ((state.first, first), (state.second, second)):
        for model in models:
            if model not in names:
                state.note("models", f"only {run.name} has this model", model=model)


def same_model(state: Comparison, model: str, other: str) -> bool:
    """Whether both are one model: of equal revision (of files here, a digest), dtype and GGUF file."""
    return state.first.identity(model) == state.second.identity(other)


def _compare_models(state: Comparison, model: str, other: str, matches: dict[str, tuple[str, str]]) -> None:
    first, second = state.first, state.second
    names = {"model": model, "other_model": other}
    bases = state.attempt("answers", lambda: (first.baseline(model), second.baseline(other)), **names)
    if bases is None:
        return
    planted, one_model = state.planted(model, other), same_model(state, model, other)
    values = [compared_effects.of_baseline(base) for base in bases]
    rows = compared_effects.compare(*values, state.replicates, state.seed)
    state.add("paired_effects", rows, **names, control="no", planted=planted)
    n = int(rows["n"].iloc[0]) if len(rows) else 0
    state.note("answers", "" if n else "no question is in the evaluate half of both runs", n, **names)
    for key in [key for key in first.masks if key[0] == model]:
        selector, fraction = key[1:]
        where = {**names, "selector": selector, "top_fraction": fraction}
        theirs = (other, selector, fraction)
        if theirs not in second.masks:
            state.note("masks", f"{second.name} has no masks of this selector and top fraction", **where)
            continue
        masks = state.attempt("masks", lambda k=key, t=theirs: (first.mask_file(k), second.mask_file(t)), **where)
        if masks is None:
            continue
        marks = {"planted": planted, "control": "yes" if masks[0].control else "no"}
        _compare_masks(state, *masks, matches, where, marks | {"same_model": "yes" if one_model else "no"})
        if n:
            paired = state.attempt("effects", lambda k=key, t=theirs: (first.paired(k), second.paired(t)), **where)
            if paired:
                values = [compared_effects.of_masks(b, p) for b, p in zip(bases, paired, strict=True)]
                rows = compared_effects.compare(*values, state.replicates, state.seed)
                state.add("paired_effects", rows, **where, **marks)
                n_paired = int(rows["n"].iloc[0]) if len(rows) else 0
                reason = "" if n_paired else "no shared question has a mask of its culture in both runs"
                state.note("effects", reason, n_paired, **where)
    for key in second.masks:
        if key[0] == other and (model, *key[1:]) not in first.masks:
            where = {**names, "selector": key[1], "top_fraction": key[2]}
            state.note("masks", f"{first.name} has no masks of this selector and top fraction", **where)


def _compare_masks(state: Comparison, a: MaskFile, b: MaskFile, matches: dict[str, tuple[str, str]],
                   where: dict[str, str], marks: dict[str, str]) -> None:  # fmt: skip
    if a.flat is None or b.flat is None:
        state.note("masks", "only masks at neurons of layers of one width are compared", **where)
        return
    same_shape = a.flat.shape == b.flat.shape
    rows = pd.DataFrame(list(compared_masks.compare(a.flat, b.flat, matches, same_shape, state.seed)))
    state.add("shared_neurons", rows, **where, **marks)
    sizes = [f"{m.shape[0]} layers of {m.shape[1]} neurons" for m in (a.flat, b.flat)]
    reason = "" if same_shape else f"{sizes[0]} and {sizes[1]}: they share no neurons; depths are compared"
    n = int(rows["matched"].ne("").groupby(rows["culture"]).any().sum()) if len(rows) else 0
    state.note("masks", reason, n, **where)


def _read_transfer(state: Comparison, path: Path) -> None:
    """Rows of one file of answers to a run's questions under the other's masks."""
    opened = state.attempt("transfer", lambda: files.read_table(path, ["mask_file", "mask_culture", "sample_id"]))
    if opened is None:
        return
    table, metadata = opened
    runs = {run.name: run for run in (state.first, state.second)}
    source, target = (runs.get(metadata.get(key, "")) for key in ("masks_of", "questions_of"))
    if source is None or target is None:
        state.note("transfer", f"{path}: it is of other runs; delete it and compare again")
        return
    model = metadata["model"]
    names = compared_masks.match_cultures(target.samples, source.samples)
    for number, described in enumerate(metadata["masks"]):
        key = (model, described["selector_name"], described["top_fraction"])
        where = dict(zip(FILES, (model, *key), strict=True))
        rows = table[table["mask_file"] == number]
        changed = state.attempt("transfer", lambda k=key, r=rows: _moved(source, target, k, path, r, names), **where)
        if changed is not None:
            rows = compared_effects.compare(*changed, state.replicates, state.seed)
            marks = {
                "masks_of": source.name, "questions_of": target.name, "planted": state.planted(model, model),
                "control": "yes" if source.mask_file(key).control else "no",
            }  # fmt: skip
            state.add("transferred_masks", rows, **where, **marks)
            reason = "" if len(rows) else f"no question of {target.name} has a mask of its culture in both runs"
            state.note("transfer", reason, int(rows["n"].iloc[0]) if len(rows) else 0, **where)


def _moved(source: FinishedRun, target: FinishedRun, key: MaskKey, path: Path, rows: pd.DataFrame,
           names: Mapping[str, tuple[str, str]]) -> list[compared_effects.Values]:  # fmt: skip
    """Changes under the masks of `source`, and under `target`'s own, of the questions of `target`."""
    sizes = source.mask_file(key).sizes
    change = target.changes_of(key[0], path, sizes, rows)
    base = compared_effects.relabel(target.baseline(key[0]), {name: other for name, (other, _) in names.items()})
    moved = paired_changes.pair(base, change, sizes)
    if key not in target.masks:
        raise FileError(f"{target.name} has no masks of this selector and top fraction of its own to stand against")
    return [
        compared_effects.of_masks(base, moved),
        compared_effects.of_masks(target.baseline(key[0]), target.paired(key)),
    ]


def _whole(state: Comparison, name: str) -> pd.DataFrame:
    """A table with adjusted p-values (Benjamini-Hochberg): means are one family per measure and quantity, single
    cultures another one; planted models and random controls have families of their own."""
    columns = list(TABLES[name].columns)
    if not state.parts[name]:
        return pd.DataFrame(columns=columns)
    table = pd.concat([part.dropna(axis=1, how="all") for part in state.parts[name]], ignore_index=True)
    table = table.reindex(columns=columns)
    if name == "shared_neurons":
        family = ["planted", "control", "scope"]
        scope = table["layer"].isna() & table["matched"].ne("")
        table = table.astype({"layer": "Int64", "n_shared": "Int64"})
    else:
        family = ["planted", "control", "scope", "measure", "what"]
        scope = table["culture"].isna()
    table = p_values.adjust_within(table.assign(scope=scope), family, [("p_value", "p_adjusted")])
    return table[columns]
