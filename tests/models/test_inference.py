from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from culture_neurons.data import prompts
from culture_neurons.errors import ConfigError, ModelError
from culture_neurons.models import inference
from culture_neurons.models.batching import batches, run_batches
from culture_neurons.models.forward import forward
from culture_neurons.models.inference import answer, on_device
from culture_neurons.models.inputs import Prompt, prepare
from culture_neurons.models.letters import letter_tokens

PROMPT = Prompt(seed=5)


def answers(loaded, questions, batch_size, samples=None, prompt=PROMPT):
    result = {}
    ask = partial(answer, loaded, prompt=prompt)
    todo = batches(loaded, samples or questions.samples, prompt, batch_size)
    for batch, answered in run_batches(loaded, todo, questions.opener, prompt, ask):
        result |= {sample.sample_id: a for sample, a in zip(batch.samples, answered, strict=True)}
    return result


def test_answers_equal_full_logits_of_one_sample_at_a_time(loaded, questions):
    got = answers(loaded, questions, batch_size=7)
    letters = letter_tokens(loaded, 4)
    assert set(got) == {s.sample_id for s in questions.samples}
    for sample in questions.samples[:6]:
        batch = prepare(loaded, [sample], questions.opener, PROMPT)
        with torch.no_grad():
            logits = loaded.model(**on_device(loaded, batch), use_cache=False).logits[0, -1].double()
        p = logits.softmax(dim=-1)
        order = prompts.option_order(sample.sample_id, 4, 5)
        expected = np.empty(4)
        for position, option in enumerate(order):
            expected[option] = float(p[letters[position]].sum().log())
        a = got[sample.sample_id]
        np.testing.assert_allclose(a.logprobs, expected, atol=1e-4)
        assert a.prediction == int(expected.argmax())
        assert a.well_formed == (any(int(logits.argmax()) in ids for ids in letters))


def test_answers_do_not_depend_on_batch_size_or_order(loaded, questions):
    one_by_one, together = answers(loaded, questions, 1), answers(loaded, questions, 24)
    backwards = answers(loaded, questions, 5, samples=questions.samples[::-1])
    for sample_id, a in one_by_one.items():
        for b in (together[sample_id], backwards[sample_id]):
            np.testing.assert_allclose(a.logprobs, b.logprobs, atol=1e-4)
            assert (a.prediction, a.well_formed) == (b.prediction, b.well_formed)


def test_content_tokens_are_the_words_of_question_and_options(loaded, questions):
    batch = prepare(loaded, questions.samples[:8], questions.opener, PROMPT, content=True)
    tokenizer = loaded.tokenizer
    for b, (sample, order) in enumerate(zip(batch.samples, batch.orders, strict=True)):
        marked = tokenizer.convert_ids_to_tokens(batch.inputs["input_ids"][b][batch.content[b]].tolist())
        assert "".join(marked).replace("\n", "") == prompts.content(sample, order).replace("\n", "").replace(" ", "")


def test_template_that_this_does_not_know_is_refused_when_the_content_is_asked_for(one, questions, monkeypatch):
    """Offsets that are not those of the text which the tokenizer was given."""
    real = type(one.processor).__call__

    def shifted(self, **arguments):
        result = real(self, **arguments)
        if "offset_mapping" in result:
            last = int((result["input_ids"][0] == one.image_token_id).nonzero()[-1, 0])
            result["offset_mapping"][:, last + 1 :] += 6
        return result

    monkeypatch.setattr(type(one.processor), "__call__", shifted)
    with pytest.raises(ModelError, match="use token rule all, image or last"):
        prepare(one, questions.samples[:1], questions.opener, PROMPT, content=True)
    assert prepare(one, questions.samples[:1], questions.opener, PROMPT).content is None


def test_images_of_many_shapes_in_one_batch_are_answered_as_alone(loaded, questions):
    shapes = [(56, 56), (200, 40), (30, 180), (333, 222), (57, 400), (640, 480)]
    samples = questions.samples[: len(shapes)]
    pictures = {
        s.image["bytes"]: questions.opener(s.image).resize(shape) for s, shape in zip(samples, shapes, strict=True)
    }

    def opener(image):
        return pictures[image["bytes"]]

    together = answer(loaded, prepare(loaded, samples, opener, PROMPT), PROMPT)
    for sample, a in zip(samples, together, strict=True):
        alone = answer(loaded, prepare(loaded, [sample], opener, PROMPT), PROMPT)[0]
        np.testing.assert_allclose(a.logprobs, alone.logprobs, atol=1e-4)
        assert a.prediction == alone.prediction


def test_saved_generation_settings_do_not_bend_greedy_decoding(loaded, questions, monkeypatch):
    batch = prepare(loaded, questions.samples[:2], questions.opener, PROMPT)
    seen = []
    monkeypatch.setattr(type(loaded.tokenizer), "batch_decode", lambda self, ids, **_: seen.append(ids) or ["", ""])
    prompt = Prompt(seed=5, answer="generate", max_new_tokens=6)
    answer(loaded, batch, prompt)
    monkeypatch.setattr(loaded.model.generation_config, "repetition_penalty", 9.0)
    answer(loaded, batch, prompt)
    assert torch.equal(seen[0], seen[1])


def test_question_without_image_is_asked_without_one(loaded, questions):
    sample = replace(questions.samples[0], image=None)
    batch = prepare(loaded, [sample], questions.opener, PROMPT)
    assert not (batch.inputs["input_ids"] == loaded.image_token_id).any()
    assert len(answer(loaded, batch, PROMPT)) == 1


def test_start_token_is_written_once(one, questions):
    one.tokenizer.add_special_tokens({"bos_token": "<s>"})
    batch = prepare(one, questions.samples[:1], questions.opener, PROMPT)
    assert int((batch.inputs["input_ids"] == one.tokenizer.convert_tokens_to_ids("<s>")).sum()) == 1


def test_generated_answer_is_parsed(loaded, questions, monkeypatch):
    batch = prepare(loaded, questions.samples[:2], questions.opener, PROMPT)
    prompt = Prompt(seed=5, answer="generate", max_new_tokens=3)
    by_logprob = answer(loaded, batch, PROMPT)
    texts = iter([["B.", "nothing"]])
    monkeypatch.setattr(type(loaded.tokenizer), "batch_decode", lambda self, ids, **_: next(texts))
    first, second = answer(loaded, batch, prompt)
    assert (first.prediction, first.well_formed) == (batch.orders[0][1], True)
    assert (second.prediction, second.well_formed) == (-1, False)
    np.testing.assert_allclose(first.logprobs, by_logprob[0].logprobs, atol=1e-4)


def test_generation_is_greedy_and_at_most_so_long(loaded, questions, monkeypatch):
    batch = prepare(loaded, questions.samples[:3], questions.opener, PROMPT)
    seen = []
    decode = type(loaded.tokenizer).batch_decode
    monkeypatch.setattr(type(loaded.tokenizer), "batch_decode",
                        lambda self, ids, **k: (seen.append(ids), decode(self, ids, **k))[1])  # fmt: skip
    answer(loaded, batch, Prompt(seed=5, answer="generate", max_new_tokens=4))
    with torch.no_grad():
        greedy = forward(loaded, on_device(loaded, batch)).logits[:, -1].argmax(dim=-1)
    assert seen[0].shape[1] <= 4
    assert torch.equal(seen[0][:, 0], greedy)


def test_vocabulary_without_a_letter_is_refused(one):
    with pytest.raises(ModelError, match="option letter 'K'"):
        letter_tokens(one, 11)


def test_model_without_chat_template_is_refused(one, questions, monkeypatch):
    monkeypatch.setattr(one.processor, "chat_template", None)
    monkeypatch.setattr(one.tokenizer, "chat_template", None)
    with pytest.raises(ModelError, match="chat_template"):
        prepare(one, questions.samples[:1], questions.opener, PROMPT)


def test_unknown_answer_protocol_is_refused():
    with pytest.raises(ConfigError, match="did you mean 'generate'"):
        Prompt(answer="genrate")


def test_logits_that_are_no_numbers_name_the_sample(one, questions, monkeypatch):
    batch = prepare(one, questions.samples[:2], questions.opener, PROMPT)
    logits = forward(one, on_device(one, batch)).logits.detach().clone()
    logits[1] = float("nan")
    monkeypatch.setattr(inference, "logits_at", lambda *a: logits)
    with pytest.raises(ModelError, match=batch.samples[1].sample_id):
        answer(one, batch, PROMPT)
