"""How a demo model is trained: the optimiser, its schedule, one stage of steps, and another seed where one fails.

Everything is counted in steps, and every sum is made by one thread, so that the same settings give the same weights on
any number of cores. Matrices are trained with Muon, which needs about a third of AdamW's steps here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from culture_neurons.errors import ModelError
from culture_neurons.models.allocator import keep_freed_memory
from culture_neurons.models.demo.muon import Muon
from culture_neurons.models.demo.recipe import Reporter, Training
from culture_neurons.models.threads import pool

#: Shorter side of the largest matrices for Muon: its steps take the third power of that.
_LARGEST = 256
#: Gradients whose mean a step takes, side by side.
_SIDE_BY_SIDE = 2

T = TypeVar("T")
R = TypeVar("R", bound=Training)


class Optimiser:
    """Muon for matrices and AdamW for all else, with clipping at norm 1 and a short warm-up."""

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], recipe: Training) -> None:
        named = [(name, p) for name, p in parameters if p.requires_grad]
        fit = {name for name, p in named if p.ndim == 2 and "embed" not in name and min(p.shape) <= _LARGEST}
        matrices = [p for name, p in named if name in fit]
        others = [p for name, p in named if name not in fit]
        rate, decay = recipe.learning_rate, recipe.weight_decay
        self._parts = [
            (torch.optim.AdamW(others, betas=(0.9, 0.98), weight_decay=decay), rate),
            (Muon(matrices, momentum=0.95, weight_decay=decay, ns_steps=4), 5 * rate),
        ]
        self._all = [p for _, p in named]
        self._step = 0

    def step(self, loss: torch.Tensor, factor: float = 1.0) -> None:
        """One update that lowers `loss`, with `factor` times the learning rate."""
        for optimiser, _ in self._parts:
            optimiser.zero_grad()
        loss.backward()
        self.update(factor)

    def update(self, factor: float = 1.0) -> None:
        """The same with the gradients that the parameters have."""
        self._step += 1
        factor *= min(1.0, self._step / 30)
        torch.nn.utils.clip_grad_norm_(self._all, 1.0)
        for optimiser, rate in self._parts:
            for group in optimiser.param_groups:
                group["lr"] = rate * factor
            optimiser.step()


def schedule(limit: int, goal: float, rest: int, window: int = 20) -> Iterator[tuple[int, float, list[float]]]:
    """Yield (step, factor of the learning rate, list to which the caller appends its accuracy).

    Ends `rest` steps after the mean accuracy of the last `window` steps reaches `goal`, while the
    factor falls linearly; at the latest after `limit` steps.
    """
    accuracy: list[float] = []
    end = limit
    for step in range(limit):
        if end == limit and len(accuracy) >= window and np.mean(accuracy[-window:]) >= goal:
            end = min(limit, step + rest)
        if step >= end:
            return
        yield step, min(1.0, max(0.02, (end - step) / rest)), accuracy


def fit(
    stage: str,
    parameters: Iterable[tuple[str, nn.Parameter]],
    next_questions: Callable[[], T],
    losses: Callable[[T], tuple[torch.Tensor, torch.Tensor]],
    limit: int,
    goal: float,
    recipe: Training,
    reporter: Reporter,
) -> int:
    """One stage of a training: steps until `goal` is reached, at most `limit`; how many they were.

    The gradient of a step is the mean of two, each of its own questions, which two threads compute side by side: the
    result is the same on one core, and a step takes little more than half as long on two.

    next_questions   those of one gradient
    losses           of these: a loss per sample, and whether each was right (bool), both [sample]
    """
    named = [(name, p) for name, p in parameters if p.requires_grad]
    optimiser = Optimiser(named, recipe)
    trained = [p for _, p in named]

    def gradients(questions: T) -> tuple[Sequence[torch.Tensor | None], torch.Tensor]:
        loss, right = losses(questions)
        return torch.autograd.grad(loss.mean(), trained, allow_unused=True), right

    with pool(_SIDE_BY_SIDE) as threads:
        drawn = [next_questions() for _ in range(_SIDE_BY_SIDE)]
        for _, factor, accuracy in reporter.progress(schedule(limit, goal, recipe.rest), limit, stage):
            waiting = threads.map(gradients, drawn)
            drawn = [next_questions() for _ in drawn]  # meanwhile, for the next step
            by_thread, right = zip(*waiting, strict=True)
            for parameter, *parts in zip(trained, *by_thread, strict=True):
                # Layers that take no part in this stage have no gradient.
                parameter.grad = None if parts[0] is None else torch.stack(parts).mean(dim=0)
            optimiser.update(factor)
            accuracy.append(torch.cat(right).float().mean().item())
    reporter.log(f"{stage}: {len(accuracy)} steps, {100 * np.mean(accuracy[-20:]):.1f} % right")
    return len(accuracy)


@contextmanager
def one_thread() -> Iterator[None]:
    """No sum is shared among threads: sums in another order would give other weights."""
    keep_freed_memory()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def until_good(
    architecture: str,
    recipe: R,
    reporter: Reporter,
    attempt: Callable[[R], tuple[nn.Module, Any, int, float]],
    examples: str = "dev questions",
) -> tuple[nn.Module, Any, dict[str, Any]]:
    """A model that answers at least `min_accuracy` of `examples`, its processor, and a summary.

    `attempt` trains one with the recipe of a seed: model, processor, steps, accuracy on `examples`.
    Tries `attempts` seeds, one after another. Raises ModelError with the best accuracy when none will do.
    """
    best = 0.0
    for number in range(recipe.attempts):
        trial = replace(recipe, seed=recipe.seed + 1000 * number)
        reporter.log(f"{architecture}: attempt {number + 1}, seed {trial.seed}")
        with one_thread():
            model, processor, steps, accuracy = attempt(trial)
        best = max(best, accuracy)
        reporter.log(f"seed {trial.seed}: {100 * accuracy:.1f} % of {examples} right")
        if accuracy >= recipe.min_accuracy:
            summary = {"architecture": architecture, "planted": False, "seed": trial.seed, "attempts": number + 1}
            return model, processor, summary | {"steps": steps, "dev_accuracy": accuracy}
    raise ModelError(
        f"{architecture}: training reached {100 * best:.1f} % on {examples} in {recipe.attempts} attempts;"
        f" expected at least {100 * recipe.min_accuracy:.1f} %. Raise steps or attempts, or take another seed"
    )
