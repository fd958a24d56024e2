"""The optimiser of the tiny models, against a plain loop in float64, and against torch's own in bfloat16."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from culture_neurons.models.demo.muon import Muon, orthogonal

SHAPES = [(6, 4), (4, 6), (6, 4), (5, 5)]


def parameters(dtype=torch.float32) -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in SHAPES]


def gradients(step: int, dtype=torch.float32) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(step + 1)
    return [torch.randn(shape, generator=generator).to(dtype) for shape in SHAPES]


def test_updates_are_those_of_a_plain_loop():
    ours, settings = parameters(), {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.1, "ns_steps": 4}
    optimiser = Muon(ours, **settings)
    expected = [p.detach().double().numpy().copy() for p in ours]
    means = [np.zeros(shape) for shape in SHAPES]
    for step in range(3):
        for p, gradient in zip(ours, gradients(step), strict=True):
            p.grad = gradient
        optimiser.step()
        for i, gradient in enumerate(gradients(step)):
            g = gradient.double().numpy()
            means[i] = 0.9 * means[i] + 0.1 * g
            x = 0.1 * g + 0.9 * means[i]
            x = x / np.sqrt((x**2).sum())
            for _ in range(4):  # of a tall matrix, the same as the transpose of the iteration of its transpose
                a = x @ x.T
                x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
            rows, columns = x.shape
            expected[i] = expected[i] * (1 - 0.02 * 0.1) - 0.02 * max(1, rows / columns) ** 0.5 * x
    for p, wanted in zip(ours, expected, strict=True):
        assert_allclose(p.detach().numpy(), wanted, rtol=2e-5, atol=2e-6)


def test_torch_does_the_same_in_bfloat16():
    ours, theirs = parameters(), parameters()
    settings = {"lr": 0.02, "momentum": 0.95, "weight_decay": 0.1, "ns_steps": 5}
    optimisers = Muon(ours, **settings), torch.optim.Muon(theirs, **settings)
    for step in range(3):
        for params in (ours, theirs):
            for p, gradient in zip(params, gradients(step), strict=True):
                p.grad = gradient
        for optimiser in optimisers:
            optimiser.step()
    for start, p, other in zip(parameters(), ours, theirs, strict=True):
        moved = (p - start).norm()
        assert (p - other).norm() < 0.05 * moved


@pytest.mark.parametrize("shape", [(1, 8, 3), (2, 3, 8), (3, 4, 4)])
def test_all_singular_values_are_near_one(shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    values = torch.linalg.svdvals(orthogonal(matrices, 5))
    assert values.min() > 0.3
    assert values.max() < 1.3


def test_a_parameter_without_gradient_and_a_gradient_of_zeros_change_nothing():
    ours = parameters()
    before = [p.detach().clone() for p in ours]
    ours[1].grad = torch.zeros(SHAPES[1])
    Muon(ours, lr=0.1, weight_decay=0.0).step()
    assert all(torch.equal(p, start) for p, start in zip(ours, before, strict=True))


def test_groups_have_rates_of_their_own():
    slow, fast = parameters()[:2]
    starts = slow.detach().clone(), fast.detach().clone()
    optimiser = Muon([{"params": [slow], "lr": 0.0}, {"params": [fast], "lr": 0.1}])
    slow.grad, fast.grad = gradients(0)[:2]
    optimiser.step()
    assert torch.equal(slow, starts[0])
    assert not torch.equal(fast, starts[1])
