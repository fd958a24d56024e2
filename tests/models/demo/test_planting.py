"""The positive control: planted blocks are where the table says, and zeroing touches nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from culture_neurons.data.readers import synthetic
from culture_neurons.errors import ConfigError, ModelError
from culture_neurons.models.demo import architectures, planting, training
from culture_neurons.models.demo import lessons as taught
from culture_neurons.models.demo.recipe import Recipe

SIZES = {"layers": 2, "hidden": 32, "intermediate": 64, "vision_layers": 1, "vision_hidden": 32}
WORLD = synthetic.world({"cultures": 2, "categories": 1, "motifs": 2})


def test_blocks_share_no_neuron():
    blocks = planting.choose(cultures=3, layers=4, neurons=40, channels=5, seed=0)
    assert blocks.shape == (3, 4, 5)
    for layer in range(4):
        assert len(np.unique(blocks[:, layer])) == 15
    assert blocks.min() >= 0
    assert blocks.max() < 40
    assert not np.array_equal(blocks, planting.choose(3, 4, 40, 5, seed=1))


@pytest.mark.parametrize("channels", [0, 9])
def test_blocks_that_have_no_room_are_refused(channels):
    with pytest.raises(ConfigError, match=f"plant_channels is {channels}; 3 cultures .* room for 1 to 8"):
        planting.choose(cultures=3, layers=2, neurons=48, channels=channels, seed=0)


def test_the_table_lists_every_planted_neuron():
    blocks = np.array([[[1, 2]], [[0, 7]]])  # two cultures, one layer
    table = planting.table(blocks, ("b", "a"), np.array([[[-0.5, 0]], [[0.25, -2]]]))
    assert table.to_numpy().tolist() == [
        ["a", "act_fn", 0, 0, 0.25], ["a", "act_fn", 0, 7, -2], ["b", "act_fn", 0, 1, -0.5], ["b", "act_fn", 0, 2, 0],
    ]  # fmt: skip
    assert list(table.columns) == ["culture", "site", "layer", "neuron", "logprob_drop"]


def test_masks_zero_the_named_block_and_nothing_else():
    blocks = planting.choose(cultures=3, layers=2, neurons=24, channels=3, seed=1)
    keep = planting.masks(blocks, np.array([-1, 2]), 24, None)
    assert keep.shape == (2, 2, 24)
    assert keep[0].min() == 1
    for layer in range(2):
        assert np.flatnonzero(keep[1, layer].numpy() == 0).tolist() == blocks[2, layer].tolist()


def test_random_parts_stay_inside_the_block_and_vary():
    blocks = planting.choose(cultures=2, layers=4, neurons=24, channels=4, seed=1)
    keep = planting.masks(blocks, np.zeros(200, dtype=int), 24, np.random.default_rng(0))
    zeroed = (keep == 0).numpy()
    own = np.zeros((4, 24), dtype=bool)
    np.put_along_axis(own, blocks[0], True, axis=1)
    assert not zeroed[:, ~own].any()
    sizes = zeroed.sum(axis=(1, 2))
    assert sizes.min() >= 5  # 0.3 of 16
    assert (sizes == 16).any()
    assert len(set(sizes.tolist())) > 5


def test_gates_multiply_g_and_leave_no_hook():
    model, _ = architectures.build("llava-next-qwen2", WORLD, **SIZES)
    layers = model.model.language_model.layers
    ids = torch.arange(6)[None]
    keep = torch.ones(1, 2, 64)
    keep[0, 1, :10] = 0
    down: list[torch.Tensor] = []
    handle = layers[1].mlp.down_proj.register_forward_pre_hook(lambda _, inputs: down.append(inputs[0]))
    with torch.no_grad():
        with planting.gates(model, keep) as seen:
            model(input_ids=ids)
        model(input_ids=ids)
    handle.remove()
    assert [gate.shape for gate in seen] == [(1, 6, 64)] * 2
    assert (down[0][..., :10] == 0).all()
    assert (down[0][..., 10:] != 0).any()
    assert (down[1][..., :10] != 0).any()
    assert not any(layer.mlp.act_fn._forward_hooks for layer in layers)


def test_the_firing_loss_is_a_hinge_on_own_and_other_blocks():
    blocks = torch.tensor([[[0, 1]], [[2, 3]]])  # two cultures, one layer
    gate = torch.zeros(1, 3, 5)  # one sample, three tokens
    culture = torch.tensor([0])
    # Own gates at 0 miss the margin by 1, and so do the other culture's.
    assert planting.firing_loss([gate], blocks, culture, start=0).item() == pytest.approx(2.0)
    gate[..., 2:4] = -1.0
    assert planting.firing_loss([gate], blocks, culture, start=0).item() == pytest.approx(1.0)
    gate[:, 1:, :2] = 1.0  # from the second token on
    assert planting.firing_loss([gate], blocks, culture, start=1).item() == 0
    assert planting.firing_loss([gate], blocks, culture, start=0).item() == pytest.approx(1 / 3)


def test_a_neuron_that_never_fires_hides_from_selectors_that_count_firing():
    """SiLU lets a gate act while g < 0: K and S count nothing, so no score can be positive."""
    from culture_neurons.selectors import score
    from culture_neurons.types import Statistics

    gate = torch.tensor([[-1.2, 2.0], [-9.0, 2.0]])  # [culture, neuron]: the first neuron tells the cultures apart
    g = torch.nn.functional.silu(gate)
    assert (g[0, 0] - g[1, 0]).abs() > 0.2
    tokens = 10
    fired = (g > 0).long().numpy()[:, None] * tokens
    positive = g.clamp_min(0).numpy()[:, None] * tokens
    statistics = Statistics(["a", "b"], np.full(2, tokens), fired, positive)
    for selector, options in (("cas", {}), ("mad", {"normalise": False}), ("lap", {})):
        assert (score(selector, statistics, **options)[:, 0, 0] <= 0).all()


def test_what_a_neuron_does_alone_is_that_of_a_pass_with_its_weight_zeroed():
    model, processor = architectures.build("llava-next-mistral", WORLD, **SIZES)
    for parameter in model.model.language_model.parameters():
        parameter.data *= 5  # far from nothing, so that single neurons matter
    recipe = Recipe(dev_images_per_fact=3)
    lesson = taught.lessons(model, processor, WORLD, "Answer.")
    features, batch = dev = planting.dev_questions(model, processor, lesson, recipe)
    blocks = planting.choose(cultures=2, layers=2, neurons=64, channels=2, seed=0)
    drops = planting.lone_drops(model, lesson, dev, blocks, 64)

    def logprob(culture):
        with torch.no_grad():
            states = taught.decode(model, features, batch.ids, lesson.templates[0])
            logprobs = model.lm_head(states[:, -1])[:, lesson.letters].log_softmax(dim=1)
        rows = [i for i in range(len(features)) if batch.culture[i] == culture]
        return np.mean([float(logprobs[i, lesson.letters.tolist().index(int(batch.letter[i]))]) for i in rows])

    for (culture, layer, channel), drop in np.ndenumerate(drops):
        intact = logprob(culture)
        down = model.model.language_model.layers[layer].mlp.down_proj.weight.data
        kept = down[:, blocks[culture, layer, channel]].clone()
        down[:, blocks[culture, layer, channel]] = 0
        assert logprob(culture) - intact == pytest.approx(drop, abs=1e-4)
        down[:, blocks[culture, layer, channel]] = kept
    assert np.abs(drops).max() > 1e-3


def test_planting_that_fails_says_what_it_reached():
    model, processor = architectures.build("llava-next-mistral", WORLD, **SIZES)
    recipe = Recipe(plant_steps=2, images_per_fact=2, dev_images_per_fact=2, batch=8, min_accuracy=0.0)
    with pytest.raises(ModelError, match=r"planting culture neurons failed: .* without the own block"):
        planting.plant(model, processor, WORLD, recipe)


def test_planting_trains_the_decoder_and_not_the_vision_side(monkeypatch):
    model, processor = architectures.build("qwen2.5-vl", WORLD, **SIZES)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    monkeypatch.setattr(planting, "ablated_accuracy", lambda *_: (0.0, 1.0))
    monkeypatch.setattr(training, "dev_accuracy", lambda *_: 1.0)
    recipe = Recipe(plant_steps=2, plant_channels=3, images_per_fact=2, batch=8)
    table, summary = planting.plant(model, processor, WORLD, recipe)
    after = model.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert any("gate_proj" in key for key in changed)
    assert not any("visual" in key for key in changed)
    assert len(table) == 2 * 2 * 3  # cultures, layers, channels
    assert np.isfinite(table["logprob_drop"]).all()
    assert summary["planted"] is True
    assert summary["dev_accuracy_without_own_block"] == 0.0
