"""Which units of which layers are a site, against places written down by hand."""

import logging

import pytest
import torch

from culture_neurons.errors import ConfigError, ModelError
from culture_neurons.models.projections import ATTENTION, Projection, projections, report_sites, widths
from tests.models import site_models

SITES = ("gate_proj", *ATTENTION)


@pytest.fixture(scope="module")
def model():
    """name -> a model of `site_models`, made once."""
    made = {}
    return lambda name: made.setdefault(name, site_models.load(name))


@pytest.mark.parametrize("name", site_models.MODELS)
def test_units_are_those_written_down_by_hand(model, name):
    loaded = model(name)
    by_site = projections(loaded.adapter, SITES)
    for layer, module in enumerate(loaded.adapter.layers):
        expected = site_models.by_hand(name, module)
        for site, of_site in by_site.items():
            projection = of_site[layer]
            assert (projection is None) == (site not in expected), (site, layer)
            if projection is not None:
                assert projection.module is expected[site][0]
                assert projection.outputs().tolist() == list(expected[site][1])
                assert projection.width == len(expected[site][1])


def test_widths_differ_between_layers(model):
    by_site = projections(model("qwen3_5").adapter, SITES)
    assert {site: widths(of_site) for site, of_site in by_site.items()} == {
        "gate_proj": [24] * 4, "q_proj": [8, 8, 64, 8], "k_proj": [8, 8, 16, 8], "v_proj": [24, 24, 16, 24],
    }  # fmt: skip
    by_site = projections(model("gemma4").adapter, SITES)
    assert widths(by_site["v_proj"]) == [16, 0, 16, 0]


def test_units_of_stretches_are_taken_from_the_last_axis():
    projection = Projection(torch.nn.Linear(2, 12), 1, 3, 3, 4)
    values = torch.arange(24).reshape(2, 12)
    assert projection.units(values).tolist() == [[1, 2, 5, 6, 9, 10], [13, 14, 17, 18, 21, 22]]
    assert projection.outputs().tolist() == [1, 2, 5, 6, 9, 10]


def test_a_projection_around_a_matrix_is_that_matrix(model):
    """Moshi's are modules around one; two inside would be none."""
    loaded = model("opt")
    attention = loaded.adapter.layers[0].self_attn
    whole = attention.q_proj
    try:
        attention.q_proj = torch.nn.ModuleDict({"linear": whole})
        assert projections(loaded.adapter, ["q_proj"])["q_proj"][0] == Projection(whole, 0, 64)
        attention.q_proj = torch.nn.ModuleDict({"one": whole, "two": torch.nn.Linear(3, 3)})
        assert projections(loaded.adapter, ["q_proj"])["q_proj"][0] is None
    finally:
        attention.q_proj = whole


def test_a_module_of_several_layers_is_no_site(model):
    loaded = model("qwen3_5")
    layers = [*loaded.adapter.layers, loaded.adapter.layers[2]]
    shared = type(loaded.adapter)("shared", layers, (), 0)
    assert widths(projections(shared, ["k_proj"])["k_proj"]) == [8, 8, 0, 8, 0]


def test_the_log_says_which_layers_have_a_site(model, caplog):
    by_site = projections(model("gemma4").adapter, SITES)
    with caplog.at_level(logging.INFO):
        report_sites("m", by_site)
    assert [record.getMessage() for record in caplog.records] == [
        "m: 3 of 4 layers have k_proj", "m: 2 of 4 layers have v_proj",
    ]  # fmt: skip
    caplog.clear()
    nothing = (None,) * 4
    report_sites("m", by_site | {"k_proj": nothing, "v_proj": nothing})
    assert [record.getMessage() for record in caplog.records] == [
        "m: no layer has k_proj or v_proj; the other sites are attributed"
    ]
    with pytest.raises(ModelError, match=r"model 'm': no layer has q_proj or k_proj .* out of the config"):
        report_sites("m", {"q_proj": nothing, "k_proj": nothing})


def test_unknown_sites_are_refused(model):
    with pytest.raises(ConfigError, match=r"unknown site 'q_prj'.*did you mean 'q_proj'"):
        projections(model("phi3").adapter, ["q_prj"])
