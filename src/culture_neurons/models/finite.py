"""Where a model's numbers stop being finite: found by one more pass, when what came out of it is not finite."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn

from culture_neurons.errors import ModelError
from culture_neurons.models.inputs import Batch
from culture_neurons.models.loading import Loaded


@torch.inference_mode()
def first_nonfinite_layer(loaded: Loaded, batch: Batch, row: int, repeat: Callable[[], object]) -> str:
    """Where in the model the numbers of one row of a batch stop being finite, in words.

    `repeat` passes the batch through the model once more, with whatever hooks are attached, so that it computes what
    it computed before. Only its tokens count, and no padding.
    """
    valid = batch.inputs["attention_mask"][row].bool()
    finite: dict[int, bool] = {}

    def check(layer: int, hidden: Any) -> None:
        hidden = hidden[0] if isinstance(hidden, tuple | list) else hidden  # a list in GPT-1
        hidden = hidden[:, row] if hidden.ndim == 4 else hidden[row]  # Gemma 3n has several streams: they come first
        finite[layer] = bool(torch.isfinite(hidden[..., valid.to(hidden.device), :]).all())

    def after(layer: int) -> Callable[..., None]:
        return lambda module, args, output: check(layer, output)

    layers = loaded.adapter.decoder_layers

    def before(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        check(-1, args[0] if args else kwargs["hidden_states"])

    with ExitStack() as hooks:
        for layer, module in enumerate(layers):
            hooks.enter_context(module.register_forward_hook(after(layer)))
        hooks.enter_context(layers[0].register_forward_pre_hook(before, with_kwargs=True))
        repeat()
    first = min((layer for layer, is_finite in finite.items() if not is_finite), default=None)
    if first is None:
        return f"the outputs of all {len(layers)} decoder layers are finite"
    if first < 0:
        return "before its first decoder layer (embeddings or image features)"
    return f"decoder layer {first} is the first whose output is not finite"


def nonfinite_error(
    loaded: Loaded, batch: Batch, index: int, quantity: str, repeat: Callable[[], object], under: str = ""
) -> ModelError:
    """The error to raise when `quantity` came out for sample `index` of a batch is not finite.

    `repeat` as in `first_nonfinite_layer`; `under` says what is in force, such as the mask of a culture.
    """
    row = index if batch.reads is None else int(batch.reads.spans.row[batch.reads.of_option[index, 0], 0])
    advice = "try dtype bfloat16 or float32" if loaded.dtype == "float16" else "its weights may be damaged"
    return ModelError(
        f"model {loaded.name!r}: {quantity} of sample {batch.samples[index].sample_id!r} are not finite{under}\n"
        f"{first_nonfinite_layer(loaded, batch, row, repeat)}; {advice}"
    )
