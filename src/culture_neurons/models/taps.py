"""Where numbers of a forward pass are seen, and hooks there for as long as a context lasts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from culture_neurons.models.experts import RoutedExperts, watched


@dataclass(frozen=True)
class Tap:
    """Where numbers are seen: at what a module puts out, or at what it reads; and `function` of them, where there is
    one. `experts`: the module is the activation of these, and runs once for each that any token reaches."""

    module: nn.Module
    at_input: bool = False
    function: Callable[[torch.Tensor], torch.Tensor] | None = None
    experts: RoutedExperts | None = None


@contextmanager
def attached(
    taps: Sequence[Tap],
    react: Callable[[int, torch.Tensor], torch.Tensor | None],
    begin: Callable[[int, RoutedExperts, int], None],
    react_expert: Callable[[int, int, torch.Tensor, torch.Tensor], torch.Tensor | None],
    end: Callable[[int], None],
) -> Iterator[None]:
    """Call `react(number, g)` at every tap; a tensor that it returns takes the place of g. At those of experts, call
    `begin(number, experts, number of tokens)`, for each `react_expert(number, expert, tokens, g)`, and `end(number)`.
    """

    def hook(number: int) -> Callable[..., torch.Tensor | None]:
        return lambda module, args, output: react(number, output)

    def function_hook(number: int, function: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., None]:
        return lambda module, args, output: react(number, function(output))

    def input_hook(number: int) -> Callable[..., Any]:
        def replace(module: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
            new = react(number, args[0])
            return None if new is None else (new, *args[1:])

        return replace

    with ExitStack() as hooks:
        for number, tap in enumerate(taps):
            if tap.experts is not None:
                see = partial(react_expert, number)
                hooks.enter_context(
                    watched(tap.experts, see, partial(begin, number, tap.experts), partial(end, number))
                )
            elif tap.at_input:
                hooks.enter_context(tap.module.register_forward_pre_hook(input_hook(number)))
            elif tap.function is not None:
                hooks.enter_context(tap.module.register_forward_hook(function_hook(number, tap.function)))
            else:
                hooks.enter_context(tap.module.register_forward_hook(hook(number)))
        yield
