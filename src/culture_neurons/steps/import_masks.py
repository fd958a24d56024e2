"""Take over masks that another project published, as LAPE does: a `.pth` file of neuron indices."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

from culture_neurons.errors import ConfigError, DataError
from culture_neurons.steps import cli, mask_files


def main(o: argparse.Namespace) -> None:
    """.pth of lists of tensors -> masks/{selector}_top{r}.parquet, the same set for every r"""
    import numpy as np
    import pandas as pd

    from culture_neurons import files, store
    from culture_neurons.models import lape_mask_files
    from culture_neurons.selectors import selection
    from culture_neurons.types import IMPORTED

    mask_files.check_outputs(o.top_fraction, o.out)
    if len(set(o.cultures)) < len(o.cultures):
        raise ConfigError(f"--cultures {' '.join(o.cultures)}: expected each name once")
    statistics, metadata = store.read_statistics(o.statistics)
    layers, neurons = statistics.fired.shape[1:]
    sample_cultures = set(files.read_table(o.samples, ["culture"], only=True)[0]["culture"])
    strange = [name for name in o.cultures if name not in sample_cultures]
    if strange:
        raise DataError(
            f"{o.samples}: has no culture {strange[0]!r}, which is named for {o.masks}\n"
            f"expected names of the data, in the order of the file: {', '.join(sorted(sample_cultures))}"
        )
    masks = lape_mask_files.read(o.masks, o.cultures, layers, neurons, metadata["site"])
    kept = []
    for mask in sorted(masks, key=lambda mask: mask.culture):
        if mask.culture not in statistics.cultures:
            cli.log.warning("left out: culture %r is in no other mask, for lack of right answers", mask.culture)
            continue
        cli.log.info("%s: %d neurons%s", mask.culture, len(mask), "" if len(mask) else " (an empty list, or none)")
        kept.append(mask)
    if not kept:
        raise DataError(f"{o.masks}: none of its cultures is among those that were recorded ({o.statistics})")
    for name in sorted(set(statistics.cultures) - set(o.cultures)):
        cli.log.warning("culture %r has no mask in %s", name, o.masks)
    sizes = [len(mask) for mask in kept]
    table = pd.DataFrame(
        {
            "culture": np.repeat(np.array([mask.culture for mask in kept], dtype=object), sizes),
            "site": metadata["site"],
            "layer": np.concatenate([mask.layer for mask in kept]),
            "neuron": np.concatenate([mask.neuron for mask in kept]),
            "score": np.nan,
            "rank": np.concatenate([np.arange(1, size + 1) for size in sizes]),
        }
    ).astype(selection.COLUMNS)
    identity = {key: metadata.get(key) for key in ("model", "revision")}
    imported = {"name": o.masks.name, "sha256": hashlib.sha256(o.masks.read_bytes()).hexdigest()}
    for fraction, out in zip(o.top_fraction, o.out, strict=True):
        selection.fraction(fraction)
        settings = argparse.Namespace(cultures=o.cultures, top_fraction=fraction)
        made_by = cli.provenance("import_masks", settings, after=metadata, **identity)
        cultures = [mask.culture for mask in kept]
        about = mask_files.describe_masks(cultures, layers, neurons, IMPORTED, {}, fraction, metadata.get("experts"))
        files.write_table(out, table, made_by | about | {"budget": None, "imported": imported})


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("--masks", type=Path, required=True, help=".pth: per culture and layer a tensor of indices")
    parser.add_argument("--cultures", nargs="+", required=True, help="names of the lists in the file, in its order")
    parser.add_argument("--statistics", type=Path, required=True, help="statistics.h5 of the model")
    parser.add_argument("--samples", type=Path, required=True, help="samples.parquet")
    parser.add_argument("--top-fraction", nargs="+", required=True, help="top fractions under which the masks stand")
    parser.add_argument("--out", type=Path, nargs="+", required=True, help="a mask file per top fraction")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
