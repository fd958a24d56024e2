"""What decides whether a module is an MLP: made-up ones, right and wrong, under names that say nothing."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from culture_neurons.models.mlp_numbers import find

HIDDEN, NEURONS = 16, 24


class Made(nn.Module):
    """An MLP with the parts that are wanted, which computes `compute(self, x)`."""

    def __init__(self, compute, neurons=NEURONS, **parts):
        super().__init__()
        torch.manual_seed(0)
        self.compute = compute
        widths = {"one": (HIDDEN, neurons), "two": (HIDDEN, neurons), "both": (HIDDEN, 2 * neurons),
                  "back": (neurons, HIDDEN)}  # fmt: skip
        for name, part in parts.items():
            self.add_module(name, nn.Linear(*widths[name]) if part is None else part)

    def forward(self, x):
        return self.compute(self, x)


def layer_of(module):
    layer = nn.Module()
    layer.add_module("thing", module)
    layer.add_module("norm", nn.LayerNorm(HIDDEN))
    return layer


def halves(m, x):
    second, first = m.both(x).chunk(2, -1)
    return m.back(m.act(first) * second)


def functional_halves(m, x):
    first, second = m.both(x).chunk(2, -1)
    return m.back(F.silu(first) * second)


PLAIN = {"one": None, "back": None}
GATED = {"one": None, "two": None, "back": None}
RIGHT = {
    "plain": (lambda m, x: m.back(m.act(m.one(x))), PLAIN | {"act": nn.GELU()}, "back(act(one x))"),
    "plain, with dropout": (
        lambda m, x: m.drop(m.back(m.act(m.one(x)))), PLAIN | {"act": nn.GELU(), "drop": nn.Dropout(0.5)},
        "back(act(one x))"),
    "gated": (lambda m, x: m.back(m.act(m.one(x)) * m.two(x)), GATED | {"act": nn.SiLU()}, "back(act(one x) * two x)"),
    "gated, the other way round": (
        lambda m, x: m.back(m.act(m.two(x)) * m.one(x)), GATED | {"act": nn.SiLU()}, "back(act(two x) * one x)"),
    "back first": (
        lambda m, x: m.back(m.act(m.one(x))), {"back": None, "one": None, "act": nn.GELU()}, "back(act(one x))"),
    "in place": (lambda m, x: m.back(m.act(m.one(x))), PLAIN | {"act": nn.ELU(inplace=True)}, "back(act(one x))"),
    "halves": (halves, {"both": None, "back": None, "act": nn.SiLU()}, "back(halves of both x, act of one)"),
    "a function": (lambda m, x: m.back(F.gelu(m.one(x), approximate="tanh")), PLAIN, "back(function(one x))"),
    "functions in turn": (
        lambda m, x: m.back(torch.square(F.relu(m.two(x))) * m.one(x)), GATED, "back(function(two x) * one x)"),
    "a function of a half": (
        functional_halves, {"both": None, "back": None}, "back(halves of both x, function of one)"),
}  # fmt: skip


@pytest.mark.parametrize("kind", RIGHT)
@pytest.mark.parametrize("neurons", [NEURONS, HIDDEN], ids=["", "as many neurons as the stream is wide"])
def test_right_ones(kind, neurons):
    compute, parts, layout = RIGHT[kind]
    module = Made(compute, neurons, **parts)
    search = find(layer_of(module))
    assert [(mlp.name, str(mlp.layout), mlp.width) for mlp in search.mlps] == [("thing", layout, neurons)]
    assert module.training
    assert not any(part._forward_hooks for part in module.modules())


def test_which_half_is_up():
    mlp = find(layer_of(Made(RIGHT["halves"][0], **RIGHT["halves"][1]))).mlps[0]
    assert mlp.up_first is True
    swapped = Made(lambda m, x: m.back(m.act(m.both(x).chunk(2, -1)[0]) * m.both(x).chunk(2, -1)[1]),
                   both=None, back=None, act=nn.SiLU())  # fmt: skip
    assert not find(layer_of(swapped)).mlps  # its projection runs twice: which run counts is not known


def test_function_is_the_one_that_ran():
    x = torch.randn(2, 5)
    in_turn = find(layer_of(Made(RIGHT["functions in turn"][0], **GATED))).mlps[0].function
    assert torch.equal(in_turn(x), F.relu(x) ** 2)
    tanh = Made(lambda m, x: m.back(F.gelu(m.one(x), approximate="tanh") * m.two(x)), **GATED)
    function = find(layer_of(tanh)).mlps[0].function
    assert torch.equal(function(x), F.gelu(x, approximate="tanh"))
    assert not torch.equal(function(x), F.gelu(x))


WRONG = {
    "sum": (lambda m, x: m.back(m.act(m.one(x)) + m.two(x)), GATED, "does not compute back(act(one x) * two x)"),
    "bias before": (lambda m, x: m.back(m.act(m.one(x) + 1)), PLAIN, "does not compute back(act(one x))"),
    "bias behind": (lambda m, x: m.back(m.act(m.one(x))) + 1, PLAIN, "does not compute back(act(one x))"),
    "norm between": (lambda m, x: m.back(F.layer_norm(m.act(m.one(x)), [NEURONS])), PLAIN, "does not compute"),
    "another gate behind": (lambda m, x: m.back(m.act(m.one(x))) * torch.sigmoid(x), PLAIN, "does not compute"),
    "twice": (lambda m, x: m.back(m.act(m.act(m.one(x)))), PLAIN, "runs its activation act 2 times"),
    "gone past": (lambda m, x: m.back(F.silu(m.one(x))), PLAIN, "runs its activation act 0 times"),
    "needs more": (lambda m, x: m.back(m.act(m.one(x)[m.index])), PLAIN, "can't be run alone (AttributeError: "),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_ones(kind):
    compute, parts, reason = WRONG[kind]
    search = find(layer_of(Made(compute, **parts | {"act": nn.SiLU()})))
    assert not search.mlps
    (name, why), *_ = search.failures
    assert name == "thing"
    assert why.startswith(reason)


def test_what_only_has_the_shape_of_one_is_a_doubt():
    search = find(layer_of(Made(lambda m, x: m.back(m.one(x)), **PLAIN)))
    assert (search.mlps, search.failures) == ([], [])
    assert search.doubts == [("thing", "does not compute back(function(one x))")]


class Flat(nn.Module):
    """A layer that holds the parts itself, and computes on [batch * token, hidden]."""

    def __init__(self, backwards: bool = False, factor: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.act, self.back = nn.Linear(HIDDEN, NEURONS), nn.ReLU(), nn.Linear(NEURONS, HIDDEN)
        self.backwards, self.factor = backwards, factor

    def forward(self, x, mask=None):
        order = x.transpose(0, 1) if self.backwards else x
        y = self.back(self.factor * self.act(self.one(order.reshape(-1, HIDDEN)))).view(order.shape)
        return (x + (y.transpose(0, 1) if self.backwards else y),)


def test_flat_samples_must_lie_one_after_the_other():
    (mlp,) = find(Flat()).mlps
    assert (mlp.name, str(mlp.layout)) == ("", "back(act(one x))")
    search = find(Flat(backwards=True))
    assert not search.mlps
    assert search.failures == [("", "gives what act puts out in an unknown order")]


def test_projection_of_a_layer_must_read_its_neurons():
    search = find(Flat(factor=2.0))
    assert not search.mlps
    assert search.failures == [("", "does not compute back(act(one x))")]


def test_two_of_a_layer_are_both_found():
    layer = layer_of(Made(RIGHT["plain"][0], **RIGHT["plain"][1]))
    layer.add_module("other", Made(RIGHT["gated"][0], **RIGHT["gated"][1]))
    assert sorted(mlp.name for mlp in find(layer).mlps) == ["other", "thing"]


def test_parts_may_lie_in_modules_of_their_own():
    """As in CPM-Ant."""
    inner = nn.ModuleDict({"a": nn.Linear(HIDDEN, NEURONS), "b": nn.Linear(HIDDEN, NEURONS), "act": nn.GELU()})
    module = Made(lambda m, x: m.back(m.box["act"](m.box["a"](x)) * m.box["b"](x)), back=None, box=inner)
    (mlp,) = find(layer_of(module)).mlps
    assert str(mlp.layout) == "back(box.act(box.a x) * box.b x)"
    assert mlp.part("gate") is inner["a"]


def test_what_holds_an_mlp_is_no_second_one():
    layer = layer_of(nn.Sequential(nn.LayerNorm(HIDDEN), Made(RIGHT["plain"][0], **RIGHT["plain"][1])))
    search = find(layer)
    assert [mlp.name for mlp in search.mlps] == ["thing.1"]
    assert not search.failures


@pytest.mark.parametrize(
    ("names", "found"),
    [(("gate_proj", "up_proj", "down_proj"), True), (("one", "two", "back"), False)],
    ids=["known names", "unknown names"],
)
def test_weights_that_are_not_in_memory_are_known_by_name(names, found):
    first, second, back = names
    with torch.device("meta"):
        parts = {name: nn.Linear(HIDDEN, NEURONS) for name in (first, second)} | {back: nn.Linear(NEURONS, HIDDEN)}
        layer = layer_of(Made(None, **parts, act=nn.SiLU()))
    search = find(layer)
    if found:
        assert [str(mlp.layout) for mlp in search.mlps] == ["down_proj(act(gate_proj x) * up_proj x)"]
    else:
        assert search.failures[0][1].startswith("can't be run, since its weights are not in memory")
