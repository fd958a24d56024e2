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
def replaced(stand_ins: Sequence[StandIn]) -> Iterator[None]:
    """Inside, the functions run; outside, what was there before, such as what accelerate has put there."""
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
def noted(modules: Sequence[nn.Module]) -> Iterator[list[tuple[nn.Module, Any]]]:
    """The modules in the order in which they run, and what the `forward` of each gives, before hooks change it."""
    found: list[tuple[nn.Module, Any]] = []

    def noting(module: nn.Module) -> Callable[..., Any]:
        own = module.forward

        def run(*args: Any, **kwargs: Any) -> Any:
            output = own(*args, **kwargs)
            found.append((module, output))
            return output

        return run

    with replaced([(module, noting(module)) for module in modules]):
        yield found


def handing_back(module: nn.Module, output: Any) -> StandIn:
    """Gives `output`, whatever the module is called with."""
    return module, lambda *args, **kwargs: output


def straight_to(decoder: nn.Module, around: nn.Module, runs: Mapping[nn.Module, Run]) -> list[StandIn]:
    """In place of a module around the decoder, which makes its input of tokens and images: the decoder alone.

    It is called with what it was called with before, and its new hidden states take the place of those before in what
    the module gave. Empty where the module did not hand on the decoder's hidden states as they are.
    """
    if decoder not in runs or around not in runs:
        return []
    (args, kwargs, of_decoder), (*_, output) = runs[decoder], runs[around]
    states = getattr(of_decoder, "last_hidden_state", None)
    if states is None or getattr(output, "last_hidden_state", None) is not states:
        return []
    rest = dataclasses.replace(output, last_hidden_state=None)

    def run(*_: Any, **__: Any) -> Any:
        return dataclasses.replace(rest, last_hidden_state=decoder(*args, **kwargs).last_hidden_state)

    return [(around, run)]


def with_its_mask(decoder: nn.Module, runs: Mapping[nn.Module, Run], masks: Sequence[Any]) -> list[StandIn]:
    """The decoder, called with the attention mask that it made, in place of the padding that it made it of.

    Models hand such a mask on as it is. Where it is bool, it is given as numbers to add, 0 and -inf: attention on a CPU
    would make these of it in each layer. `masks` are what the layers were called with. Empty where they are not one
    mask, and in half precision and on other devices, where this saves nothing.
    """
    _, kwargs, output = runs.get(decoder, ((), {}, None))
    states, padding, mask = getattr(output, "last_hidden_state", None), kwargs.get("attention_mask"), masks[0]
    found = all(isinstance(value, torch.Tensor) for value in (states, padding, mask))
    if not found or padding.ndim != 2 or mask.ndim != 4 or any(other is not mask for other in masks):
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
