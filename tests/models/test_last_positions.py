from types import SimpleNamespace

import pytest
import torch
from torch import nn

from culture_neurons.models import last_positions
from culture_neurons.models.stand_ins import replace_forwards
from tests.models import families


class Gated(nn.Module):
    """A gated MLP of 64 neurons, and how many positions its forward saw."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.up, self.down = nn.Linear(32, 64), nn.Linear(32, 64), nn.Linear(64, 32)
        self.seen = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(x.shape[1])
        return self.down(nn.functional.silu(self.gate(x)) * self.up(x))


def passes(module, hidden, neurons=64):
    """Outputs of three passes of one batch, and once more of one that differs, as under another mask."""
    with torch.inference_mode(), replace_forwards([(module, last_positions._rows(module, neurons))]):
        return [module(x).clone() for x in (hidden, hidden, hidden.flip(0), hidden)]


@pytest.mark.parametrize("n", [1, 3, 20])
def test_last_position_has_the_bits_of_the_whole(n):
    torch.manual_seed(0)
    mlp, hidden = Gated(), torch.randn(n, 40, 32)
    expected = mlp(hidden)
    mlp.seen.clear()
    first, second, other, last = passes(mlp, hidden)
    few = -(-16 // n)
    assert mlp.seen == [40, few, few, few, few]
    assert torch.equal(first, expected)
    for output in (second, other.flip(0), last):
        assert output.shape == expected.shape
        assert torch.equal(output[:, -few:], expected[:, -few:])
        assert not output[:, :-few].any()


def test_all_positions_run_where_fewer_round_differently_or_may():
    class Uneven(Gated):
        def forward(self, x):
            return super().forward(x) + 1e-6 * x.shape[1]

    hidden = torch.randn(4, 40, 32)
    for mlp, x, neurons in (
        (Uneven(), hidden, 64),  # found by the trial
        (Gated(), hidden, 25),  # some neurons are left over after whole vectors
        (Gated().bfloat16(), hidden.bfloat16(), 64),  # rounding hides differences
        (Gated(), hidden[:, :4].contiguous(), 64),  # nothing to leave out
    ):
        with torch.inference_mode():
            expected = mlp(x)
        mlp.seen.clear()
        first, second, _, last = passes(mlp, x, neurons)
        assert all(torch.equal(output, expected) for output in (first, second, last))
        assert mlp.seen[-2:] == [x.shape[1]] * 2


def test_numbers_of_each_thread_are_whole_vectors(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert last_positions._whole_vectors(64 * 10)  # too few for a second thread
    assert last_positions._whole_vectors(64 * 3 * 1000)
    assert not last_positions._whole_vectors(64 * 3 * 1000 + 64)
    assert not last_positions._whole_vectors(64 * 10 + 8)


@pytest.mark.parametrize(("tokens", "left_out"), [(20, True), (33, False), (48, True), (70, True)])
def test_attention_runs_for_the_last_queries(tokens, left_out):
    """Of 33 queries PyTorch takes 32 at a time, and the last one alone: that rounds differently."""
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(3, 2, tokens, 16, generator=generator) for _ in range(3))
    mask = torch.ones(3, 1, tokens, tokens, dtype=torch.bool).tril()
    seen = []

    class Attention(nn.Module):
        def forward(self, mask):
            seen.append(1)
            return nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)

    attention = Attention()
    expected = attention(mask)
    with replace_forwards([(attention, last_positions._queries(attention))]):
        first, *later = (attention(mask) for _ in range(3))
        unmasked = attention(None)
    assert torch.equal(first, expected)
    for output in later:
        assert output.shape == expected.shape
        assert torch.equal(output[:, :, -1], expected[:, :, -1])
        assert output[:, :, 0].any() != left_out
    assert unmasked[:, :, 0].all()


def test_modules_are_those_of_the_last_layer():
    loaded = families.load("Gemma2")
    norm = loaded.model.model.norm
    names = {module: name for name, module in loaded.model.named_modules()}
    modules = {names[module] for module, _ in last_positions.last_positions(loaded.adapter, norm)}
    parts = ["self_attn", "self_attn.q_proj", "self_attn.o_proj", "mlp", "post_attention_layernorm",
             "pre_feedforward_layernorm", "post_feedforward_layernorm"]  # fmt: skip
    assert modules == {"model.norm", *(f"model.layers.2.{part}" for part in parts)}
    other = SimpleNamespace(attentions=[None], layers=[nn.Module()], mlps=[nn.Identity()], widths=(1,))
    assert [type(module) for module, _ in last_positions.last_positions(other, None)] == [nn.Identity]


def test_a_layer_is_never_taken_for_its_mlp():
    """OPT's layer holds the parts itself; at the last positions alone, its attention would see no other."""
    adapter = families.load("OPT").adapter
    modules = [module for module, _ in last_positions.last_positions(adapter, None)]
    assert adapter.layers[-1] not in modules
    assert adapter.attentions[-1] in modules
