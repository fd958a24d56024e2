"""Give masks away in the form in which LAPE publishes its own: a `.pth` file, and a JSON file that explains it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from culture_neurons.errors import FileError
from culture_neurons.steps import cli

#: What the file beside the tensors says, from the metadata of the mask file.
KEPT = ("model", "revision", "selector", "options", "top_fraction", "cultures", "layers", "neurons")


def main(o: argparse.Namespace) -> None:
    """masks/{selector}_top{r}.parquet -> .pth and .pth.json"""
    import numpy as np

    from culture_neurons import files
    from culture_neurons.models import lape_mask_files
    from culture_neurons.types import NeuronMask

    table, metadata = files.read_table(o.masks, ["culture", "site", "layer", "neuron"])
    missing = [key for key in ("cultures", "layers", "neurons") if key not in metadata]
    if missing:
        raise FileError(f"{o.masks}: its metadata has no {missing[0]!r}; expected a mask file of this project")
    if isinstance(metadata["neurons"], dict):
        raise FileError(f"{o.masks}: its units are at projections; expected masks at the activation, of one site")
    cultures, layers, neurons = sorted(metadata["cultures"]), metadata["layers"], metadata["neurons"]
    layer, neuron, culture = (table[name].to_numpy() for name in ("layer", "neuron", "culture"))
    outside = (layer < 0) | (layer >= layers) | (neuron < 0) | (neuron >= neurons)
    if outside.any() or set(culture) - set(cultures) or table["site"].nunique() > 1:
        raise FileError(f"{o.masks}: its rows do not fit its metadata; delete it and run again")
    site = str(table["site"].iloc[0]) if len(table) else "act_fn"
    culture = np.asarray(culture, dtype=object)
    masks = [NeuronMask(name, site, layer[culture == name], neuron[culture == name]) for name in cultures]
    lape_mask_files.write(o.out, masks, layers)
    about = {key: metadata.get(key) for key in KEPT} | {"cultures": cultures, "site": site}
    text = json.dumps(about, indent=2, ensure_ascii=False, sort_keys=True)
    files.write_text(o.out.with_name(f"{o.out.name}.json"), text + "\n")
    cli.log.info("%s: %d cultures, %d layers, %d neurons in all", o.out, len(cultures), layers, len(table))


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("--masks", type=Path, required=True, help="a mask file (parquet)")
    parser.add_argument("--out", type=Path, required=True, help=".pth to write; a .json of that name explains it")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
