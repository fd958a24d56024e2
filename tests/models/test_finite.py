"""Models whose numbers stop being finite: which layer and which sample, in each kind of pass."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from culture_neurons.errors import ModelError
from culture_neurons.models import inference
from culture_neurons.models.ablation import evaluator
from culture_neurons.models.finite import first_nonfinite_layer
from culture_neurons.models.forward import forward
from culture_neurons.models.hooks import record
from culture_neurons.models.inference import Reading, answer, answers, on_device, reader_of
from culture_neurons.models.inputs import Prompt, prepare
from culture_neurons.models.loading import load
from culture_neurons.models.recording import activation_sums
from culture_neurons.types import NeuronMask
from tests.conftest import slow
from tests.models import families

PROMPT = Prompt()
MASKS = [NeuronMask("Ona", "act_fn", [0, 1], [3, 4]), NeuronMask("Ulm", "act_fn", [], [])]


def infer(loaded, batch):
    answer(loaded, batch, PROMPT)


def generate(loaded, batch):
    answer(loaded, batch, Prompt(answer="generate", max_new_tokens=2))


def recording(loaded, batch):
    with record(loaded.adapter) as recorder:
        activation_sums(loaded, batch, "all", recorder)


def ablation(loaded, batch):
    with evaluator(loaded, MASKS, PROMPT) as evaluate:
        evaluate(batch)


@pytest.fixture(params=["float32", "float16"])
def broken(request, folders):
    """A function that gives a model whose layer `layer` multiplies by `value`, and one batch of three samples."""

    def make(layer: int, value: float, part: str = "down_proj"):
        loaded = load({"name": "m", "path": folders["llava-next-mistral"], "dtype": request.param})
        loaded.model.get_submodule(f"model.language_model.layers.{layer}.mlp.{part}").weight.data.fill_(value)
        return loaded

    return make


@pytest.fixture
def batch(questions):
    return lambda loaded: prepare(loaded, questions.samples[:3], questions.opener, PROMPT)


@pytest.mark.parametrize("work", [infer, generate, recording, ablation])
@pytest.mark.parametrize("value", [float("nan"), slow(float("inf"))])
def test_sample_and_first_layer_are_named(broken, batch, work, value):
    loaded = broken(0, value)
    prepared = batch(loaded)
    inference.forward(loaded, inference.on_device(loaded, prepared))  # transformers attaches hooks of its own
    before = {name: len(module._forward_hooks) for name, module in loaded.model.named_modules()}
    with pytest.raises(ModelError) as error:
        work(loaded, prepared)
    first, second = str(error.value).splitlines()
    quantity = "activations" if work is recording else "log-probabilities"
    assert first.startswith(f"model 'm': the {quantity} of sample {prepared.samples[0].sample_id!r} are not finite")
    assert (" under the mask of " in first) == (work is ablation)
    assert second.startswith("decoder layer 0 is the first whose output is not finite; ")
    assert {name: len(module._forward_hooks) for name, module in loaded.model.named_modules()} == before


@pytest.mark.parametrize("work", [infer, ablation])
def test_later_layer(broken, batch, work):
    loaded = broken(1, float("nan"))
    with pytest.raises(ModelError, match="\ndecoder layer 1 is the first"):
        work(loaded, batch(loaded))


def test_activations_of_a_layer_whose_gate_is_broken(broken, batch):
    loaded = broken(1, float("nan"), "gate_proj")
    with pytest.raises(ModelError, match=r"activations of sample .* are not finite\ndecoder layer 1 is the first"):
        recording(loaded, batch(loaded))


def test_overflow_of_half_precision_says_which_dtype_to_try(broken, batch):
    loaded = broken(1, 6e4)
    loaded.model.get_submodule("model.language_model.layers.1.mlp.gate_proj").weight.data.mul_(1e4)
    prepared = batch(loaded)
    if loaded.dtype == "float32":
        infer(loaded, prepared)
        recording(loaded, prepared)
        return
    with pytest.raises(ModelError, match=r"layer 1 is the first whose .*; try dtype bfloat16 or float32"):
        infer(loaded, prepared)


def test_what_comes_before_the_decoder_and_after_it(folders, batch):
    loaded = load({"name": "m", "path": folders["llava-next-mistral"]})
    norm = loaded.model.model.language_model.norm.weight.data
    norm.fill_(float("nan"))
    with pytest.raises(ModelError, match="\nthe outputs of all 2 decoder layers are finite"):
        infer(loaded, batch(loaded))
    norm.fill_(1)
    loaded.model.get_input_embeddings().weight.data.fill_(float("nan"))
    with pytest.raises(ModelError, match="\nbefore its first decoder layer"):
        infer(loaded, batch(loaded))


def test_only_the_sample_that_is_not_finite_is_named(folders, questions, monkeypatch):
    loaded = load({"name": "m", "path": folders["llava-next-mistral"]})
    prepared = prepare(loaded, questions.samples[:3], questions.opener, PROMPT)
    layer = loaded.adapter.layers[1]

    def spoil(module, args, output):
        output = output.clone()
        output[1, -1, 0] = torch.inf
        return output

    handle = layer.register_forward_hook(spoil)
    with pytest.raises(ModelError) as error:
        infer(loaded, prepared)
    handle.remove()
    assert f"sample {prepared.samples[1].sample_id!r}" in str(error.value)
    assert "\ndecoder layer 1 is the first" in str(error.value)


@pytest.mark.parametrize(
    ("row", "good"),
    [
        ([-1.0, float("-inf"), -2.0, -3.0], True),  # one letter of probability 0
        ([float("-inf")] * 4, False),
        ([-1.0, float("nan"), -2.0, -3.0], False),
        ([-1.0, float("inf"), -2.0, -3.0], False),
    ],
)
def test_which_log_probabilities_are_errors(folders, questions, row, good):
    loaded = load({"name": "m", "path": folders["llava-next-mistral"]})
    prepared = prepare(loaded, questions.samples[:1], questions.opener, PROMPT)
    n = len(prepared.orders[0])
    reading = Reading(torch.tensor([row[:n]]), torch.tensor([0]))
    work = partial(answers, loaded, prepared, reader_of(loaded, prepared), reading)
    if good:
        assert sorted(work()[0].logprobs) == sorted(row[:n])
        return
    with pytest.raises(ModelError, match="all 2 decoder layers are finite"):
        work()


def test_all_decoder_layers_are_counted_where_some_have_no_mlp():
    loaded = families.load("NemotronH")  # its layers with an MLP are the decoder's second, fourth and sixth
    batch = families.batch(loaded, images=False)
    with torch.no_grad():
        loaded.adapter.decoder_layers[2].mixer.o_proj.weight.fill_(torch.nan)
    said = first_nonfinite_layer(loaded, batch, 0, lambda: forward(loaded, on_device(loaded, batch)))
    assert said == "decoder layer 2 is the first whose output is not finite"


def test_several_streams_of_a_layer_are_looked_at_sample_by_sample():
    """Gemma 3n's layers put out [stream, batch, token, hidden]."""
    batch = SimpleNamespace(inputs={"attention_mask": torch.tensor([[0, 1, 1], [1, 1, 1]])})
    states = torch.zeros(4, 2, 3, 5)
    states[3, 0, 0, 0] = states[2, 1, 2, 0] = torch.nan  # in padding, and in the second sample
    layer = nn.Identity()
    loaded = SimpleNamespace(adapter=SimpleNamespace(decoder_layers=[layer]))
    assert "all 1 decoder layers are finite" in first_nonfinite_layer(loaded, batch, 0, lambda: layer(states))
    assert "before its first decoder layer" in first_nonfinite_layer(loaded, batch, 1, lambda: layer(states))
