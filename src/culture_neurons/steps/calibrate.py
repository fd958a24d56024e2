"""Measure what one model costs per question on this device, before anything is run with it."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from culture_neurons.steps import cli, model_arguments

#: Passes x bytes of weights of a run that is over in about half a minute of one core, beside what its jobs take to
#: start: to load the model alone would be a fifth of it.
SMALL = 400e9
_SECONDS = "seconds_per_question"


@model_arguments.names_memory
def main(o: argparse.Namespace) -> None:
    """samples.parquet -> calibration.json"""
    start = time.perf_counter()
    import numpy as np

    from culture_neurons.data.prompts import INSTRUCTION
    from culture_neurons.data.samples import read_samples

    samples, opener = read_samples(o.samples)
    passes = _passes(o.masks, samples)
    if passes is not None:  # what is known without a model is said before it is loaded
        cli.log.info("%s: %d questions of %d cultures and %d masks of each: about %d passes", o.model.get("name"),
                     len(samples), len({sample.culture for sample in samples}), o.masks, passes)  # fmt: skip
        if o.nothing_else and 0 < passes * _weights(o.model) < SMALL:
            result = {"model": o.model["name"], "passes": passes, "questions": len(samples)} | {_SECONDS: None}
            _write_json(o.calibration_out, cli.provenance("calibrate", o) | result)
            cli.log.info("%s: not measured: its passes take less time than its jobs take to start", o.model["name"])
            return
    from culture_neurons.models import calibration, devices
    from culture_neurons.models.batching import prepares_ahead
    from culture_neurons.models.projections import widths
    from culture_neurons.selectors import selection

    given = o.model
    with _at_hand(given, o.prompt.get("instruction", INSTRUCTION)) as o.model:
        loaded, prompt = model_arguments.load(o)
    o.model = given  # as the file says it, whatever folder the model was in
    model_arguments.check_padding(o, loaded, prompt)
    by_site = model_arguments.check_sites(loaded, o.sites)
    most, under_masks = calibration.limit(passes)
    batches = calibration.spread_samples(loaded, samples, prompt, o.batch_size, most=most)
    start_up = time.perf_counter() - start  # what each job does before its first batch, imports too
    layers, neurons = loaded.adapter.n_layers, loaded.adapter.n_neurons
    size = selection.budget_of_layers(o.top_fraction, loaded.adapter.widths)
    measurement = calibration.measure(
        loaded, batches, opener, prompt, o.token_rule, size, negative_sum=o.negative_sum, sites=by_site,
        options=o.options, under_masks=under_masks,
        repeats=calibration.REPEATS if under_masks else 1,
    )  # fmt: skip
    seconds = {kind: each.tolist() for kind, each in measurement.seconds.items()}
    writing, size_on_disk = _write(measurement.recorded, o.mantissa_bits, loaded.adapter.expert_axis)
    device = devices.describe(loaded)
    result = {
        **cli.provenance("calibrate", o, **loaded.identity),
        **device,
        "threads": o.threads,
        "answer": prompt.answer,
        "prepares_ahead": prepares_ahead(loaded, prompt),
        "batch_size": o.batch_size,
        # All that was tried: there may be no whole batch.
        "batch_size_fitted": measurement.batch_size if measurement.batch_size < len(batches.longest) else o.batch_size,
        "layers": layers,
        "neurons": neurons,
        "passes": passes,
        "questions": batches.questions,
        "questions_run": measurement.questions,
        "repeats": len(seconds["answer"]),
        "under_masks": under_masks,
        "tokens_per_question": {"mean": measurement.tokens[0], "max": measurement.tokens[1]},
        "start_up_seconds": start_up,
        _SECONDS: {**seconds, "write": [writing] * len(seconds["answer"])},
        "statistics_bytes_per_question": size_on_disk,
        # What a file has room for, also where a layer has fewer units.
        "units_per_layer": sum(max(widths(of_site)) for of_site in by_site.values()),
    }
    _write_json(o.calibration_out, result)
    cli.log.info(
        "%s: on %d x %s, batches of %d: %.3g s to answer a question, %.3g s to record it, %.3g s under each mask",
        loaded.name, device["devices"], device["device"], measurement.batch_size,
        *(np.median(seconds[kind]) for kind in ("answer", "record", "ablate_mask")),
    )  # fmt: skip


def _write_json(path: Path, result: dict[str, Any]) -> None:
    from culture_neurons import files

    files.write_text(path, json.dumps(result, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def _weights(model: dict[str, Any]) -> int:
    """Bytes of the weights of a model in a folder here; 0 where they are not known: of the hub, or made by the run."""
    files = Path(model["path"]).glob("*.safetensors") if "path" in model else ()
    return sum(file.stat().st_size for file in files)


def _passes(masks: int | None, samples: Sequence[Any]) -> int | None:
    """Passes of the whole run, as far as they follow from these: each question, and again under the masks of each
    culture where it is evaluated; None where the number of masks is not given."""
    if masks is None:
        return None
    evaluated = sum(sample.split == "evaluate" for sample in samples)
    return len(samples) + masks * len({sample.culture for sample in samples}) * evaluated


@contextmanager
def _at_hand(model: dict[str, Any], instruction: str) -> Iterator[dict[str, Any]]:
    """The model's settings with its path. One that the run trains, or gives an eye, is only built: it costs the same
    untrained."""
    if not model.keys() & {"architecture", "decoder"}:
        yield model
        return
    from culture_neurons.data.readers import synthetic
    from culture_neurons.models.demo import architectures, eye

    left = {key: value for key, value in model.items() if key not in ("source", "architecture", "decoder")}
    with TemporaryDirectory() as folder:
        if "decoder" in model:
            built, processor = eye.behind_eye(Path(model["decoder"]))
        else:
            world = synthetic.world(model["source"])
            built, processor = architectures.build(model["architecture"], world, instruction=instruction)
        architectures.save(Path(folder), built, processor, {})
        yield left | {"path": folder}


def _write(recorded: Sequence[tuple[Any, ...]], mantissa_bits: int, experts: Any) -> tuple[float, float]:
    """Seconds and bytes that a recorded question takes in a statistics file, from one that is written for real."""
    from culture_neurons import store

    layers, neurons = recorded[0][1].shape[1:]
    ids = [f"{i:06d}" for i in range(sum(len(tokens) for tokens, *_ in recorded))]
    options = {"mantissa_bits": mantissa_bits, "negative_sum": len(recorded[0]) > 3, "experts": experts}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "statistics.h5"
        start = time.perf_counter()
        with store.statistics_writer(path, ids, [""] * len(ids), "act_fn", layers, neurons, {}, **options) as writer:
            left = iter(ids)
            for tokens, *sums in recorded:
                writer.write([next(left) for _ in tokens], tokens, *sums)
        return (time.perf_counter() - start) / len(ids), store.bytes_on_disk(path)[0] / len(ids)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    model_arguments.add(parser)
    parser.add_argument("--token-rule", default="all", help="which tokens count: all, content, image, text, last")
    parser.add_argument("--mantissa-bits", type=int, default=8, help="precision of stored sums, 1 to 23 (exact)")
    parser.add_argument("--negative-sum", action="store_true", help="record the sum of min(g, 0) too")
    parser.add_argument("--options", action="store_true", help="record the right option's text too")
    parser.add_argument("--sites", nargs="*", default=[], help="projections to attribute, if any")
    parser.add_argument("--masks", type=int, help="masks per culture of the whole run: a small run is measured on "
                        "fewer questions, so that a plan never takes as long as the run")  # fmt: skip
    parser.add_argument("--nothing-else", action="store_true", help="the run asks its questions without and with these "
                        "masks, and nothing else: one that is over at once is not measured")  # fmt: skip
    parser.add_argument("--top-fraction", default="0.01", help="share of all neurons that the masks take")
    parser.add_argument("--calibration-out", type=Path, required=True, help="JSON: what was measured")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
