"""One stage of a training: when it ends, whose gradients a step takes, and what each parameter moves."""

from __future__ import annotations

from itertools import cycle

import pytest
import torch

from culture_neurons.models.demo.recipe import SILENT, Recipe
from culture_neurons.models.demo.training_loop import Optimiser, fit, schedule


def test_the_schedule_ends_some_steps_after_the_goal():
    seen = []
    for step, factor, accuracy in schedule(100, goal=0.9, rest=10, window=5):
        accuracy.append(1.0 if step >= 20 else 0.0)
        seen.append((step, factor))
    assert len(seen) == 25 + 10  # five good steps, then the rest
    factors = [factor for _, factor in seen]
    assert factors[:25] == [1.0] * 25
    assert factors[25:] == pytest.approx([1 - i / 10 for i in range(10)])


def test_the_schedule_ends_at_its_limit_without_the_goal():
    factors = []
    for _, factor, accuracy in schedule(30, goal=0.9, rest=10):
        accuracy.append(0.0)
        factors.append(factor)
    assert len(factors) == 30
    assert factors[-1] < 0.2


def test_a_step_takes_the_mean_of_gradients_that_are_found_side_by_side(monkeypatch):
    """Against the gradient of the mean loss, found alone; a parameter that takes no part stays."""
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: None)  # it would hide a factor
    generator = torch.Generator().manual_seed(0)
    halves = [torch.randn(8, 4, generator=generator) for _ in range(2)]

    def build() -> torch.nn.ModuleDict:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            return torch.nn.ModuleDict({"used": torch.nn.Linear(4, 4), "unused": torch.nn.Linear(4, 4)})

    def losses(model: torch.nn.ModuleDict, half: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        loss = model["used"](half).pow(2).sum(dim=1)
        return loss, loss < 0

    model, other = build(), build()
    waiting = cycle(halves)  # those of the step that would follow are drawn meanwhile
    parameters = list(model.named_parameters())
    assert fit("x", parameters, lambda: next(waiting), lambda half: losses(model, half), 1, 2.0, Recipe(), SILENT) == 1
    sum(losses(other, half)[0].mean() / 2 for half in halves).backward()
    for kind in ("weight", "bias"):
        trained, expected = getattr(model["used"], kind), getattr(other["used"], kind)
        torch.testing.assert_close(trained.grad, expected.grad)
        assert not torch.equal(trained, expected)
        assert torch.equal(getattr(model["unused"], kind), getattr(other["unused"], kind))


def test_frozen_parameters_are_left_alone():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    model[0].requires_grad_(False)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}

    def losses(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return model(x).sum(dim=1), x[:, 0] > 0

    fit("x", model.named_parameters(), lambda: torch.ones(3, 2), losses, 2, 2.0, Recipe(), SILENT)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]) == name.startswith("0."), name


def test_parameters_get_their_share_of_the_learning_rate():
    """Matrices and the rest alike: none of it, a little, and the whole."""
    shares = {"still": 0.0, "slow": 0.1, "quick": 1.0}
    model = torch.nn.ModuleDict({name: torch.nn.Linear(4, 4) for name in shares})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.5)
    recipe = Recipe(weight_decay=0.0)
    optimiser = Optimiser(model.named_parameters(), recipe, lambda name: shares[name.split(".")[0]])
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    optimiser.step(sum(layer(x).pow(2).sum() for layer in model.values()))
    for kind in ("weight", "bias"):
        moved = {name: (getattr(model[name], kind) - 0.5).abs().max().item() for name in shares}
        assert moved["still"] == 0
        assert moved["slow"] == pytest.approx(moved["quick"] / 10, rel=0.01)
        assert moved["quick"] > 0
