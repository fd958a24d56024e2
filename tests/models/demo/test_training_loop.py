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


def test_matrices_and_the_rest_move_by_the_factor_of_the_learning_rate():
    """A tenth of it moves weights and biases, Muon's and AdamW's, a tenth as far; embeddings are AdamW's too."""

    def moved(factor: float) -> dict[str, float]:
        model = torch.nn.ModuleDict({"embed": torch.nn.Embedding(8, 4), "layer": torch.nn.Linear(4, 4)})
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(0.5)
        optimiser = Optimiser(model.named_parameters(), Recipe(weight_decay=0.0, learning_rate=0.003))
        optimiser.step(model["layer"](model["embed"](torch.arange(8))).pow(2).sum(), factor)
        return {name: (p - 0.5).abs().max().item() for name, p in model.named_parameters()}

    whole, tenth = moved(1.0), moved(0.1)
    for name, distance in whole.items():
        assert tenth[name] == pytest.approx(distance / 10, rel=0.01), name
    # AdamW's first step is the learning rate itself, at the first of 30 steps of warm-up.
    assert whole["embed.weight"] == pytest.approx(0.003 / 30, rel=0.01)
    assert whole["layer.bias"] == pytest.approx(0.003 / 30, rel=0.01)
    # Muon's is five times that, spread over the 4 x 4 numbers of a matrix of rank 1.
    assert whole["layer.weight"] == pytest.approx(5 * 0.003 / 30 / 4, rel=0.15)
