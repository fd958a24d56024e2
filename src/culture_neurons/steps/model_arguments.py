"""Arguments that the steps with a model share, and the check that files belong to the model at hand."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from functools import partial, wraps
from pathlib import Path
from typing import Any, TypeVar

from culture_neurons.errors import ConfigError, DataError, FileError, ModelError
from culture_neurons.steps import cli

T = TypeVar("T")


def add(parser: argparse.ArgumentParser, samples: bool = True) -> None:
    """Samples (unless the step has arguments of its own for them), model, prompt and speed."""
    if samples:
        parser.add_argument("--samples", type=Path, required=True, help="samples.parquet")
    parser.add_argument("--model", type=cli.json_object, required=True, help="JSON: name, path, dtype ...")
    parser.add_argument("--prompt", type=cli.json_object, default={}, help="JSON: instruction, seed, answer ...")
    parser.add_argument("--batch-size", type=int, default=16, help="samples per forward pass")
    parser.add_argument("--device-map", default="default", help="where the model lies: a name, or JSON for accelerate")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")


def add_shard(parser: argparse.ArgumentParser) -> None:
    """The part of the questions that this job takes."""
    parser.add_argument("--shard", type=int, default=0, help="which part of the questions, from 0")
    parser.add_argument("--shards", type=int, default=1, help="number of parts; the result is the same")


def check_part(name: str, part: int, parts: int) -> None:
    """Raise ConfigError unless `part` is one of 0 to parts - 1."""
    if not 0 <= part < parts:
        raise ConfigError(f"{name} {part} of {parts}: expected 0 to {parts - 1}")


def kept_cultures(predictions: Any, min_correct: int) -> tuple[list[str], dict[str, int]]:
    """The cultures to find neurons for, sorted, and those left out with their number of right answers.

    A culture counts when it has at least `min_correct` right answers in the identify split. Raises DataError when fewer
    than two do.
    """
    identify = predictions[predictions["split"] == "identify"]
    correct = identify.groupby("culture")["correct"].sum().astype(int)
    kept = correct[correct >= max(1, min_correct)].index
    if len(kept) < 2:
        best = ", ".join(f"{name}: {n}" for name, n in correct.sort_values(ascending=False).head(3).items())
        raise DataError(
            f"{len(kept)} of {len(correct)} cultures have {min_correct} or more correct answers in the identify "
            f"split; at least 2 are needed (most: {best})\nuse more samples, a better model, or a lower min_correct"
        )
    return sorted(map(str, kept)), {str(name): int(n) for name, n in correct.items() if name not in kept}


def load(o: argparse.Namespace) -> tuple[Any, Any]:
    """The model and the prompt that the arguments describe."""
    from culture_neurons.models.inputs import Prompt
    from culture_neurons.models.loading import load

    prompt = Prompt(**o.prompt)
    settings = dict(o.model)
    if o.device_map != "default":
        settings["device_map"] = cli.json_object(o.device_map) if o.device_map.startswith("{") else o.device_map
    loaded = load(settings, threads=o.threads)
    cli.log.info(
        "%s: %d layers of %d neurons, %s, revision %s",
        loaded.name,
        loaded.adapter.n_layers,
        loaded.adapter.n_neurons,
        loaded.dtype,
        loaded.revision,
    )
    if experts := loaded.adapter.expert_axis:
        counts = sorted({count for count in experts.counts if count})
        cli.log.info(
            "%s: %d of its layers have %s routed experts, each with neurons of its own; tokens are counted expert by "
            "expert", loaded.name, sum(count > 0 for count in experts.counts), " or ".join(map(str, counts)),
        )  # fmt: skip
    if (all_layers := len(loaded.adapter.decoder_layers)) != loaded.adapter.n_layers:
        cli.log.info("%s: %d of its %d decoder layers have an MLP; layers are counted among these", loaded.name,
                     loaded.adapter.n_layers, all_layers)  # fmt: skip
    if loaded.adapter.unseen:
        cli.log.info("%s: its layers also hold %s; no neurons are sought there", loaded.name,
                     ", ".join(loaded.adapter.unseen))  # fmt: skip
    return loaded, prompt


def open_reasoning(loaded: Any) -> str:
    """The tag in which the model's prompts end without closing it ("<think>"), said in the log; "" without one."""
    from culture_neurons.data.prompts import INSTRUCTION
    from culture_neurons.models.templates import open_reasoning

    # What stands behind the user's text is the same for every question.
    tag = open_reasoning(loaded.render(INSTRUCTION, False).rpartition(INSTRUCTION)[2])
    if tag:
        cli.log.warning(
            "warning: %s: prompts end inside an open %s, so that the model starts to reason where its answer is read; "
            "close it (chat_template_kwargs: {enable_thinking: false}, or chat_template)", loaded.name, tag,
        )  # fmt: skip
    return tag


def check_padding(o: argparse.Namespace, loaded: Any, prompt: Any) -> None:
    """Refuse a model that can't be asked in batches; see `models.padding`."""
    from culture_neurons.models import padding

    padding.check_padding(loaded, generates=prompt.answer == "generate" and o.batch_size > 1)


def check_sites(loaded: Any, sites: list[str]) -> Any:
    """Say which of the sites, whose units are to be attributed, the model's layers have; nothing without sites. They
    are returned as `projection_checks.find_sites` found them.

    Raises ModelError for a model that has none of them.
    """
    if not sites:
        return {}
    from culture_neurons.models.projection_checks import find_sites
    from culture_neurons.models.projections import report_sites

    by_site = find_sites(loaded, sites)
    report_sites(loaded.name, by_site)
    return by_site


def batches(o: argparse.Namespace, loaded: Any, samples: list, prompt: Any) -> list[list]:
    """The batches of this shard's questions; see `models.batching.batches`."""
    from culture_neurons.models.batching import batches

    return batches(loaded, samples, prompt, o.batch_size, o.shard, o.shards)


def run(
    loaded: Any, todo: list[list], opener: Any, prompt: Any, label: str, work: Callable[[Any], T], content: bool = False
) -> Iterator[tuple[Any, T]]:
    """Each batch and what `work` made of it, with progress; see `models.batching.run_batches`."""
    from culture_neurons.models.batching import run_batches

    done = run_batches(loaded, todo, opener, prompt, work, content)
    total = sum(map(len, todo))
    yield from cli.progress(done, total, f"{loaded.name}: {label}", size=lambda pair: len(pair[0].questions))


def answers(o: argparse.Namespace, loaded: Any, samples: list, opener: Any, prompt: Any, label: str) -> Any:
    """The model's answers to this shard's questions: the table of `predictions.parquet`, sorted by id."""
    import pandas as pd

    from culture_neurons.models.inference import answer

    columns = ["sample_id", "culture", "split", "option_order", "prediction", "correct", "well_formed", "logprobs"]
    ask = partial(answer, loaded, prompt=prompt)
    rows = [
        (s.sample_id, s.culture, s.split, list(order), a.prediction, a.prediction == s.label, a.well_formed,
         list(a.logprobs))
        for batch, batch_answers in run(loaded, batches(o, loaded, samples, prompt), opener, prompt, label, ask)
        for s, order, a in zip(batch.samples, batch.orders, batch_answers, strict=True)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns).sort_values("sample_id", ignore_index=True)


def names_memory(main: Callable[[argparse.Namespace], None]) -> Callable[[argparse.Namespace], None]:
    """Decorate a step: say what to do when its device has too little memory."""

    @wraps(main)
    def run(o: argparse.Namespace) -> None:
        try:
            main(o)
        except RuntimeError as error:
            from culture_neurons.models.batching import is_out_of_memory

            if not is_out_of_memory(error):
                raise
            raise ModelError(
                f"model {o.model.get('name')!r}: out of memory, even for one question at a time\n"
                "use a larger device or several (gpus, device_map), smaller images (processor), or a dtype of 16 bits"
            ) from None

    return run


def made_with(loaded: Any) -> dict[str, Any]:
    """What a file says of the model that made it, and of what this ran on."""
    from culture_neurons.models.devices import describe

    converted = {"gguf": dict(loaded.gguf)} if loaded.gguf else {}
    return {**loaded.identity, **converted, "hardware": [describe(loaded)["device"]]}


def check_revision(path: Path, metadata: Mapping[str, Any], loaded: Any) -> None:
    """Raise FileError when a file was made with another model or another revision of it."""
    model, revision = metadata.get("model"), metadata.get("revision")
    if (model, revision) != (loaded.name, loaded.revision):
        raise FileError(
            f"{path}: made with model {model} at revision {revision}, but this run has {loaded.name} at "
            f"{loaded.revision}\ndelete that file, or the model's results folder, and run again"
        )
