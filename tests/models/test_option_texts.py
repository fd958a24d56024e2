"""Answers by the texts of options, against a plain loop over options in float64."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from culture_neurons.models import option_texts
from culture_neurons.models.batching import batches, run_batches
from culture_neurons.models.inference import answer
from culture_neurons.models.inputs import Prompt
from tests.models.conftest import TEXT, language_model

PMI = Prompt(answer="options")


def scores_one_by_one(loaded, sample, text, options, score, neutral, images=None):
    """The definition, one option at a time, each in a whole pass of its own."""
    tokenizer = loaded.tokenizer
    model = loaded.model.double()

    def log_probability(context, option, given):
        space = "" if not context or context[-1].isspace() else " "
        whole = tokenizer(context + space + option, add_special_tokens=False)["input_ids"]
        if context:
            first = tokenizer(context, add_special_tokens=False)["input_ids"]
            tokens = whole[len(first) :]
        else:
            first = [tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id]
            tokens = whole
        if given:
            inputs = dict(loaded.processor(text=[context], images=given, return_tensors="pt"))
            inputs = {k: v.double() if v.is_floating_point() else v for k, v in inputs.items()}
            prefix = inputs["input_ids"][0].tolist()
        else:
            inputs, prefix = {}, first
        ids = torch.tensor([prefix + tokens])
        inputs["input_ids"], inputs["attention_mask"] = ids, torch.ones_like(ids)
        if "mm_token_type_ids" in inputs:
            old = inputs["mm_token_type_ids"]
            inputs["mm_token_type_ids"] = torch.cat([old, torch.zeros(1, len(tokens), dtype=old.dtype)], dim=1)
        with torch.no_grad():
            logp = model(**inputs, use_cache=False).logits[0].log_softmax(dim=-1)
        return sum(float(logp[len(prefix) - 1 + j, token]) for j, token in enumerate(tokens))

    result = []
    for option in options:
        value = log_probability(text, option, images)
        if score == "mean":
            value /= len(option)
        if score == "pmi":
            value -= log_probability(neutral, option, None)
        result.append(value)
    return np.array(result)


def expected_logprobs(loaded, sample, text, score, neutral, images=None):
    scores = scores_one_by_one(loaded, sample, text, sample.options, score, neutral, images)
    return scores - np.logaddexp.reduce(scores)


@pytest.fixture
def texts(questions):
    """Questions as contexts, of unequal lengths, with options of one to several tokens, and a neutral context."""
    return [
        replace(
            s, image=None, image_id="", question=s.question.rstrip("?") + " indeed" * (i % 3), neutral="Which " * (i % 2 + 1) + "one is",
            options=tuple(f"{option}{' and more' * ((i + k) % 3)}" for k, option in enumerate(s.options[: 3 + i % 2])),
            label=i % 3,
        )
        for i, s in enumerate(questions.samples[:8])
    ]  # fmt: skip


@pytest.fixture(params=list(TEXT))
def decoder(request, one):
    model = language_model(request.param, one.tokenizer, torch.float64)
    one.tokenizer.chat_template = None
    return replace(model, template={"plain": True})


def answered(loaded, samples, opener, prompt, batch_size):
    todo = batches(loaded, samples, prompt, batch_size)
    ask = partial(answer, loaded, prompt=prompt)
    return {
        s.sample_id: a
        for batch, found in run_batches(loaded, todo, opener, prompt, ask)
        for s, a in zip(batch.samples, found, strict=True)
    }


@pytest.mark.parametrize("score", option_texts.SCORES)
@pytest.mark.parametrize("name", list(TEXT))
def test_scores_are_those_of_a_loop_over_options(one, texts, name, score):
    loaded = language_model(name, one.tokenizer, torch.float64)
    prompt = Prompt(answer="options", score=score)
    got = answered(loaded, texts, None, prompt, batch_size=5)
    for sample in texts:
        text, neutral = loaded.render(sample.question, False), loaded.render(sample.neutral, False)
        expected = expected_logprobs(loaded, sample, text, score, neutral)
        np.testing.assert_allclose(got[sample.sample_id].logprobs, expected, atol=2e-6)
        assert got[sample.sample_id].prediction == int(expected.argmax())
        assert got[sample.sample_id].well_formed
