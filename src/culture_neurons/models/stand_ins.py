"""Other functions in place of modules' `forward`, for as long as a context lasts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

#: A module, and what runs in place of its `forward`.
StandIn = tuple[nn.Module, Callable[..., Any]]
#: One run of a module: arguments, keyword arguments, and output.
Run = tuple[tuple, dict[str, Any], Any]


@contextmanager
def replace_forwards(stand_ins: Sequence[StandIn]) -> Iterator[None]:
    """Run the functions in place of the modules' forwards inside the context; restore what was there on exit."""
    before = [(module, {k: v for k, v in vars(module).items() if k == "forward"}) for module, _ in stand_ins]
    try:
        for module, function in stand_ins:
            module.forward = function
        yield
    finally:
        for module, own in before:
            vars(module).pop("forward", None)
            vars(module).update(own)


@contextmanager
def record_runs(modules: Sequence[nn.Module]) -> Iterator[list[tuple[nn.Module, Any]]]:
    """Record the modules in the order in which they run, with the output of each `forward` before hooks change it."""
    outputs: list[tuple[nn.Module, Any]] = []

    def wrap(module: nn.Module) -> Callable[..., Any]:
        own = module.forward

        def run(*args: Any, **kwargs: Any) -> Any:
            output = own(*args, **kwargs)
            outputs.append((module, output))
            return output

        return run

    with replace_forwards([(module, wrap(module)) for module in modules]):
        yield outputs


def returning(module: nn.Module, output: Any) -> StandIn:
    """A stand-in that returns `output`, whatever the module is called with."""
    return module, lambda *args, **kwargs: output


def skipping_wrapper(decoder: nn.Module, wrapper: nn.Module, runs: Mapping[nn.Module, Run]) -> list[StandIn]:
    """A stand-in for a wrapper around the decoder that skips making the decoder's input from tokens and images.

    The decoder is called with its recorded arguments, and its new hidden states replace the old ones in the wrapper's
    recorded output. Empty where the wrapper did not pass the decoder's hidden states on unchanged.
    """
    if decoder not in runs or wrapper not in runs:
        return []
    (args, kwargs, of_decoder), (*_, output) = runs[decoder], runs[wrapper]
    states = getattr(of_decoder, "last_hidden_state", None)
    if states is None or getattr(output, "last_hidden_state", None) is not states:
        return []
    empty_output = dataclasses.replace(output, last_hidden_state=None)

    def run(*_: Any, **__: Any) -> Any:
        return dataclasses.replace(empty_output, last_hidden_state=decoder(*args, **kwargs).last_hidden_state)

    return [(wrapper, run)]


def with_additive_mask(decoder: nn.Module, runs: Mapping[nn.Module, Run], masks: Sequence[Any]) -> list[StandIn]:
    """A stand-in that calls the decoder with its own 4-D attention mask instead of the padding mask it was made from.

    Models pass such a mask on unchanged. A bool mask becomes an additive one (0 and -inf), which attention on a CPU
    would otherwise make again in each layer. `masks` are those that the layers were called with. Empty where the layers
    had different masks, and in half precision and on other devices, where this saves nothing.
    """
    _, kwargs, output = runs.get(decoder, ((), {}, None))
    states, padding, mask = getattr(output, "last_hidden_state", None), kwargs.get("attention_mask"), masks[0]
    all_tensors = all(isinstance(value, torch.Tensor) for value in (states, padding, mask))
    if not all_tensors or padding.ndim != 2 or mask.ndim != 4 or any(other is not mask for other in masks):
        return []
    if not full_precision(states) or padding.device != mask.device:
        return []
    if mask.dtype == torch.bool:
        mask = torch.zeros(mask.shape, dtype=states.dtype).masked_fill_(~mask, -torch.inf)
    own = decoder.forward

    def run(*args: Any, **kwargs: Any) -> Any:
        return own(*args, **kwargs | {"attention_mask": mask})

    return [(decoder, run)]


def full_precision(values: Any) -> bool:
    """Whether a tensor is on a CPU and in float32."""
    return isinstance(values, torch.Tensor) and values.device.type == "cpu" and values.dtype == torch.float32
