from functools import partial

import numpy as np
import pytest
import torch

from culture_neurons.errors import ConfigError
from culture_neurons.models.batching import batches, run_batches
from culture_neurons.models.hooks import record
from culture_neurons.models.inputs import Prompt, prepare
from culture_neurons.models.recording import NEED_CONTENT, activation_sums, token_weights
from culture_neurons.types import TOKEN_RULES

PROMPT = Prompt(seed=5)


def recorded(loaded, questions, rule, batch_size):
    result = {}
    with record(loaded.adapter, negative_sum=True) as recorder:
        work, content = partial(activation_sums, loaded, rule=rule, recorder=recorder), rule in NEED_CONTENT
        todo = batches(loaded, questions.samples, PROMPT, batch_size)
        for batch, sums in run_batches(loaded, todo, questions.opener, PROMPT, work, content):
            result |= {s.sample_id: row for s, *row in zip(batch.samples, *sums, strict=True)}
    return result


@pytest.mark.parametrize("rule", TOKEN_RULES)
def test_sums_do_not_depend_on_batch_size(loaded, questions, rule):
    alone, together = recorded(loaded, questions, rule, 1), recorded(loaded, questions, rule, 24)
    assert len(alone) == len(questions.samples)
    for sample_id, (tokens, fired, positive_sum, negative_sum) in alone.items():
        other = together[sample_id]
        assert tokens == other[0]
        np.testing.assert_array_equal(fired, other[1])
        np.testing.assert_allclose(positive_sum, other[2], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(negative_sum, other[3], rtol=1e-4, atol=1e-5)
        assert negative_sum.max() <= 0


def test_token_rules_part_the_prompt(loaded, questions):
    batch = prepare(loaded, questions.samples[:6], questions.opener, PROMPT, content=True)
    rules = {rule: token_weights(loaded, batch, rule) for rule in TOKEN_RULES}
    assert torch.equal(rules["all"], batch.inputs["attention_mask"].bool())
    assert torch.equal(rules["content"], rules["image"] | rules["text"])
    assert not (rules["image"] & rules["text"]).any()
    assert (rules["content"].sum(dim=1) < rules["all"].sum(dim=1)).all()
    assert rules["last"].sum(dim=1).eq(1).all()
    assert rules["last"][:, -1].all()
    assert rules["image"].sum(dim=1).eq(4 if loaded.name == "qwen2.5-vl" else 10).all()


def test_sums_add_over_disjoint_token_rules(one, questions):
    image, text, both = (recorded(one, questions, rule, 8) for rule in ("image", "text", "content"))
    for sample_id in both:
        np.testing.assert_array_equal(image[sample_id][1] + text[sample_id][1], both[sample_id][1])
        np.testing.assert_allclose(image[sample_id][2] + text[sample_id][2], both[sample_id][2], rtol=1e-4, atol=1e-5)


def test_unknown_rule_and_sample_without_such_tokens_are_refused(one, questions):
    from dataclasses import replace

    batch = prepare(one, [replace(questions.samples[0], image=None)], questions.opener, PROMPT)
    with pytest.raises(ConfigError, match="did you mean 'content'"):
        token_weights(one, batch, "contents")
    with pytest.raises(ConfigError, match="prepared without"):
        token_weights(one, batch, "text")
    with pytest.raises(ConfigError, match=questions.samples[0].sample_id):
        token_weights(one, batch, "image")
