"""Choose units of projections: culture-general or culture-specific ones by attribution, or random controls of these."""

from __future__ import annotations

import argparse
from pathlib import Path

from culture_neurons.errors import ConfigError, FileError
from culture_neurons.steps import cli, mask_files


def main(o: argparse.Namespace) -> None:
    """attributions of questions, of their controls and of mere mentions -> masks/{selector}_top{r}.parquet for every r
    masks/{match}_top{r}.parquet -> the same, of random-matched
    """
    if o.selector == "random-matched":
        _matched(o)
    else:
        _attributed(o)


def _attributed(o: argparse.Namespace) -> None:
    """The masks of a selector by attribution.

    Culture-general neurons are one set, which is written for every culture: equal masks cost one pass when answers are
    evaluated under them.
    """
    import pandas as pd

    from culture_neurons import files, store
    from culture_neurons.selectors import culnig, selection
    from culture_neurons.types import short_widths

    culnig.check(o.selector, o.options)
    if not (o.attributions and o.control):
        raise ConfigError(f"--selector {o.selector} needs --attributions and --control")
    mask_files.check_outputs(o.top_fraction, o.out)
    read = {"questions": o.attributions, "control": o.control} | ({"mention": o.mention} if o.mention else {})
    attributions = {name: store.read_attributions(paths) for name, paths in read.items()}
    first, metadata = attributions["questions"]
    identity = {key: metadata.get(key) for key in ("model", "revision")}
    for name, paths in read.items():
        files.check_same_model(o.attributions[0], identity, paths[0], attributions[name][1])
        if bool(attributions[name][1].get("control")) != (name == "control"):
            raise ConfigError(f"{paths[0]}: not attributions of the {name}; were the files exchanged?")
    gain = culnig.gains(first, attributions["control"][0])
    mention = attributions["mention"][0] if o.mention else None
    # Sites that no layer has are none.
    sites = {site: short_widths(of_site) for site in gain if any(of_site := first.widths(site))}
    for fraction, out in zip(o.top_fraction, o.out, strict=True):
        given = culnig.options(o.selector, o.options, selection.fraction(fraction))
        if o.selector == "culnig-general":
            one = culnig.general(gain, mention, **given)
            mask = pd.concat([one.assign(culture=name) for name in first.cultures], ignore_index=True)
        else:
            mask = culnig.specific(gain, first.cultures, mention, **given)
        mask = mask[list(selection.COLUMNS)].astype(selection.COLUMNS)
        for culture in first.cultures:
            counts = mask.loc[mask["culture"] == culture, "site"].value_counts()
            cli.log.info("top %s, %s: %s", fraction, culture, ", ".join(f"{counts.get(s, 0)} at {s}" for s in sites))
        settings = argparse.Namespace(selector=o.selector, options=given, top_fraction=fraction)
        made_by = cli.provenance("select_units", settings, ["culture_neurons.selectors.culnig"], metadata, **identity)
        layers = next(iter(gain.values())).shape[1]
        about = mask_files.describe_masks(first.cultures, layers, sites, o.selector, given, fraction)
        files.write_table(out, mask, made_by | about | {"budget": None})


def _matched(o: argparse.Namespace) -> None:
    """Random controls: as many units per site and layer as the reference masks have."""
    from culture_neurons import files
    from culture_neurons.selectors import culnig, selection

    mask_files.check_outputs(o.reference, o.out, "reference masks")
    options = {"match": o.options["match"], "seed": o.options.get("seed", 0)}
    for path, out in zip(o.reference, o.out, strict=True):
        reference, metadata = files.read_table(path, list(selection.COLUMNS))
        widths = metadata.get("neurons")
        if not isinstance(widths, dict):
            raise FileError(f"{path}: no masks at projections; expected those of a selector by attribution")
        mask = culnig.random_control(reference, metadata["cultures"], metadata["layers"], widths, options["seed"])
        settings = argparse.Namespace(selector=o.selector, options=options, top_fraction=metadata["top_fraction"])
        made_by = cli.provenance("select_units", settings, ["culture_neurons.selectors.culnig"], metadata)
        made_by |= {key: metadata[key] for key in ("model", "revision")} | {"budget": None}
        made_by |= mask_files.describe_masks(
            metadata["cultures"], metadata["layers"], widths, o.selector, options, metadata["top_fraction"]
        )
        files.write_table(out, mask, made_by)
        cli.log.info("top %s: %d units of %d cultures", metadata["top_fraction"], len(mask), len(metadata["cultures"]))


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("--selector", required=True, help="culnig-general, culnig-specific or random-matched")
    # The workflow passes attributions to the first two, and a reference to the third.
    parser.add_argument("--attributions", type=Path, nargs="*", default=[], help="shards that attribute wrote")
    parser.add_argument("--control", type=Path, nargs="*", default=[], help="those of the control")
    parser.add_argument("--mention", type=Path, nargs="*", default=[], help="those of questions that mention a country")
    parser.add_argument("--reference", type=Path, nargs="*", default=[], help="mask files to match (random-matched)")
    parser.add_argument("--options", type=cli.json_object, default={},
                        help="JSON: fractions and z, see culnig.py; match and seed of random-matched")  # fmt: skip
    parser.add_argument("--top-fraction", nargs="+", required=True, help="fractions that options follow; see culnig.py")
    parser.add_argument("--out", type=Path, nargs="+", required=True, help="a mask file per top fraction")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
