"""Attributing 1.9 million units, as many as a language model of 14B has: against a Python loop over units."""

from __future__ import annotations

import statistics
import tempfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from benchmarks.measure import Row, interleaved, own_peak, ratios, seconds
from culture_neurons import store
from culture_neurons.models.adapters import adapt
from culture_neurons.models.allocator import keep_freed_memory
from culture_neurons.models.attribution import Attributor, attribute, attributor
from culture_neurons.models.inputs import Batch, Question
from culture_neurons.models.loading import Loaded
from culture_neurons.models.projections import Projection, projections
from culture_neurons.types import Attributions, Sample

#: As many units as usual in a narrow model, so that it fits into the memory of a small machine.
SIZES = {"hidden_size": 64, "intermediate_size": 61_000, "num_hidden_layers": 28, "num_attention_heads": 40,
         "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 200, "pad_token_id": 0}  # fmt: skip
SITES = ("gate_proj", "q_proj", "k_proj", "v_proj")
TOKENS, LOOPED, RUNS, CULTURES = 64, 20_000, 3, 16


def run() -> list[Row]:
    """All rows of this benchmark; takes 6 GB of memory."""
    keep_freed_memory()
    loaded, batch = build(), question()
    units = sum(p.width for parts in projections(loaded.adapter, SITES).values() for p in parts)
    ways = {"bare": bare, "attributed": attributed, "captured": captured}
    times = interleaved({name: partial(seconds, partial(way, loaded, batch)) for name, way in ways.items()}, RUNS)
    top = _beyond(loaded, captured(loaded, batch), units)
    times["loop"] = [passes + loop for passes, loop in zip(times["captured"], top["loop"], strict=True)]
    whole, beyond = ratios(times, "loop", "attributed"), ratios(top, "loop", "reduced")
    found, peaks = attributed(loaded, batch), []
    sums = {site: np.zeros((CULTURES, *values.shape[1:])) for site, values in found.items()}
    for sample in range(12):
        for site, values in attributed(loaded, batch).items():
            sums[site][sample % CULTURES] += values[0]
        peaks.append(own_peak())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.h5"
        one = {site: np.repeat(values.astype(float), CULTURES, axis=0) for site, values in found.items()}
        names = [f"c{i:02}" for i in range(CULTURES)]
        store.write_attributions(path, Attributions(names, [1] * CULTURES, one), {})
        size = path.stat().st_size
    return [
        Row("units", units / 1e6, "million", f"28 layers at {', '.join(SITES)}; a question of {TOKENS} tokens"),
        Row("forward pass alone", 1e3 * statistics.median(times["bare"]), "ms"),
        Row("forward pass, gradients, all units attributed", 1e3 * statistics.median(times["attributed"]), "ms"),
        Row("attribution itself, gradients at hand", 1e3 * statistics.median(top["reduced"]), "ms"),
        Row("a Python loop over units, gradients at hand", statistics.median(top["loop"]), "s",
            f"{LOOPED:,} units, scaled"),
        Row("**speed-up** of attribution itself", beyond[0], "×", f"{beyond[1]:.1f} to {beyond[2]:.1f}"),
        Row("**speed-up** with the passes, which both need", whole[0], "×", f"{whole[1]:.1f} to {whole[2]:.1f}"),
        Row("peak memory after 12 questions, over that after 4", 1e3 * (peaks[-1] - peaks[3]), "MB"),
        Row("file of a set of questions, however many", size / 1e6, "MB",
            f"{CULTURES} cultures; plain arrays: {8 * CULTURES * units / 1e6:,.0f} MB"),
    ]  # fmt: skip


def _beyond(loaded: Loaded, kept: list[tuple[torch.Tensor, torch.Tensor]], units: int) -> dict[str, list[float]]:
    """Seconds of either way to the maxima, once activations and gradients are there."""
    ways = {
        "loop": lambda: seconds(lambda: looped(kept)) * units / LOOPED,
        "reduced": lambda: seconds(lambda: reduced(loaded, kept)),
    }
    return interleaved(ways, RUNS)


def build(**sizes: int) -> Loaded:
    """An untrained model, and of its tokenizer the letters alone."""
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(Qwen3Config(**SIZES | sizes)).eval().requires_grad_(False)
    letters = {letter: i + 1 for i, letter in enumerate("ABCD")}
    names = {i: letter for letter, i in letters.items()}
    tokenizer = SimpleNamespace(convert_tokens_to_ids=letters.get, convert_ids_to_tokens=names.get)
    return Loaded("m", model, SimpleNamespace(tokenizer=tokenizer), adapt(model), "none", "float32")


def question() -> Batch:
    """One question of random tokens."""
    ids = torch.randint(5, SIZES["vocab_size"], (1, TOKENS))
    asked = Question(Sample("s", "c", "k", "?", ("a", "b", "c", "d"), 2), (0, 1, 2, 3), "", "")
    return Batch((asked,), {"input_ids": ids, "attention_mask": torch.ones_like(ids)})


@torch.inference_mode()
def bare(loaded: Loaded, batch: Batch) -> None:
    """A forward pass."""
    loaded.model(**batch.inputs, logits_to_keep=1, use_cache=False)


def attributed(loaded: Loaded, batch: Batch) -> dict[str, np.ndarray]:
    """What `attribute` gives."""
    with attributor(loaded, SITES) as hooks:
        return attribute(loaded, batch, hooks)[1]


def captured(loaded: Loaded, batch: Batch) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """What every projection puts out, and its gradient, [1, token, unit]: the naive way keeps them all."""
    seen: list[torch.Tensor] = []

    def keep(module: torch.nn.Module, args: tuple, output: torch.Tensor) -> torch.Tensor:
        seen.append(output if output.requires_grad else output.requires_grad_())
        return output

    modules = [p.module for parts in projections(loaded.adapter, SITES).values() for p in parts]
    handles = [module.register_forward_hook(keep) for module in modules]
    try:
        logits = loaded.model(**batch.inputs, logits_to_keep=1, use_cache=False).logits[0, -1]
        gradients = torch.autograd.grad(logits.softmax(dim=0)[3], seen)
    finally:
        for handle in handles:
            handle.remove()
    return [(a.detach(), g) for a, g in zip(seen, gradients, strict=True)]


def reduced(loaded: Loaded, kept: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    """What `attributor` does with them."""
    hooks = Attributor({})
    hooks.start(torch.ones(1, kept[0][0].shape[1], dtype=torch.bool))
    for a, gradient in kept:
        hooks._score([("", 0, Projection(loaded.model, 0, a.shape[-1]))], a, gradient)


def looped(kept: list[tuple[torch.Tensor, torch.Tensor]]) -> list[float]:
    """The maximum over tokens, one unit after the other, for `LOOPED` units of all modules together."""
    each = LOOPED // len(kept)
    return [(a[0, :, unit] * g[0, :, unit]).max().item() for a, g in kept for unit in range(min(each, a.shape[2]))]
