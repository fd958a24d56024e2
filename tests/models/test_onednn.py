from __future__ import annotations

import copy
import platform

import pytest
import torch
from torch import nn

from culture_neurons.models import onednn
from culture_neurons.models.loading import load
from culture_neurons.models.onednn import LEAST_WEIGHTS, OneDnnLinear, use_onednn


@pytest.fixture(autouse=True)
def asked_anew():
    onednn.is_available.cache_clear()
    yield
    onednn.is_available.cache_clear()


def layers(bias=True, inputs=300, outputs=320):
    torch.manual_seed(0)
    plain = nn.Linear(inputs, outputs, bias=bias)
    swapped = copy.deepcopy(plain)
    return plain, swapped, use_onednn(swapped)


def test_it_is_there_on_the_processors_that_the_docs_name():
    assert onednn.is_available() == (platform.machine().lower() in ("x86_64", "amd64"))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(300,), (1, 300), (7, 300), (2, 3, 5, 300), (0, 300), (64, 2, 300)])
def test_products_are_those_of_float64(bias, shape):
    plain, swapped, number = layers(bias)
    assert (type(swapped), number) == (OneDnnLinear, 1)
    x = torch.randn(*shape)
    with torch.inference_mode():
        exact = copy.deepcopy(plain).double()(x.double())
        found = swapped(x)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("turn", [lambda x: x.T.contiguous().T, lambda x: x[::2], lambda x: x[:1].expand(5, 300)])
def test_inputs_may_lie_anyhow_in_memory(turn):
    plain, swapped, _ = layers()
    x = turn(torch.randn(8, 300))
    with torch.no_grad():
        torch.testing.assert_close(swapped(x), plain(x.clone()), rtol=1e-5, atol=1e-5)


def test_gradients_are_those_of_the_plain_layer():
    plain, swapped, _ = layers()
    x = torch.randn(4, 300)
    found = []
    for layer in (plain, swapped):
        given = x.clone().requires_grad_(True)
        layer(given).square().sum().backward()
        found.append((given.grad, layer.weight.grad, layer.bias.grad))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


def test_a_bias_that_is_trained_alone_has_its_gradient():
    _, swapped, _ = layers()
    swapped.weight.requires_grad_(False)
    swapped(torch.randn(4, 300)).sum().backward()
    assert torch.equal(swapped.bias.grad, torch.full((320,), 4.0))


def test_other_layers_are_left_alone():
    small = nn.Linear(LEAST_WEIGHTS // 64 - 1, 64)
    half = nn.Linear(300, 320).bfloat16()
    model = nn.Sequential(small, half, nn.Bilinear(300, 320, 2))
    assert use_onednn(model) == 0
    assert [type(layer) for layer in model[:2]] == [nn.Linear, nn.Linear]
    assert use_onednn(nn.Linear(LEAST_WEIGHTS // 64, 64)) == 1


def test_a_layer_that_is_converted_later_computes_in_its_dtype():
    _, swapped, _ = layers()
    with torch.no_grad():
        assert swapped.bfloat16()(torch.randn(2, 300).bfloat16()).dtype == torch.bfloat16
        assert swapped.double()(torch.randn(2, 300).double()).dtype == torch.float64


@pytest.mark.parametrize("break_it", [
    lambda patch: patch.setattr(platform, "machine", lambda: "aarch64"),
    lambda patch: patch.setattr(torch.backends.mkldnn, "is_available", lambda: False),
    lambda patch: patch.setattr(onednn, "_product", lambda x, w, b: 1.01 * nn.functional.linear(x, w, b)),
    lambda patch: patch.setattr(onednn, "_product", lambda *_: torch.ops.mkldnn.no_such_product()),
])  # fmt: skip
def test_without_it_nothing_changes(monkeypatch, break_it):
    break_it(monkeypatch)
    _, swapped, number = layers()
    assert (type(swapped), number) == (nn.Linear, 0)


def test_a_loaded_model_uses_it_and_is_saved_as_it_was(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(onednn, "LEAST_WEIGHTS", 1)
    settings = {"name": "m", "path": next(iter(folders.values()))}
    swapped = load(settings).model
    linear = [module for module in swapped.modules() if isinstance(module, nn.Linear)]
    assert linear
    assert {type(module) for module in linear} == {OneDnnLinear}
    swapped.save_pretrained(tmp_path)
    monkeypatch.setattr(onednn, "is_available", lambda: False)
    plain = load(settings).model
    assert not any(isinstance(module, OneDnnLinear) for module in plain.modules())
    again = type(plain).from_pretrained(tmp_path)
    for (name, weight), (other, saved) in zip(plain.state_dict().items(), again.state_dict().items(), strict=True):
        assert name == other
        assert torch.equal(weight, saved)
    ids = torch.arange(3, 12)[None]
    with torch.inference_mode():
        torch.testing.assert_close(swapped(input_ids=ids).logits, plain(input_ids=ids).logits, rtol=1e-4, atol=1e-4)
