"""Recording: a bare batched forward pass, with sums recorded, written too, and with raw activations kept."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from benchmarks import demo
from benchmarks.measure import Row, interleaved, own_peak, ratios, seconds
from benchmarks.naive import RawRecorder
from culture_neurons import store
from culture_neurons.models.adapters import Adapter, adapt
from culture_neurons.models.allocator import keep_freed_memory
from culture_neurons.models.forward import forward
from culture_neurons.models.hooks import record
from culture_neurons.models.inference import on_device
from culture_neurons.models.inputs import Prompt, prepare

#: A decoder whose shape (hidden : intermediate : heads) is that of Qwen2.5-VL-7B, four times smaller, four layers.
SIZES = {"hidden_size": 896, "intermediate_size": 4736, "num_hidden_layers": 4, "num_attention_heads": 7,
         "num_key_value_heads": 1, "vocab_size": 1000}  # fmt: skip
BATCH, TOKENS = 8, 160
#: What is compared with the bare forward pass.
WAYS = {
    "recorded": "with K and S recorded",
    "written": "recorded, and one batch written to the end (nothing left to overlap with)",
    "raw": "naive hook that keeps raw activations",
}


def run() -> list[Row]:
    """All rows of this benchmark."""
    keep_freed_memory()
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(Qwen2Config(**SIZES)).eval()
    ids = torch.randint(0, 1000, (BATCH, TOKENS))
    weights = torch.ones(BATCH, TOKENS, dtype=torch.bool)
    weights[::2, :9] = False  # as padding on the left
    rows = compare(
        f"decoder of width {SIZES['intermediate_size']:,}, 4 layers, {BATCH} × {TOKENS} tokens",
        lambda: model(input_ids=ids, attention_mask=weights.long(), logits_to_keep=1, use_cache=False),
        adapt(model), weights, 7,
    )  # fmt: skip
    samples, opener = demo.questions()
    for name in demo.MODELS:
        loaded = demo.model(name)
        batch = prepare(loaded, samples[:64], opener, Prompt())
        inputs, mask = on_device(loaded, batch), batch.inputs["attention_mask"].bool()
        rows += compare(f"{name}, 64 questions", lambda m=loaded, i=inputs: forward(m, i), loaded.adapter, mask, 15)
    rows.append(_growth(model, ids, weights))
    return rows


def compare(
    title: str,
    bare: Callable[[], object],
    adapter: Adapter,
    weights: torch.Tensor,
    runs: int,
    names: Sequence[str] = tuple(WAYS),
) -> list[Row]:
    """One pass each way, in turn; `names` of `WAYS`."""
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():

        def recorded() -> tuple:
            with record(adapter) as recorder:
                recorder.start(weights)
                bare()
                return recorder.collect()

        def raw() -> None:
            recorder = RawRecorder(adapter)
            bare()
            recorder.collect(weights)
            recorder.close()

        ids = [f"{i:03}" for i in range(len(weights))]

        def written() -> None:
            target = Path(folder) / "statistics.h5"
            with store.statistics_writer(
                target, ids, ["c"] * len(ids), "act_fn", adapter.n_layers, adapter.n_neurons, {}
            ) as writer:
                writer.write(ids, *recorded())

        ways = {"bare": bare, "recorded": recorded, "written": written, "raw": raw}
        found = interleaved({name: partial(seconds, ways[name]) for name in ("bare", *names)}, runs)
    rows = [Row(f"{title}: bare forward pass", 1e3 * statistics.median(found["bare"]), "ms")]
    for name in names:
        middle, low, high = ratios(found, name, "bare")
        note = f"over the bare pass ({100 * (low - 1):.0f} to {100 * (high - 1):.0f} %)"
        rows.append(Row(f"{title}: {WAYS[name]}", 100 * (middle - 1), "%", note))
    return rows


def _growth(model: torch.nn.Module, ids: torch.Tensor, weights: torch.Tensor) -> Row:
    """How peak memory grows from 4 to 24 recorded batches that are written as they come."""
    adapter, peaks, batches = adapt(model), [], 24
    names = [f"{i:05}" for i in range(batches * BATCH)]
    with (
        tempfile.TemporaryDirectory() as folder,
        torch.inference_mode(),
        record(adapter) as recorder,
        store.statistics_writer(
            Path(folder) / "s.h5", names, ["c"] * len(names), "act_fn", adapter.n_layers, adapter.n_neurons, {}
        ) as writer,
    ):
        for at in range(batches):
            recorder.start(weights)
            model(input_ids=ids, logits_to_keep=1, use_cache=False)
            writer.write(names[at * BATCH : (at + 1) * BATCH], *recorder.collect())
            peaks.append(own_peak())
    raw = 20 * adapter.n_layers * ids.numel() * adapter.n_neurons * 4
    return Row("peak memory after 24 recorded batches, over that after 4", 1e3 * (peaks[-1] - peaks[3]), "MB",
               f"raw activations of 20 batches: {raw / 1e6:,.0f} MB")  # fmt: skip
