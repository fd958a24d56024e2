"""The decoder of one batch run again for every mask, without what no mask changes and what nobody reads.

Nothing that comes before a mask depends on it: not the image features, the embeddings, the positions or the
attention mask, no layer before the first one that it touches, and in that layer neither attention nor the gate
and up projections. So a batch enters the decoder once (`enter`), masks run in the order of their first layers,
and each starts where it begins to act. Questions about one image share the hidden states of their common
beginning (`models.sharing`).

Only the answer's position is read. The last layer therefore computes keys and values of all tokens, and all else at
that position alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from culture_neurons.errors import ModelError
from culture_neurons.models import sharing
from culture_neurons.models.adapters import Adapter
from culture_neurons.models.inference import forward
from culture_neurons.models.loading import Loaded

#: Arguments of one layer's call beside the hidden states.
Call = tuple[tuple, dict[str, Any]]


class _Reached(Exception):
    """Keys and values are there; the rest of the layer is not wanted."""


class _Keys:
    """Stands in for a key-value cache in one layer: keys and values of `before`, then those of the tokens at hand."""

    def __init__(self, before: _Keys | None = None, rows: torch.Tensor | None = None, stop: bool = False) -> None:
        self._before, self._rows, self._stop = before, rows, stop
        self.key: torch.Tensor | None = None
        self.value: torch.Tensor | None = None

    def update(self, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Note and return all keys and values [prompt, head, token, width]."""
        if self._before is not None:
            key = torch.cat([self._before.key[self._rows.to(key.device)], key], dim=2)
            value = torch.cat([self._before.value[self._rows.to(value.device)], value], dim=2)
        self.key, self.value = key, value
        if self._stop:
            raise _Reached
        return key, value


class _Given:
    """A cache that holds all keys and values already, those of the token at hand too."""

    def __init__(self, keys: _Keys) -> None:
        self._keys = keys

    def update(self, *_: Any, **__: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """The keys and values."""
        return self._keys.key, self._keys.value


class Entered:
    """A batch inside the decoder, at the input of one layer; see `enter`.

    The batch goes through in one part, or in two: prefixes, then suffixes (`sharing.Shared`).
    """

    def __init__(
        self,
        adapter: Adapter,
        parts: Sequence[torch.Tensor],
        calls: Sequence[Sequence[Call]],
        group: torch.Tensor | None = None,
    ) -> None:
        self._adapter = adapter
        self._parts = list(parts)  # hidden states (prompt, token, hidden)
        self._calls = calls  # [part][layer]
        self._group = group
        self._kept: list[list[Any]] = []  # [part]: outputs of `Adapter.before` in this layer
        self.layer = 0

    @property
    def parted(self) -> bool:
        """Whether prefixes and suffixes go through apart."""
        return self._group is not None

    def advance(self, layer: int) -> None:
        """Go on to the input of `layer`, for good; no mask may be in force."""
        for at in range(self.layer, layer):
            self._parts = self._run(at, self._parts, [])
            self._kept = []
        self.layer = max(layer, self.layer)

    def keep(self) -> None:
        """Compute what a mask in this layer can't change, for all `logits` to come; no mask may be in force."""
        if self._kept or self.layer == self._adapter.n_layers:
            return
        modules = self._adapter.before[self.layer]
        outputs: list[Any] = []
        handles = [m.register_forward_hook(lambda module, args, output: outputs.append(output)) for m in modules]
        try:
            self._run(self.layer, self._parts, [])
        finally:
            for handle in handles:
                handle.remove()
        parts = 1 if self.layer == self._adapter.n_layers - 1 else len(self._parts)
        if len(outputs) != parts * len(modules):
            raise ModelError(f"the parts of layer {self.layer} don't run once each")
        self._kept = [outputs[i * len(modules) : (i + 1) * len(modules)] for i in range(parts)]

    def logits(self) -> torch.Tensor:
        """Logits [batch, vocabulary] at the last position, from here through the rest; nothing is moved on."""
        parts = self._parts
        for at in range(self.layer, self._adapter.n_layers):
            parts = self._run(at, parts, self._kept if at == self.layer else [])
        return self._adapter.head(self._adapter.norm(parts[-1][:, -1:]))[:, -1]

    def _run(self, layer: int, parts: Sequence[torch.Tensor], kept: Sequence[Sequence[Any]]) -> list[torch.Tensor]:
        """All parts through one layer; of the last layer, the answer's position only."""
        if layer == self._adapter.n_layers - 1:
            return [self._run_last(layer, parts, kept)]
        result = []
        keys: _Keys | None = None
        for i, hidden in enumerate(parts):
            keys = _Keys(keys, self._group) if len(parts) > 1 else None
            result.append(self._call(layer, hidden, self._calls[i][layer], keys, kept[i] if kept else ()))
        return result

    def _run_last(self, layer: int, parts: Sequence[torch.Tensor], kept: Sequence[Sequence[Any]]) -> torch.Tensor:
        keys: _Keys | None = None
        for i, hidden in enumerate(parts if not kept else ()):
            keys = _Keys(keys, self._group, stop=True)
            try:
                self._call(layer, hidden, self._calls[i][layer], keys)
            except _Reached:
                continue
            raise ModelError("the last layer does not ask its cache for keys and values")
        hidden, (args, kwargs) = parts[-1], self._calls[len(parts) - 1][layer]
        last = sharing.selected(kwargs, lambda values, axis: values.narrow(axis + 1, -1, 1), *hidden.shape[:2])
        mask = last.get("attention_mask")
        if isinstance(mask, torch.Tensor) and mask.ndim == 4:
            last["attention_mask"] = mask[:, :, -1:]
        cache = _Given(keys) if keys is not None else None
        return self._call(layer, hidden[:, -1:], (args, last), cache, kept[0] if kept else ())

    def _call(self, layer: int, hidden: torch.Tensor, call: Call, cache: Any, kept: Sequence[Any] = ()) -> torch.Tensor:
        """One call of a layer; `kept` are the outputs of the modules that need not run again."""
        args, kwargs = call
        if cache is not None:
            kwargs = kwargs | {"past_key_values": cache}
        with replaced(self._adapter.before[layer] if kept else (), [_always(output) for output in kept]):
            return self._adapter.layers[layer](hidden, *args, **kwargs)


def enter(loaded: Loaded, inputs: Mapping[str, torch.Tensor], same: Sequence[int] | None = None) -> Entered:
    """Run a model up to its first decoder layer and note what each layer is called with; no layer is computed.

    `same` gives, per prompt, the first prompt with the same image (`Batch.same_image`): common beginnings are
    then shared, where the model's attention allows it and it saves enough.
    Raises ModelError when a layer is not called exactly once, hidden states first.
    """
    layers = loaded.adapter.layers
    noted: list[list[Call]] = [[] for _ in layers]
    first: list[torch.Tensor] = []

    def stand_in(layer: int) -> Callable[..., torch.Tensor]:
        def take(hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            first.append(hidden_states)
            noted[layer].append((args, kwargs))
            return hidden_states

        return take

    with replaced(layers, [stand_in(i) for i in range(len(layers))]):
        forward(loaded, inputs)
    if any(len(call) != 1 for call in noted):
        raise ModelError(f"model {loaded.name!r}: its decoder layers don't run once each, one after the other")
    calls, hidden = [call[0] for call in noted], first[0]
    shared = _shared(loaded, inputs, calls, same) if same is not None else None
    if shared is None:
        return Entered(loaded.adapter, [hidden], [_with_masks_to_add(calls, hidden.dtype)])
    n, width = hidden.shape[:2]
    masks = [_to_add(mask, hidden.dtype) for mask in shared.masks()]
    parts = [
        [((), sharing.selected(kwargs, take, n, width) | {"attention_mask": mask}) for _, kwargs in calls]
        for take, mask in zip((shared.prefix, shared.suffix), masks, strict=True)
    ]
    return Entered(loaded.adapter, [shared.prefix(hidden, 0), shared.suffix(hidden, 0)], parts, shared.group)


def _shared(
    loaded: Loaded, inputs: Mapping[str, torch.Tensor], calls: Sequence[Call], same: Sequence[int]
) -> sharing.Shared | None:
    """How to part the batch; None where it can't be parted, or need not be."""
    plain = all(not args and "attention_mask" in kwargs for args, kwargs in calls)
    if _attention(loaded) not in ("sdpa", "eager") or not plain:
        return None
    valid = inputs["attention_mask"].bool()
    masks = {id(kwargs.get("attention_mask")): kwargs.get("attention_mask") for _, kwargs in calls}
    if len(set(same)) == len(same) or not all(sharing.looks_back_only(mask, valid) for mask in masks.values()):
        return None
    found = sharing.part(inputs["input_ids"].cpu().numpy(), valid.cpu().numpy(), same)
    return None if found is None else found.to(valid.device)


def _attention(loaded: Loaded) -> str | None:
    """How the decoder's attention is computed: sdpa, eager, flash_attention_2 ..."""
    return getattr(loaded.model.config.get_text_config(), "_attn_implementation", None)


def _with_masks_to_add(calls: Sequence[Call], dtype: torch.dtype) -> list[Call]:
    """The calls with `_to_add` of their masks; layers that had one mask in common still have."""
    masks = {id(mask): _to_add(mask, dtype) for mask in (kwargs.get("attention_mask") for _, kwargs in calls)}
    return [
        (args, {key: masks[id(value)] if key == "attention_mask" else value for key, value in kwargs.items()})
        for args, kwargs in calls
    ]


def _to_add(mask: Any, dtype: torch.dtype) -> Any:
    """A bool mask as numbers to add: attention would make them anew in every layer and for every mask."""
    if not isinstance(mask, torch.Tensor) or mask.dtype != torch.bool or mask.ndim != 4:
        return mask
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, torch.finfo(dtype).min)


@contextmanager
def replaced(modules: Sequence[nn.Module], functions: Sequence[Callable[..., Any]]) -> Iterator[None]:
    """Inside, the modules' `forward` is another function; what accelerate has put in its place comes back."""
    before = [vars(module).get("forward") for module in modules]
    try:
        for module, function in zip(modules, functions, strict=True):
            module.forward = function
        yield
    finally:
        for module, own in zip(modules, before, strict=True):
            if own is not None:
                module.forward = own
            elif "forward" in vars(module):
                del module.forward


def _always(output: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: output
