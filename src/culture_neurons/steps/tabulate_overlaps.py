"""Put into tables how stable masks are, how much they overlap, and whether they hurt cultures that share neurons."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from culture_neurons.errors import ConfigError, FileError
from culture_neurons.steps import cli, flat_masks
from culture_neurons.steps.history import History

if TYPE_CHECKING:
    from culture_neurons.analysis.overlaps import Masks

    #: Model, selector and top fraction.
    Key = tuple[str, ...]


def main(o: argparse.Namespace) -> None:
    """masks, effects.csv, baseline.csv, statistics of other token rules -> overlaps.csv, related.csv; those of the
    masks that were chosen on different data -> data_overlaps.csv; stability_cultures.parquet -> stability.csv

    Each of the three where there is something to make it of.
    """
    from culture_neurons import layout, selectors

    history, planted = History(), set(filter(None, o.planted))
    paths = layout.by("masks", o.masks, "model", "selector", "fraction")
    todo = cli.progress(paths.items(), len(paths), "masks")
    read = {key: flat_masks.read(path, history) for key, path in todo}
    if o.across_data:
        _data_overlaps(o, paths, read, planted)
    if read:
        _overlaps(o, {key: masks for key, (masks, _) in read.items()}, planted, history)
    if o.stability:
        _stability(o, planted, history)
    settings = argparse.Namespace(permutations=o.permutations, seed=o.seed, selectors=o.selectors)
    used = sorted({module for entry in o.selectors.values() for module in selectors.modules(entry["method"])})
    history.write(o.out_dir, cli.provenance("tabulate_overlaps", settings, used))


def _overlaps(o: argparse.Namespace, masks: Mapping[Key, Masks], planted: set[str], history: History) -> None:
    """overlaps.csv, and related.csv: whether masks hurt the cultures that they share neurons with."""
    import pandas as pd

    from culture_neurons import files, layout
    from culture_neurons.analysis import overlaps, significance

    if o.effects is None:
        raise ConfigError("--masks: no --effects, which say what they do")
    tokens = {}
    for (model, rule), path in layout.by("statistics", o.tokens, "model", "rule").items():
        tokens |= _of_tokens(model, rule, path, o.selectors, masks, history)
    table = overlaps.tabulate(masks, tokens, o.token_rule, o.seed)
    names = table["model"].fillna("").where(table["kind"] != "models", table["a"] + "\n" + table["b"])
    table["planted"] = ["yes" if planted & set(text.split("\n")) else "no" for text in names]
    files.write_csv(o.out_dir / "overlaps.csv", table)
    effects = files.read_csv(o.effects, text=["model", "selector", "mask_culture", "eval_culture"])
    relations = []
    guessing = _guessing(o.baseline)
    for model, rows in table[table["kind"] == "cultures"].groupby("model", sort=False):
        relation = overlaps.relate_to_effects(rows, effects[effects["model"] == model], o.permutations, o.seed)
        relation.insert(0, "model", model)
        if model in guessing:
            relation["verdict"] = significance.NOT_JUDGED
        relations.append(relation.assign(planted="yes" if model in planted else "no"))
        for verdict, count in relation["verdict"].value_counts().items():
            cli.log.info("%s: %s (%d)", model, verdict, count)
    columns = ["model", *overlaps.RELATED, "planted"]
    related = pd.concat(relations, ignore_index=True) if relations else pd.DataFrame(columns=columns)
    files.write_csv(o.out_dir / "related.csv", related)


def _guessing(path: Path | None) -> set[str]:
    """Models that answer at chance, by tables/baseline.csv: no verdict is given for them."""
    from culture_neurons import files
    from culture_neurons.analysis import significance

    if path is None:
        return set()
    table = files.read_csv(path, ["model", "level"], text=["model", "level"])
    return set(table.loc[table["level"] == significance.AT_CHANCE, "model"])


def _of_tokens(
    model: str, rule: str, path: Path, chosen: dict[str, Any], masks: Mapping[Key, Masks], history: History
) -> dict[tuple[str, ...], Any]:
    """The masks that the selectors choose from the statistics of another token rule."""
    import numpy as np

    from culture_neurons import selectors, store
    from culture_neurons.analysis import overlaps
    from culture_neurons.selectors import selection

    statistics, metadata = store.read_statistics(path)
    history.add(metadata)
    if metadata.get("token_rule") != rule:
        raise FileError(
            f"{path}: token rule {metadata.get('token_rule')!r}, expected {rule!r}; delete it and run again"
        )
    shape, result = statistics.fired.shape[1:], {}
    for name, entry in chosen.items():
        fractions = [fraction for m, s, fraction in masks if (m, s) == (model, name)]
        if any(masks[model, name, fraction].shape != shape for fraction in fractions):
            raise ConfigError(f"{path}: {shape[0]} x {shape[1]} neurons, but the masks of {model} have others")
        scores = selectors.score(entry["method"], statistics, **entry["options"])
        with np.errstate(over="ignore", under="ignore"):
            scores = scores.astype(np.float32, copy=False)
        widths = selection.layer_widths(scores)
        budgets = [selection.budget_of_layers(fraction, widths) for fraction in fractions]
        sets = selection.select_indices(scores, budgets, entry["method"])
        for fraction, flat in zip(fractions, sets, strict=True):
            by_culture = {culture: np.sort(indices) for culture, indices in zip(statistics.cultures, flat, strict=True)}
            differing = widths.tolist() if len(set(widths)) > 1 else []
            result[model, name, fraction, rule] = overlaps.Masks(shape, by_culture, differing)
    return result


def _data_overlaps(
    o: argparse.Namespace, paths: Mapping[Key, Path], read: Mapping[Key, tuple[Masks, dict]], planted: set[str]
) -> None:
    """data_overlaps.csv, of the selectors --across-data and in their order."""
    from culture_neurons import files, layout
    from culture_neurons.analysis import data_overlaps

    masks, chosen_on = {}, {}
    for key in [key for name in o.across_data for key in read if key[1] == name]:
        (model, selector, _), path = key, paths[key]
        masks[key], metadata = read[key]
        name = metadata.get("chosen_on") or layout.key("masks", path)["dataset"]
        if chosen_on.setdefault(selector, name) != name:
            raise FileError(
                f"{path}: chosen on {name}, but other masks of {selector} on {chosen_on[selector]}; delete it and run "
                "again"
            )
        if masks[key].shape != next(mask.shape for other, mask in masks.items() if other[0] == model):
            raise FileError(f"{path}: of other layers or neurons than other masks of {model}; delete it and run again")
    table = data_overlaps.tabulate(masks, chosen_on)
    table["planted"] = ["yes" if model in planted else "no" for model in table["model"]]
    files.write_csv(o.out_dir / "data_overlaps.csv", table)
    cli.log.info("data_overlaps.csv: %d rows", len(table))


def _stability(o: argparse.Namespace, planted: set[str], history: History) -> None:
    """stability.csv: the models' tables together."""
    import pandas as pd

    from culture_neurons import files, layout
    from culture_neurons.analysis import stability

    tables = []
    for (model,), path in sorted(layout.by("stability_cultures", o.stability, "model").items()):
        table, metadata = files.read_table(path, stability.COLUMNS)
        history.add(metadata)
        table = table[list(stability.COLUMNS)].assign(planted="yes" if model in planted else "no")
        table.insert(0, "model", model)
        tables.append(table)
    files.write_csv(o.out_dir / "stability.csv", pd.concat(tables, ignore_index=True))
    cli.log.info("stability.csv: %d rows", sum(map(len, tables)))


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("--masks", type=Path, nargs="*", default=[], help="mask files")
    parser.add_argument("--effects", type=Path, help="tables/effects.csv")
    parser.add_argument("--baseline", type=Path, help="tables/baseline.csv, which says who answers at chance")
    parser.add_argument("--token-rule", default="all", help="of the masks")
    parser.add_argument("--tokens", type=Path, nargs="*", default=[], help="statistics.h5 of other token rules")
    parser.add_argument("--selectors", type=cli.json_object, default={},
                        help='JSON object, for --tokens: name -> {"method": ..., "options": {...}}')  # fmt: skip
    parser.add_argument("--across-data", nargs="*", default=[], metavar="NAME",
                        help="selectors of --masks that chose on different data")  # fmt: skip
    parser.add_argument(
        "--stability", type=Path, nargs="*", default=[], help="stability_cultures.parquet of each model"
    )
    parser.add_argument("--planted", nargs="*", default=[], help="names of models with planted neurons")
    parser.add_argument("--permutations", type=int, default=9999, help="of the names of cultures")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn")
    parser.add_argument("--out-dir", type=Path, required=True, help="folder of the tables")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
