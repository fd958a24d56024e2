from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from culture_neurons.models.stand_ins import (
    record_runs,
    replace_forwards,
    returning,
    skipping_wrapper,
    with_additive_mask,
)


def test_what_was_there_before_comes_back_after_an_error_too():
    own, placed = nn.Linear(2, 2), nn.Linear(2, 2)
    placed.forward = before = lambda x: x  # as accelerate does
    with replace_forwards([returning(own, 1), returning(placed, 2)]):
        assert (own(0), placed(0)) == (1, 2)
    with pytest.raises(ZeroDivisionError), replace_forwards([returning(own, 1), (placed, lambda: 0 / 0)]):
        placed()
    assert "forward" not in vars(own)
    assert placed.forward is before


def test_hooks_act_on_what_is_handed_back_and_not_on_what_is_noted():
    module = nn.Linear(2, 2)
    module.register_forward_hook(lambda module, args, output: output + 1)
    x = torch.ones(1, 2)
    with record_runs([module]) as runs:
        output = module(x)
    assert torch.equal(runs[0][1] + 1, output)
    assert [m for m, _ in runs] == [module]
    with replace_forwards([returning(*runs[0])]):
        assert torch.equal(module(x * 7), output)


@dataclass
class Output:
    last_hidden_state: torch.Tensor
    other: str = "kept"


class Around(nn.Module):
    """Makes the decoder's input, and hands on its output, as it is or changed."""

    def __init__(self, change: float) -> None:
        super().__init__()
        self.decoder, self.change = nn.Module(), change
        self.decoder.forward = lambda x, scale: Output(x * scale)

    def forward(self, x: torch.Tensor) -> Output:
        states = self.decoder(x + 1, scale=2).last_hidden_state
        return Output(states + self.change if self.change else states)


@pytest.mark.parametrize("change", [0, 1])
def test_decoder_alone_runs_where_its_output_is_handed_on_as_it_is(change):
    around, runs = Around(change), {}
    for module in (around, around.decoder):
        module.register_forward_hook(lambda m, a, k, o: runs.update({m: (a, k, o)}), with_kwargs=True)
    around(torch.ones(1))
    stand_ins = skipping_wrapper(around.decoder, around, runs)
    assert len(stand_ins) == (not change)
    around.decoder.forward = lambda x, scale: Output(x * scale + 100)
    with replace_forwards(stand_ins):
        output = around(torch.full((1,), 7.0) if change else None)
    assert output == (Output(torch.tensor([117.0])) if change else Output(torch.tensor([104.0])))


def test_nothing_stands_in_for_a_module_that_did_not_run():
    assert skipping_wrapper(nn.Module(), nn.Module(), {}) == []
    decoder, around = nn.Module(), nn.Module()
    runs = {decoder: ((), {}, (torch.ones(1),)), around: ((), {}, SimpleNamespace())}
    assert skipping_wrapper(decoder, around, runs) == []


def decoder_calls(layers, dtype=torch.float32, ndim=2):
    """A decoder, one run of it, what its layers were called with as masks, and what it is called with as mask."""
    decoder, seen = nn.Module(), []
    decoder.forward = lambda x, attention_mask=None: seen.append(attention_mask)
    mask = torch.tensor([[[[True, False], [True, True]]]])
    padding = torch.ones((1, 2, 1, 1)[:ndim], dtype=torch.long)
    run = ((torch.ones(1),), {"attention_mask": padding}, Output(torch.ones(1, dtype=dtype)))
    return decoder, {decoder: run}, [mask if same else mask.clone() for same in layers], seen


def test_decoder_gets_the_mask_that_it_made_as_numbers_to_add():
    decoder, runs, masks, seen = decoder_calls([True, True])
    with replace_forwards(with_additive_mask(decoder, runs, masks)):
        decoder(torch.ones(1), attention_mask=torch.ones(1, 2))
    assert seen[0].tolist() == [[[[0.0, -torch.inf], [0.0, 0.0]]]]


@pytest.mark.parametrize("case", [
    {"layers": [True, False]},  # layers with a window have another mask
    {"layers": [True], "dtype": torch.bfloat16},
    {"layers": [True], "ndim": 4},  # made outside
])  # fmt: skip
def test_decoder_makes_its_mask_anew_in_other_cases(case):
    decoder, runs, masks, _ = decoder_calls(**case)
    assert with_additive_mask(decoder, runs, masks) == []
    assert with_additive_mask(decoder, runs, [None]) == []
    assert with_additive_mask(decoder, {}, masks) == []
