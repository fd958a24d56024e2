"""Score every neuron for every culture with one selector, and choose each culture's neurons from the scores."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from culture_neurons.errors import ConfigError
from culture_neurons.steps import cli, mask_files


def main(o: argparse.Namespace) -> None:
    """statistics.h5 -> scores/{selector}.h5, and masks/{selector}_top{r}.parquet for every r"""
    import numpy as np

    from culture_neurons import files, selectors, store
    from culture_neurons.selectors import selection

    selectors.check(o.selector, o.options)
    matched = selectors.resolve(o.selector).needs_reference
    mask_files.check_outputs(o.top_fraction, o.masks_out)
    if matched and len(o.reference) != len(o.top_fraction):
        raise ConfigError(f"--selector {o.selector} needs one --reference per top fraction")
    statistics, metadata = store.read_statistics(o.statistics)
    identity = {key: metadata.get(key) for key in ("model", "revision")}
    _say_unreached(statistics, metadata)
    scores = selectors.score(o.selector, statistics, **o.options)
    using = selectors.modules(o.selector)
    kept = identity | {"token_rule": metadata.get("token_rule"), "samples": metadata["samples"]}
    chosen_on = {"chosen_on": o.chosen_on} if o.chosen_on else {}
    settings = argparse.Namespace(**{key: value for key, value in vars(o).items() if key != "chosen_on"})
    made_by = cli.provenance("select", settings, using, metadata, **kept, **chosen_on)
    store.write_scores(o.scores_out, scores, statistics.cultures, metadata["site"], made_by)
    # What is chosen is chosen from the scores as they are kept.
    scores = scores.astype(np.float32, copy=False)
    layers, neurons = scores.shape[1:]
    widths = selection.layer_widths(scores)
    for i, (fraction, out) in enumerate(zip(o.top_fraction, o.masks_out, strict=True)):
        reference = None
        if matched:
            reference, of_reference = files.read_table(o.reference[i], ["culture", "site", "layer", "neuron"])
            files.check_same_model(o.statistics, identity, o.reference[i], of_reference)
        mask = selection.select(
            scores, statistics.cultures, fraction, metadata["site"], selector=o.selector,
            statistics=statistics if matched else None, reference=reference,
        )  # fmt: skip
        size = selection.budget_of_layers(fraction, widths)
        _say(mask, statistics.cultures, size, fraction, reference)
        settings = argparse.Namespace(selector=o.selector, options=o.options, top_fraction=fraction)
        made_by = cli.provenance("select", settings, using, metadata, **identity, **chosen_on)
        about = mask_files.describe_masks(
            sorted(statistics.cultures), layers, neurons, o.selector, o.options, fraction, metadata.get("experts")
        )
        files.write_table(out, mask, made_by | about | {"budget": size})


def _say_unreached(statistics: Any, metadata: dict[str, Any]) -> None:
    """Log how many experts are left out, since no token of some culture reaches them; nothing without experts.

    Raises ConfigError where that is so of all.
    """
    if statistics.column is None:
        return
    if not statistics.reached().any():
        raise ConfigError("no expert is reached by tokens of every culture; use more samples")
    unreached = statistics.tokens[:, 1:] == 0  # [culture, expert]
    for name, n in zip(statistics.cultures, unreached.sum(axis=1).tolist(), strict=True):
        if n:
            cli.log.info("%s: no token reaches %d of %d experts", name, n, unreached.shape[1])
    n_left_out, chosen_from = int(unreached.any(axis=0).sum()), int(statistics.reached().sum())
    cli.log.info("%d of %d experts are left out, which tokens of some culture never reach; %d of %d neurons are scored",
                 n_left_out, unreached.shape[1], chosen_from, sum(metadata["experts"]["widths"]))  # fmt: skip


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
    parser.add_argument("--statistics", type=Path, required=True, help="statistics.h5 of a model")
    parser.add_argument("--selector", required=True, help="method, such as cas")
    parser.add_argument("--options", type=cli.json_object, default={}, help="JSON object of the method's options")
    parser.add_argument("--chosen-on", nargs="?", default="", const="",
                        help="data set of these statistics; none: the run's own questions")  # fmt: skip
    parser.add_argument("--top-fraction", nargs="+", required=True, help="shares of all neurons, each in (0, 1]")
    # The workflow passes nothing for all other selectors.
    parser.add_argument("--reference", type=Path, nargs="*", default=[], help="mask files to match (random-matched)")
    parser.add_argument("--scores-out", type=Path, required=True, help="HDF5 file of scores")
    parser.add_argument("--masks-out", type=Path, nargs="+", required=True, help="a mask file per top fraction")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
