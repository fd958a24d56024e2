import numpy as np
import pytest

from culture_neurons.models.ablation import evaluate, image_features_kept
from culture_neurons.models.hooks import ablate
from culture_neurons.models.inference import Prompt, answer, batches, prepare
from culture_neurons.types import NeuronMask

PROMPT = Prompt(seed=5)
MASKS = [
    NeuronMask("a", "act_fn", [0] * 24 + [1] * 10, [*range(24), *range(10)]),
    NeuronMask("b", "act_fn", [], []),
    NeuronMask("c", "act_fn", [1] * 48, np.arange(48)),
    NeuronMask("d", "act_fn", [], []),
]


def test_outcomes_equal_a_loop_of_one_mask_and_one_sample(loaded, questions):
    got = {}
    processed = batches(loaded, questions.samples, questions.opener, PROMPT, 8)
    for batch, answers in evaluate(loaded, processed, MASKS, PROMPT):
        assert len(answers) == len(MASKS)
        for index, mask in enumerate(MASKS):
            for sample, a in zip(batch.samples, answers[index], strict=True):
                got[mask.culture, sample.sample_id] = a
    assert len(got) == len(MASKS) * len(questions.samples)
    changed = 0
    for sample in questions.samples[:5]:
        batch = prepare(loaded, [sample], questions.opener, PROMPT)
        untouched = answer(loaded, batch, PROMPT)[0]
        for mask in MASKS:
            with ablate(loaded.model, [mask]) as ablation:
                ablation.use(0)
                expected = answer(loaded, batch, PROMPT)[0]
            a = got[mask.culture, sample.sample_id]
            assert a.prediction == expected.prediction
            np.testing.assert_allclose(a.logprobs, expected.logprobs, atol=1e-4)
            if len(mask) == 0:
                np.testing.assert_allclose(a.logprobs, untouched.logprobs, atol=1e-4)
            else:
                changed += not np.allclose(a.logprobs, untouched.logprobs, atol=1e-3)
    assert changed


def test_images_pass_through_the_vision_tower_once_per_batch_and_the_model_is_left_as_it_was(loaded, questions):
    inner = loaded.model.model
    tower = inner.visual if hasattr(inner, "visual") else inner.vision_tower
    runs = []
    handle = tower.register_forward_hook(lambda *_: runs.append(1))
    try:
        batches_ = batches(loaded, questions.samples, questions.opener, PROMPT, 8)
        assert len(list(evaluate(loaded, batches_, MASKS, PROMPT))) == 3
        assert len(runs) == 3
        with pytest.raises(ZeroDivisionError), image_features_kept(loaded.model):
            raise ZeroDivisionError
        assert "get_image_features" not in vars(inner)
        batch = prepare(loaded, questions.samples[:2], questions.opener, PROMPT)
        answer(loaded, batch, PROMPT)
        answer(loaded, batch, PROMPT)
        assert len(runs) == 5
    finally:
        handle.remove()


def test_each_input_is_processed_once(one, questions):
    processed = []

    def counted():
        for batch in batches(one, questions.samples, questions.opener, PROMPT, 8):
            processed.extend(s.sample_id for s in batch.samples)
            yield batch

    assert len(list(evaluate(one, counted(), MASKS, PROMPT))) == 3
    assert sorted(processed) == sorted(s.sample_id for s in questions.samples)
