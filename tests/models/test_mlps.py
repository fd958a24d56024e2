"""Neurons of MLPs of any shape, against hooks and weights set by hand (`mlp_families`)."""

import itertools
import logging

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from culture_neurons.models import mlps
from culture_neurons.models.ablation import evaluator
from culture_neurons.models.adapters import adapt
from culture_neurons.models.hooks import ablate, record
from culture_neurons.models.inference import answer
from culture_neurons.models.recording import activation_sums
from culture_neurons.types import NeuronMask, OwnMasks
from tests.conftest import slow_but
from tests.models import families, mlp_families
from tests.models.test_replay import MASKS, PROMPT, check

LAYERS = mlp_families.LAYERS
#: One of each kind that code tells apart; every family is slow.
KINDS = ["GPT2", "OPT", "Bloom", "OpenAIGPT", "Apertus", "Lfm2", "NemotronH", "NemotronH ends without",
         "GraniteMoeHybrid"]  # fmt: skip
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
each_family = pytest.mark.parametrize("name", slow_but(KINDS, mlp_families.ALL))
#: What a family can't do in replays, whatever its MLP is; they leave out layers alone then.
SAVE_LESS = {"Bloom", "Falcon", "Mpt", "NanoChat"}


@each_family
def test_sums_are_those_of_hooks_made_by_hand(name):
    loaded = families.load(name)
    batch = families.batch(loaded, images=False)
    counts = batch.inputs["attention_mask"].bool().numpy()
    with mlp_families.neurons(name, loaded.model) as seen, record(loaded.adapter, negative_sum=True) as recorder:
        tokens, fired, positive_sum, negative_sum = activation_sums(loaded, batch, "all", recorder)
    assert (loaded.adapter.n_layers, loaded.adapter.n_neurons) == (LAYERS, mlp_families.ALL[name].width)
    np.testing.assert_array_equal(tokens, counts.sum(axis=1))
    for layer, g in enumerate(seen):
        g = g.view(*counts.shape, -1).numpy()
        for row, kept in enumerate(counts):
            of_row = g[row][kept]
            np.testing.assert_array_equal(fired[row, layer], (of_row > 0).sum(axis=0))
            np.testing.assert_allclose(positive_sum[row, layer], of_row.clip(0).sum(axis=0), rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(negative_sum[row, layer], of_row.clip(None, 0).sum(axis=0), rtol=1e-5, atol=1e-5)
    assert fired.any(axis=(0, 2)).all()


@each_family
def test_ablation_is_a_zero_at_the_projection_back(name):
    loaded = families.load(name)
    inputs = families.batch(loaded, images=False)
    neurons = list(range(0, 24, 2))
    for layer in range(LAYERS):
        with ablate(loaded.adapter, [NeuronMask("a", "act_fn", [layer] * len(neurons), neurons)]) as ablation:
            before = answer(loaded, inputs, PROMPT)
            ablation.use(0)
            masked = answer(loaded, inputs, PROMPT)
            ablation.check()
        _, down = mlp_families.layers_with_mlp(name, loaded.model)[layer]
        with mlp_families.cut(down, neurons):
            by_hand = answer(loaded, inputs, PROMPT)
        for one, other in zip(masked, by_hand, strict=True):
            np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-5)
        assert masked != before
        assert answer(loaded, inputs, PROMPT) == before


@pytest.mark.parametrize(
    ("name", "dtype"),
    slow_but(
        [(name, DTYPES[i % 2]) for i, name in enumerate(KINDS)],
        itertools.product(mlp_families.ALL, DTYPES),
    ),
)
def test_answers_under_masks_are_those_of_whole_passes_to_the_last_bit(name, dtype, caplog):
    """And those under an empty mask, those of the model alone."""
    caplog.set_level(logging.INFO)
    loaded = families.in_dtype(families.load(name), dtype)
    check(loaded, families.batch(loaded, images=False), MASKS, repeat=True)
    # Libraries have their own to say, the first time that they are asked for something.
    messages = [record.getMessage() for record in caplog.records if record.name == "culture_neurons"]
    assert "whole forward passes" not in " ".join(messages)
    assert name in SAVE_LESS or not messages


@each_family
def test_parts_are_those_that_the_table_names(name):
    loaded = families.load(name)
    adapter = loaded.adapter
    for i, (layer, down) in enumerate(mlp_families.layers_with_mlp(name, loaded.model)):
        assert adapter.layers[i] is layer
        assert adapter.part(i, "down") is down
        function, _, path = mlp_families.ALL[name].activation.rpartition(" ")
        assert adapter.reads_input(i) == bool(function)
        assert adapter.activations[i] is (down if function else layer.get_submodule(path))
        assert adapter.layouts[i].plain == (name in mlp_families.PLAIN)
    numbers = [list(adapter.decoder_layers).index(layer) for layer in adapter.layers]
    assert numbers == sorted(numbers)
    assert len(adapter.decoder_layers) == len(loaded.model.get_submodule(mlp_families.ALL[name].layers))


def test_masks_act_on_each_prompt_where_samples_lie_flat():
    """OPT's activation puts out [batch * token, neuron]; a mask for one culture leaves the other's prompts alone."""
    loaded = families.load("OPT")
    batch = families.batch(loaded, images=False)  # cultures c0, c1, c0
    mask = NeuronMask("c1", "act_fn", [1] * 24, range(24))
    with evaluator(loaded, [OwnMasks([mask]), mask], PROMPT) as evaluate:
        own, everywhere = evaluate(batch)
    plain = answer(loaded, batch, PROMPT)
    assert [own[i] == plain[i] for i in range(3)] == [True, False, True]
    assert own[1] == everywhere[1]
    assert everywhere[0] != plain[0]


def test_widths_are_those_of_each_kind_of_projection():
    assert mlps.sizes(nn.Linear(3, 5)) == (3, 5)
    assert mlps.sizes(mlps.Conv1D(5, 3)) == (3, 5)


@pytest.mark.parametrize(
    ("module", "is_one"),
    [(nn.Linear(2, 2), True), (mlps.Conv1D(2, 2), True), (nn.Embedding(2, 2), False), (nn.LayerNorm(2), False),
     (nn.Conv1d(2, 2, 1), False), (nn.ReLU(), False)],
    ids=lambda x: type(x).__name__,
)  # fmt: skip
def test_projections_multiply_by_a_matrix(module, is_one):
    assert mlps.is_projection(module) is is_one


@pytest.mark.parametrize(
    ("module", "is_one"),
    [(nn.SiLU(), True), (nn.ReLU(inplace=True), True), (nn.LayerNorm(16), False), (nn.Dropout(0.5), False),
     (nn.Identity(), False), (nn.Softmax(-1), False), (nn.GLU(), False), (nn.Bilinear(1, 1, 1), False)],
    ids=lambda x: type(x).__name__,
)  # fmt: skip
def test_an_activation_works_on_each_number_apart(module, is_one):
    assert mlps.is_elementwise(module) is is_one
    assert module.training  # left as it was


def test_parts_of_lora_are_no_parts_of_the_mlp():
    loaded = families.load("Phi")
    names = ["fc1", "fc2"]
    model = get_peft_model(loaded.model, LoraConfig(r=2, target_modules=names, init_lora_weights=False))
    layer = model.base_model.model.model.layers[0]
    candidate = next(x for x in mlps.candidates(layer) if x.name == "mlp")
    assert {x for layout in candidate.layouts for x in (layout.gate, layout.down)} == {"fc1", "fc2"}
    assert adapt(model).mlps[0] is layer.mlp
