"""Put into a table how much the masks share that selectors chose on different data, by culture and layer."""

from __future__ import annotations

import argparse
from pathlib import Path

from culture_neurons.errors import FileError
from culture_neurons.steps import cli, flat_masks
from culture_neurons.steps.history import History


def main(o: argparse.Namespace) -> None:
    """masks -> data_overlaps.csv"""
    from culture_neurons import files, layout
    from culture_neurons.analysis import data_overlaps

    history, masks, chosen_on = History(), {}, {}
    for (model, selector, fraction), path in layout.by("masks", o.masks, "model", "selector", "fraction").items():
        masks[model, selector, fraction], metadata = flat_masks.read(path, history)
        name = metadata.get("chosen_on") or layout.key("masks", path)["dataset"]
        if chosen_on.setdefault(selector, name) != name:
            raise FileError(
                f"{path}: chosen on {name}, but other masks of {selector} on {chosen_on[selector]}; delete it and run "
                "again"
            )
        if masks[model, selector, fraction].shape != next(m.shape for key, m in masks.items() if key[0] == model):
            raise FileError(f"{path}: of other layers or neurons than other masks of {model}; delete it and run again")
    table = data_overlaps.tabulate(masks, chosen_on)
    planted = set(filter(None, o.planted))
    table["planted"] = ["yes" if model in planted else "no" for model in table["model"]]
    files.write_csv(o.out_dir / "data_overlaps.csv", table)
    cli.log.info("data_overlaps.csv: %d rows", len(table))
    history.write(o.out_dir, cli.provenance("tabulate_data_overlaps", argparse.Namespace()))


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("--masks", type=Path, nargs="+", required=True, help="mask files of selectors from statistics")
    parser.add_argument("--planted", nargs="*", default=[], help="names of models with planted neurons")
    parser.add_argument("--out-dir", type=Path, required=True, help="folder of the table")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
