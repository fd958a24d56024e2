"""Choose each culture's neurons from its scores."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from culture_neurons.errors import ConfigError
from culture_neurons.steps import cli


def main(o: argparse.Namespace) -> None:
    """scores/{selector}.h5 -> masks/{selector}_top{r}.parquet for every r"""
    from culture_neurons import files, selectors, store
    from culture_neurons.selectors import selection

    selectors.check(o.selector, o.options)
    matched = selectors.resolve(o.selector).needs_reference
    references = [Path(text) for text in o.reference if text]
    if len(o.out) != len(o.top_fraction):
        raise ConfigError(f"{len(o.top_fraction)} top fractions and {len(o.out)} outputs; expected as many")
    if matched and (o.statistics is None or len(references) != len(o.top_fraction)):
        raise ConfigError(f"--selector {o.selector} needs --statistics and one --reference per top fraction")
    scores, cultures, site, metadata = store.read_scores(o.scores)
    identity = {key: metadata.get(key) for key in ("model", "revision")}
    statistics = None
    if matched:
        statistics, found = store.read_statistics(o.statistics)
        files.check_same_model(o.scores, identity, o.statistics, found)
    layers, neurons = scores.shape[1:]
    for i, (fraction, out) in enumerate(zip(o.top_fraction, o.out, strict=True)):
        reference = None
        if matched:
            reference, found = files.read_table(references[i], ["culture", "site", "layer", "neuron"])
            files.check_same_model(o.scores, identity, references[i], found)
        mask = selection.select(
            scores, cultures, fraction, site, selector=o.selector, statistics=statistics, reference=reference
        )
        size = selection.budget(fraction, layers, neurons)
        _say(mask, cultures, size, fraction, reference)
        settings = argparse.Namespace(selector=o.selector, options=o.options, top_fraction=fraction)
        made_by = cli.provenance("mask", settings, selectors.modules(o.selector), metadata, **identity)
        made_by |= {"cultures": sorted(cultures), "layers": layers, "neurons": neurons, "budget": size}
        made_by |= {"top_fraction": fraction, "selector": o.selector, "options": o.options}
        files.write_table(out, mask, made_by)


def _say(mask: Any, cultures: list[str], size: int, fraction: str, reference: Any) -> None:
    """Log how many neurons were chosen."""
    counts = mask["culture"].value_counts()
    for culture in sorted(cultures):
        cli.log.info("%s: %d neurons (%d are %s of all)", culture, counts.get(culture, 0), size, fraction)
    if reference is not None:
        key = ["culture", "site", "layer", "neuron"]
        shared = len(mask.merge(reference[key], on=key))
        cli.log.info("%d of %d neurons are the reference's own: their bins have no others", shared, len(mask))


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("--scores", type=Path, required=True, help="HDF5 file of scores")
    parser.add_argument("--selector", required=True, help="method that made the scores")
    parser.add_argument("--options", type=cli.json_object, default={}, help="JSON object of the method's options")
    parser.add_argument("--top-fraction", nargs="+", required=True, help="shares of all neurons, each in (0, 1]")
    parser.add_argument("--statistics", type=Path, help="statistics.h5 of the model (random-matched)")
    # The workflow passes nothing for all other selectors.
    parser.add_argument("--reference", nargs="*", default=[], help="mask files to match (random-matched)")
    parser.add_argument("--out", type=Path, nargs="+", required=True, help="a mask file per top fraction")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
