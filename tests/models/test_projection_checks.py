"""Parts of a fused projection that are no queries, keys or values are noticed by what they do."""

import logging

import pytest
import torch

from culture_neurons.models import projection_checks, projections
from culture_neurons.models.projection_checks import find_sites
from culture_neurons.models.projections import ATTENTION, Projection
from tests.models import site_models

#: Those whose attention holds several sites in one projection, or a gate beside its queries.
FUSED = [name for name in site_models.MODELS if name not in ("mllama", "gemma4", "opt")]


@pytest.fixture(scope="module")
def model():
    """name -> a model of `site_models`, made once."""
    made = {}
    return lambda name: made.setdefault(name, site_models.load(name))


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_right_passes(model, name, dtype, caplog):
    loaded = model(name)
    loaded.model.to(dtype)
    try:
        with caplog.at_level(logging.INFO):
            assert find_sites(loaded, ATTENTION) == projections.projections(loaded.adapter, ATTENTION)
    finally:
        loaded.model.float()
    assert not caplog.records
    assert not any(m._forward_hooks for m in loaded.model.modules())


#: Other ways to lay a projection out, by model: what would be taken for queries, keys and values.
WRONG = {
    "in turns, taken as blocks": ("gpt_neox", {"q_proj": (0, 64), "k_proj": (64, 128), "v_proj": (128, 192)}),
    "blocks, taken as in turns": ("gpt2", {"q_proj": (0, 8, 8, 24), "k_proj": (8, 16, 8, 24),
                                           "v_proj": (16, 24, 8, 24)}),
    "keys and values exchanged": ("phi3", {"q_proj": (0, 64), "k_proj": (80, 96), "v_proj": (64, 80)}),
    "queries and keys exchanged": ("mpt", {"q_proj": (64, 128), "k_proj": (0, 64), "v_proj": (128, 192)}),
    "groups too small": ("falcon-groups", {"q_proj": (0, 64), "k_proj": (64, 80), "v_proj": (80, 96)}),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_wrong_is_left_out(model, monkeypatch, caplog, wrong, dtype):
    name, places = WRONG[wrong]
    loaded = model(name)

    def in_first_layer(adapter, sites):
        by_site = projections.projections(adapter, sites)
        return {
            site: (Projection(of_site[0].module, *places[site]), *of_site[1:]) for site, of_site in by_site.items()
        }

    monkeypatch.setattr(projection_checks, "projections", in_first_layer)
    loaded.model.to(dtype)
    try:
        by_site = find_sites(loaded, ["k_proj", "v_proj"])
    finally:
        loaded.model.float()
    assert {site: [p is None for p in of_site] for site, of_site in by_site.items()} == {
        "k_proj": [True, False], "v_proj": [True, False],
    }  # fmt: skip
    (record,) = caplog.records
    assert record.getMessage() == (
        f"{name}: in 1 of 2 layers, queries, keys and values are not where such an attention has them in other models;"
        " they are left out there"
    )


def test_a_gate_that_is_taken_for_a_query_is_noticed(model, monkeypatch):
    loaded = model("qwen3_5")
    by_layer = [dict.fromkeys(ATTENTION) for _ in loaded.adapter.layers]
    right = projections.projections(loaded.adapter, ["q_proj"])["q_proj"][2]
    assert projection_checks._strange(loaded, [*by_layer[:2], {"q_proj": right}, by_layer[3]]) == []
    gate = Projection(right.module, 8, 16, 8, 16)
    both = Projection(right.module, 0, 64)
    for wrong in (gate, both):
        assert projection_checks._strange(loaded, [*by_layer[:2], {"q_proj": wrong}, by_layer[3]]) == [2]


def test_the_mlp_alone_needs_no_pass(model, monkeypatch):
    loaded = model("phi3")
    monkeypatch.setattr(loaded.model, "forward", None)
    assert find_sites(loaded, ["gate_proj"]) == projections.projections(loaded.adapter, ["gate_proj"])
