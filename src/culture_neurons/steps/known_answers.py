"""Answers that another run has: of the same model, asked the same question in the same way by the same code.

Another grouping or split of the same questions changes none of that. What a batch does to the last digits of a model in
half precision does change: its evaluate questions, which stand against the same batches under masks, are asked again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from culture_neurons.errors import CultureNeuronsError
from culture_neurons.steps import cli

COLUMNS = ["sample_id", "culture", "split", "option_order", "prediction", "correct", "well_formed", "logprobs"]


def find(folders: Sequence[str], samples_file: Path, samples: Sequence[Any], loaded: Any, prompt: Mapping[str, Any],
         model: Mapping[str, Any]) -> tuple[dict[str, tuple], list[dict[str, Any]]]:  # fmt: skip
    """sample id -> row of answers, columns `COLUMNS`, with the culture and the split that the question has here; and
    where they are from: `file`, its `sha256`, and the number of `answers` that were taken from it.

    folders        results folders of other runs; one without such a model, or with other questions, gives nothing
    samples_file   where `samples` are from: of the run, or of one of its further data sets
    prompt, model  the settings of this run
    """
    from culture_neurons import files, layout

    of = layout.key("samples", samples_file)["of"] if folders else ""
    open_here: Callable | None = None
    result: dict[str, tuple] = {}
    sources: list[dict[str, Any]] = []
    for folder in folders:
        there = Path(folder) / f"{of}samples.parquet"
        answers = Path(folder) / loaded.name / f"{of}predictions.parquet"
        if not there.is_file() or not answers.is_file():
            cli.log.info("%s: no answers of %s to reuse", folder, loaded.name)
            continue
        before = len(result)
        try:
            rows, other = _answered(answers, loaded, prompt, model)
            open_here = open_here or _loader(samples_file)
            their_samples = {s.sample_id: s for s in other(there)} if rows else {}
            open_there = _loader(there)
            for sample in samples:
                row, same = rows.get(sample.sample_id), their_samples.get(sample.sample_id)
                if sample.sample_id in result or row is None or same is None:
                    continue
                if sample.split != "identify" and loaded.dtype != "float32":
                    continue
                if content(sample, open_here) == content(same, open_there):
                    result[sample.sample_id] = (
                        sample.sample_id, sample.culture, sample.split, list(row.option_order), row.prediction,
                        row.prediction == sample.label, row.well_formed, list(row.logprobs),
                    )  # fmt: skip
        except CultureNeuronsError as error:
            cli.log.warning("warning: %s: its answers are not reused (%s)", folder, error)
        if taken := len(result) - before:
            digest = files.file_digest(answers)
            sources.append({"file": answers.as_posix(), "sha256": digest, "answers": taken})
            cli.log.info("%s: %d answers are those of %s", loaded.name, taken, answers)
    return result, sources


def content(sample: Any, load: Callable[[Any], bytes]) -> str:
    """A digest of all of a question that a model is shown: its texts, their order, its image's bytes.

    The id is a part, since it seeds the order of the options.
    """
    image = None if sample.image is None else hashlib.sha256(load(sample.image)).hexdigest()
    shown = [sample.sample_id, sample.question, list(sample.options), sample.neutral, image]
    return hashlib.sha256(json.dumps(shown).encode()).hexdigest()


def _answered(path: Path, loaded: Any, prompt: Mapping[str, Any], model: Mapping[str, Any]) -> tuple[dict, Callable]:
    """Rows of answers by sample id, none where another model gave them or in another way; and what reads questions."""
    from culture_neurons import files
    from culture_neurons.data.samples import read_samples
    from culture_neurons.provenance import code_digest, packages

    template = str(model.get("chat_template") or "none")
    if template != "none" and "{" not in template:
        cli.log.info("%s: not reused: %s may have been another file then", path, template)
        return {}, lambda _: []
    table, metadata = files.read_table(path, COLUMNS)
    settings, history = metadata.get("settings", {}), metadata.get("history", {}).get("infer", {})
    step = "culture_neurons.steps.infer"
    expected = {
        "revision": (metadata.get("revision"), loaded.revision),
        "dtype": (metadata.get("dtype"), loaded.dtype),
        "prompt": (settings.get("prompt"), dict(prompt)),
        "model's settings": (_how(settings.get("model", {})), _how(model)),
        "code": (history.get("code"), code_digest(step)),
        "version of libraries": (history.get("packages"), packages(step)),
    }
    for name, (there, here) in expected.items():
        if there != here:
            cli.log.info("%s: not reused: another %s", path, name)
            return {}, lambda _: []
    return {row.sample_id: row for row in table.itertuples()}, lambda samples: read_samples(samples)[0]


def _how(model: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a model beside its name and place: the revision says what lies there."""
    return {key: value for key, value in model.items() if key not in ("name", "path", "revision")}


def _loader(samples: Path) -> Callable[[Any], bytes]:
    """What reads the bytes of the images of a samples.parquet."""
    from culture_neurons import files
    from culture_neurons.data import images

    return images.loader(files.read_table(samples, ["sample_id"], only=True)[1]["images"])
