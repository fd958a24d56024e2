import numpy as np
import pytest
import torch

from culture_neurons.models.ablation import evaluator
from culture_neurons.models.hooks import ablate
from culture_neurons.models.inference import answer, forward, on_device
from culture_neurons.models.inputs import Prompt
from culture_neurons.models.replay import Replay
from culture_neurons.types import NeuronMask, OwnMasks
from tests.models import families
from tests.models.families import LAYERS, NEURONS

PROMPT = Prompt()
HALF, ALL = np.arange(NEURONS // 2), np.arange(NEURONS)
MASKS = [
    NeuronMask("none", "act_fn", [], []),
    NeuronMask("everywhere", "act_fn", np.repeat(range(LAYERS), len(HALF)), np.tile(HALF, LAYERS)),
    NeuronMask("first", "act_fn", [0] * len(HALF), HALF),
    NeuronMask("twice", "act_fn", [1] * len(ALL), ALL, 2.0),
    NeuronMask("second", "act_fn", [1] * len(HALF), HALF),
    NeuronMask("last", "act_fn", [LAYERS - 1] * len(ALL), ALL),
    NeuronMask("last, a few", "act_fn", [LAYERS - 1] * 3, range(3)),
    NeuronMask("up", "up_proj", [1] * len(ALL), ALL, -1.0),
    NeuronMask("gate", ["gate_proj"] * len(HALF) + ["act_fn"], [0] * len(HALF) + [2], [*HALF, 1]),
    OwnMasks([NeuronMask("c0", "act_fn", [1] * len(HALF), HALF), NeuronMask("c1", "act_fn", [2], [4], 3.0)]),
]


def whole(loaded, batch, masks=MASKS):
    """Answers of whole passes with the ordinary hooks, one mask after the other; and those of no hook at all."""
    found = []
    with ablate(loaded.adapter, masks) as hooks:
        hooks.ask([sample.culture for sample in batch.samples])
        for i in range(len(masks)):
            hooks.use(i)
            found.append(answer(loaded, batch, PROMPT))
    return found, answer(loaded, batch, PROMPT)


@pytest.mark.parametrize("name", [*families.TEXT, *families.EYES])
def test_answers_under_masks_are_those_of_whole_passes_to_the_last_bit(name, caplog):
    loaded = families.load(name)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        loaded = families.in_dtype(loaded, dtype)
        batch = families.batch(loaded, images=name in families.EYES)
        expected, baseline = whole(loaded, batch)
        with evaluator(loaded, MASKS, PROMPT) as evaluate:
            found = evaluate(batch)
            assert evaluate(batch) == found
        assert found[0] == baseline
        assert found == expected
        assert np.isfinite([a.logprobs for answers in found for a in answers]).all()
        changed = [answers != baseline for answers in found]
        assert all(changed[1:6])
        assert "whole forward passes" not in caplog.text
