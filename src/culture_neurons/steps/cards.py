"""Describe the strongest neurons of each culture, one by one: when they fire, who ranks them, what they fire for."""

from __future__ import annotations

import argparse
import base64
import io
import json
from pathlib import Path
from typing import Any

from culture_neurons.errors import DataError
from culture_neurons.steps import cli, question_units

#: Thumbnails: longest side in pixels, and most bytes of one; a picture that needs more is compressed more.
SIDE, MOST_BYTES = 96, 5000
QUALITIES = (75, 60, 45, 30, 15)
#: Longest question or option of a card.
LONGEST = 240


def main(o: argparse.Namespace) -> None:
    """statistics.h5, a mask, scores, samples -> cards.json"""
    import numpy as np

    from culture_neurons import files, layout, store
    from culture_neurons.analysis import neuron_cards

    scores = {name: path for (name,), path in layout.by("scores", o.scores, "selector").items()}
    mask, mask_metadata = files.read_table(o.mask, ["culture", "layer", "neuron", "score", "rank"])
    chosen = neuron_cards.top_neurons(mask, o.count)
    sums, metadata = store.read_neurons(o.statistics, chosen["layer"], chosen["neuron"])
    identity = {key: metadata.get(key) for key in ("model", "revision")}
    files.check_same_model(o.statistics, identity, o.mask, mask_metadata)
    unit = question_units.read(o.samples)
    question_units.check_known(sums.sample_ids, unit, o.statistics, o.samples)
    shown = neuron_cards.estimate_probabilities(
        sums.cultures, [unit[i] for i in sums.sample_ids], sums.tokens, sums.fired, o.resamples, o.seed
    )
    places = {}
    for name, path in scores.items():
        values, cultures, _, score_metadata = store.read_scores(path)
        files.check_same_model(o.statistics, identity, path, score_metadata)
        places[name] = neuron_cards.rank_neurons(values, cultures, chosen["culture"], chosen["layer"], chosen["neuron"])
        del values
    planted = _planted(o.planted)
    reselected_shares = _read_reselected_shares(o.stability, o.selector, o.top_fraction)
    active = neuron_cards.most_active(sums.tokens, sums.positive_sum, o.examples)
    written = []
    for i, row in enumerate(chosen.to_dict("records")):
        key = (row["culture"], int(row["layer"]), int(row["neuron"]))
        written.append({
            "culture": row["culture"], "layer": key[1], "neuron": key[2], "rank": int(row["rank"]),
            "score": _rounded(row["score"]),
            "ranks": {name: place[i] for name, place in places.items()},
            "planted": None if planted is None else key in planted,
            "selected_again": _rounded(reselected_shares.get(key, np.nan)),
            **{end: [_rounded(v) for v in getattr(shown, end)[i]] for end in ("value", "low", "high")},
            "samples": [{"sample_id": sums.sample_ids[j], "activation": _rounded(v)} for j, v in active[i]],
        })  # fmt: skip
    wanted = {sample["sample_id"] for card in written for sample in card["samples"]}
    described = _describe(o.samples, wanted)
    made_by = cli.provenance("cards", o, (), metadata, **identity)
    content = {**made_by, "selector": o.selector, "top_fraction": o.top_fraction, "cultures": shown.cultures,
               "units": dict(zip(shown.cultures, shown.units, strict=True)), "cards": written,
               "samples": described}  # fmt: skip
    text = json.dumps(content, sort_keys=True, ensure_ascii=False) + "\n"
    files.write_text(o.out, text)
    pictures = sum(sample["image"] is not None for sample in described.values())
    cli.log.info("%d cards, %d pictures, %d bytes", len(written), pictures, len(text.encode()))


def _rounded(value: float) -> float | None:
    """Five significant digits; None for a missing number, which JSON does not have."""
    return None if value is None or value != value or abs(value) == float("inf") else float(f"{value:.5g}")


def _planted(path: Path | None) -> set[tuple[str, int, int]] | None:
    """The planted neurons; None for a model that has none."""
    from culture_neurons.files import read_csv

    if path is None:
        return None
    table = read_csv(path, ["culture", "layer", "neuron"], text=["culture"])
    return set(zip(table["culture"], table["layer"].astype(int), table["neuron"].astype(int), strict=True))


def _read_reselected_shares(path: Path | None, selector: str, top_fraction: str) -> dict[tuple[str, int, int], float]:
    """How often a neuron of this selector's masks was chosen again from redrawn samples, where that was measured."""
    from culture_neurons.files import read_table

    if path is None:
        return {}
    table, _ = read_table(path, ["selector", "top_fraction", "culture", "layer", "neuron", "selected_again"])
    table = table[(table["selector"] == selector) & (table["top_fraction"].astype(float) == float(top_fraction))]
    keys = zip(table["culture"], table["layer"].astype(int), table["neuron"].astype(int), strict=True)
    return dict(zip(keys, table["selected_again"].astype(float), strict=True))


def _describe(path: Path, wanted: set[str]) -> dict[str, Any]:
    """Culture, question, right option and picture of the samples that cards show; a picture that can't be had is
    None."""
    from culture_neurons.data.samples import read_samples

    samples, opener = read_samples(path)
    result = {}
    for sample in samples:
        if sample.sample_id in wanted:
            try:
                image = opener(sample.image)
            except DataError as error:
                cli.log.warning("%s: no picture (%s)", sample.sample_id, error)
                image = None
            result[sample.sample_id] = {
                "culture": sample.culture,
                "question": sample.question[:LONGEST],
                "answer": sample.options[sample.label][:LONGEST] if 0 <= sample.label < len(sample.options) else "",
                "image": None if image is None else thumbnail(image),
            }
    return result


def thumbnail(image: Any) -> str:
    """An RGB image as a JPEG of at most `SIDE` pixels a side and `MOST_BYTES`, in base64."""
    image = image.copy()
    image.thumbnail((SIDE, SIDE))
    for quality in QUALITIES:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() <= MOST_BYTES:
            break
    return base64.b64encode(buffer.getvalue()).decode()


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("--statistics", type=Path, required=True, help="statistics.h5 of the model")
    parser.add_argument("--mask", type=Path, required=True, help="mask file of which the strongest neurons are shown")
    parser.add_argument("--selector", required=True, help="name of the selector of the mask")
    parser.add_argument("--top-fraction", required=True, help="top fraction of the mask")
    parser.add_argument("--scores", type=Path, nargs="*", default=[], help="scores of all selectors that rank")
    parser.add_argument("--samples", type=Path, required=True, help="samples.parquet")
    parser.add_argument("--planted", type=Path, nargs="?", help="planted.csv, of a model with planted neurons")
    parser.add_argument(
        "--stability", type=Path, nargs="?", help="stability.parquet: how often each neuron was chosen again"
    )
    parser.add_argument("--count", type=int, default=3, help="neurons per culture")
    parser.add_argument("--examples", type=int, default=3, help="samples per neuron")
    parser.add_argument("--resamples", type=int, default=1000, help="bootstrap samples; 0: no intervals")
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap")
    parser.add_argument("--out", type=Path, required=True, help="cards.json")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
