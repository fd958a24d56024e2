import pytest
from torch import nn

from culture_neurons.errors import ModelError
from culture_neurons.models.mlp_refusals import EXPECTED, refusal, tree


def block(n: int) -> nn.Module:
    module = nn.Module()
    module.norm = nn.LayerNorm(4)
    for i in range(n):
        module.add_module(f"part{i}", nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 4)))
    return module


def test_a_tree_has_at_most_five_lines_and_what_has_weights_first():
    line = "Sequential (0 Linear 4>6, 1 GELU, 2 Linear 6>4)"
    assert tree(block(2)) == [f"  part0: {line}", f"  part1: {line}", "  norm: LayerNorm"]
    assert tree(block(7)) == [*(f"  part{i}: {line}" for i in range(4)), "  and 4 more"]
    wide = nn.Sequential(nn.Sequential(*(nn.Linear(4, 4) for _ in range(30))))
    assert [(len(x), x[-3:]) for x in tree(wide)] == [(150, "...")]


@pytest.mark.parametrize("advice", ["", "do this"])
def test_a_refusal_says_what_was_found_and_expected(advice):
    error = refusal("mine", "layer 3 has no MLP", block(7), advice)
    assert isinstance(error, ModelError)
    first, second, third, *found = str(error).splitlines()
    assert first == "model type 'mine': layer 3 has no MLP"
    assert second == EXPECTED
    assert third == "found in Module:"
    assert found == [*tree(block(7)), *([advice] if advice else [])]
