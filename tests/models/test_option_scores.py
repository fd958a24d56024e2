"""Answers by the texts of options, against a plain loop over options in float64."""

from copy import deepcopy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from culture_neurons.errors import ConfigError
from culture_neurons.models import inputs, option_scores
from culture_neurons.models.ablation import evaluator
from culture_neurons.models.adapters import adapt
from culture_neurons.models.attribution import attribute, attributor
from culture_neurons.models.batching import batches, run_batches
from culture_neurons.models.forward import logits_at
from culture_neurons.models.hooks import ablate
from culture_neurons.models.inference import answer, on_device, reader_of
from culture_neurons.models.inputs import Prompt, contexts, process, render
from culture_neurons.models.loading import load
from culture_neurons.types import NeuronMask, Sample
from tests.models.conftest import TEXT, byte_tokenizer, gradients_of_rows, language_model

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


def answered(loaded, samples, opener, prompt, batch_size):
    todo = batches(loaded, samples, prompt, batch_size)
    ask = partial(answer, loaded, prompt=prompt)
    return {
        s.sample_id: a
        for batch, found in run_batches(loaded, todo, opener, prompt, ask)
        for s, a in zip(batch.samples, found, strict=True)
    }


@pytest.mark.parametrize("score", option_scores.SCORES)
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


def test_options_share_a_context_where_the_model_takes_branches(one, texts):
    rows = {}
    for name in TEXT:
        loaded = language_model(name, one.tokenizer, torch.float64)
        batch = process(loaded, render(loaded, texts, Prompt(answer="options", score="sum")), None)
        rows[name] = len(batch.inputs["input_ids"])
    options = sum(len(sample.options) for sample in texts)
    # Gemma 3 has layers that see a part of the context alone.
    assert rows == dict.fromkeys(TEXT, len(texts)) | {"gemma3": options}


def test_options_of_one_token_cost_no_more_than_their_context(one, texts):
    loaded = language_model("llama", one.tokenizer, torch.float64)
    words = [loaded.tokenizer.convert_ids_to_tokens(i) for i in range(len(loaded.tokenizer))]
    short = [w for w in words if w.isalpha() and len(loaded.tokenizer(w, add_special_tokens=False)["input_ids"]) == 1]
    samples = [replace(sample, options=tuple(short[4 * i : 4 * i + 4])) for i, sample in enumerate(texts)]
    questions = render(loaded, samples, Prompt(answer="options", score="sum"))
    with_options, alone = process(loaded, questions, None), process(loaded, contexts(questions), None)
    assert torch.equal(with_options.inputs["input_ids"], alone.inputs["input_ids"])
    assert "branch" not in with_options.inputs
    assert reader_of(loaded, with_options).positions.keep == 1


def test_neutral_contexts_take_as_many_options_as_fit_into_the_widest_row(one, texts):
    loaded = language_model("llama", one.tokenizer, torch.float64)
    samples = [replace(sample, neutral="One") for sample in texts]
    batch = process(loaded, render(loaded, samples, PMI), None)
    of_questions = batch.reads.question >= 0
    widths = batch.inputs["attention_mask"].sum(dim=1).numpy()
    assert widths.max() == widths[of_questions].max()
    context = len(loaded.tokenizer(loaded.render("One", False))["input_ids"])
    tokens = {o: len(loaded.tokenizer(loaded.render("One", False) + " " + o)["input_ids"]) - context
              for sample in samples for o in sample.options}  # fmt: skip
    neutral = widths[~of_questions]
    assert sum(neutral) == len(neutral) * context + sum(n - 1 for n in tokens.values())  # each option once
    room = widths.max() - context
    assert len(neutral) < len(tokens) / 2
    assert all(n + max(tokens.values()) - 1 > room for n in (neutral - context)[:-1])


@pytest.mark.parametrize("score", ["mean", "pmi"])
def test_questions_with_images_are_scored_as_one_by_one(folders, questions, score):
    for name, path in folders.items():
        loaded = load({"name": name, "path": path, "dtype": "float32"})
        samples = [
            replace(s, neutral="Which one is",
                    options=tuple(f"{o}{' and more' * (k % 2)}" for k, o in enumerate(s.options)))
            for s in questions.samples[:4]
        ]  # fmt: skip
        got = answered(loaded, samples, questions.opener, Prompt(answer="options", score=score), batch_size=3)
        for sample in samples:
            text, neutral = loaded.render(sample.question, True), loaded.render(sample.neutral, False)
            images = [questions.opener(sample.image)]
            expected = expected_logprobs(loaded, sample, text, score, neutral, images)
            np.testing.assert_allclose(got[sample.sample_id].logprobs, expected, atol=2e-4)


def test_masks_act_as_on_one_option_at_a_time(one, texts):
    loaded = language_model("qwen3", one.tokenizer, torch.float64)
    masks = [
        NeuronMask("a", "act_fn", np.array([0, 1]), np.array([3, 7])),
        NeuronMask("b", "act_fn", np.array([1]), np.array([5])),
        NeuronMask("none", "act_fn", np.array([], dtype=int), np.array([], dtype=int)),
    ]
    batch = process(loaded, render(loaded, texts, PMI), None)
    with evaluator(loaded, masks, PMI) as evaluate:
        got = evaluate(batch)
    for mask, answers in zip(masks, got, strict=True):
        with ablate(loaded.adapter, [mask]) as ablation:
            ablation.use(0)
            for sample, a in zip(batch.samples, answers, strict=True):
                text, neutral = loaded.render(sample.question, False), loaded.render(sample.neutral, False)
                expected = expected_logprobs(loaded, sample, text, "pmi", neutral)
                np.testing.assert_allclose(a.logprobs, expected, atol=2e-6)


def test_replays_of_branches_are_whole_passes(one, texts, caplog):
    loaded = language_model("llama", one.tokenizer, torch.float32)
    masks = [NeuronMask(str(i), "act_fn", np.array([i % 2]), np.array([i])) for i in range(5)]
    batch = process(loaded, render(loaded, texts, PMI), None)
    with evaluator(loaded, masks, PMI) as evaluate:
        first, again = evaluate(batch), evaluate(batch)
    assert first == again
    assert "whole forward passes" not in caplog.text
    assert "leave out layers alone" not in caplog.text


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near(one, texts, dtype):
    loaded = language_model("qwen2", one.tokenizer, dtype)
    wide = replace(loaded, model=deepcopy(loaded.model).double())
    wide = replace(wide, adapter=adapt(wide.model), dtype="float64")
    got, expected = (answered(of, texts, None, PMI, 8) for of in (loaded, wide))
    for key, a in got.items():
        np.testing.assert_allclose(a.logprobs, expected[key].logprobs, atol=0.15)


def test_answers_do_not_depend_on_the_batch(one, texts):
    loaded = language_model("llama", one.tokenizer, torch.float32)
    alone, together = (answered(loaded, texts, None, PMI, size) for size in (1, 8))
    for key, a in alone.items():
        np.testing.assert_allclose(a.logprobs, together[key].logprobs, atol=1e-5)


def test_neutral_of_the_config_takes_the_place_of_the_samples_own(one, texts):
    loaded = language_model("llama", one.tokenizer, torch.float64)
    got = answered(loaded, texts, None, Prompt(answer="options", neutral="Which"), 8)
    nothing = answered(loaded, texts, None, Prompt(answer="options", neutral=""), 8)
    for sample in texts:
        text = loaded.render(sample.question, False)
        for neutral, answers in ((loaded.render("Which", False), got), ("", nothing)):
            expected = expected_logprobs(loaded, sample, text, "pmi", neutral)
            np.testing.assert_allclose(answers[sample.sample_id].logprobs, expected, atol=2e-6)


def test_attributions_are_those_of_gradients_through_rows_of_their_own(one, texts, monkeypatch):
    loaded = language_model("llama", one.tokenizer, torch.float64)
    prompt = Prompt(answer="options", score="sum")
    questions = render(loaded, texts, prompt)
    with attributor(loaded, ["gate_proj"]) as hooks:
        batch = process(loaded, questions, None)
        assert len(batch.inputs["input_ids"]) == len(texts)
        probability, values = attribute(loaded, batch, hooks)
    monkeypatch.setattr(inputs, "shares_contexts", lambda _: False)
    for q, sample in enumerate(texts):
        p, expected = gradients_of_rows(loaded, render(loaded, [sample], prompt), None)
        assert probability[q] == pytest.approx(p)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(values["gate_proj"][q] / scale, expected / scale, atol=1e-5)


@pytest.fixture(scope="module")
def merging():
    """A Llama whose tokenizer joins a word with the space before it, with questions for it."""
    options = ("Japan", "the Czech Republic", "12", "Kenya and Japan")
    texts = ["The name Tanaka is common in " + option for option in options]
    return language_model("llama", byte_tokenizer(texts * 5), torch.float64), options


def scores_of(loaded, context, options, prompt):
    """Scores of one question, float64 [option]."""
    sample = Sample("s", "c", "k", context, options, 0, "identify", None, "")
    batch = process(loaded, render(loaded, [sample], prompt), None)
    reader = option_scores.TextReader(batch.reads)
    with torch.inference_mode():
        return reader.scores(logits_at(loaded, on_device(loaded, batch), reader.positions))[0].numpy()


def harness_scores(loaded, context, options, delimiter):
    """acc, acc_norm and acc_mutual_info of lm-evaluation-harness 0.4.9.1, as its code defines them (`_encode_pair`,
    `loglikelihood` and the requests of a multiple-choice task), under our names."""
    encode = partial(loaded.tokenizer.encode, add_special_tokens=False)

    def log_likelihood(context, continuation):
        if context == "":
            first, behind = [loaded.tokenizer.eos_token_id], encode(continuation)
        else:
            spaces = len(context) - len(context.rstrip())
            if spaces > 0:
                continuation, context = context[-spaces:] + continuation, context[:-spaces]
            first = encode(context)
            behind = encode(context + continuation)[len(first) :]
        with torch.inference_mode():
            logits = loaded.model(torch.tensor([(first + behind)[:-1]])).logits[0]
        logp = logits.log_softmax(dim=-1)[-len(behind) :]
        return sum(float(row[token]) for row, token in zip(logp, behind, strict=True))

    given = np.array([log_likelihood(context, delimiter + option) for option in options])
    alone = np.array([log_likelihood("", delimiter + option) for option in options])
    return {"sum": given, "mean": given / [len(option) for option in options], "pmi": given - alone}


@pytest.mark.parametrize("option", ["{option}", "{option}.", "the {option}"])
@pytest.mark.parametrize("score", option_scores.SCORES)
def test_scores_are_those_of_lm_evaluation_harness(merging, score, option):
    loaded, options = merging
    written = tuple(option.replace("{option}", text) for text in options)
    prompt = Prompt(answer="options", score=score, neutral="", option=option)
    context = "The name Tanaka is common in"
    expected = harness_scores(loaded, context, written, " ")[score]
    np.testing.assert_allclose(scores_of(loaded, context, options, prompt), expected, atol=1e-6)
    # The space that a context ends in stands for the delimiter, as there.
    assert len(loaded.tokenizer("in Japan")["input_ids"]) == len(loaded.tokenizer("in ")["input_ids"])
    if score != "pmi":  # there options behind nothing would have no space before them, so other tokens
        expected = harness_scores(loaded, context + " ", written, "")[score]
    np.testing.assert_allclose(scores_of(loaded, context + " ", options, prompt), expected, atol=1e-6)


def test_a_line_feed_is_part_of_the_context(merging):
    loaded, options = merging
    context = "The name Tanaka is common in\n"
    got = scores_of(loaded, context, options, Prompt(answer="options", score="sum"))
    harness = harness_scores(loaded, context, options, "")["sum"]
    # lm-evaluation-harness counts the line feed as the options', which adds the same to each.
    assert np.ptp(harness - got) < 1e-6
    assert (harness - got).max() < -0.1


def test_option_template_stands_behind_context_and_neutral_context(one, texts):
    loaded = language_model("llama", one.tokenizer, torch.float64)
    written = [replace(s, options=tuple(f"Which {option} ?" for option in s.options)) for s in texts]
    for score in option_scores.SCORES:
        got = answered(loaded, texts, None, Prompt(answer="options", score=score, option="Which {option} ?"), 8)
        for sample in written:
            text, neutral = loaded.render(sample.question, False), loaded.render(sample.neutral, False)
            expected = expected_logprobs(loaded, sample, text, score, neutral)
            np.testing.assert_allclose(got[sample.sample_id].logprobs, expected, atol=2e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"answer": "option"}, "did you mean 'options'"),
        ({"answer": "options", "score": "pni"}, "did you mean 'pmi'"),
        ({"answer": "options", "context": "Say it:"}, r"^context 'Say it:': expected \{question\} in it, once"),
        ({"answer": "options", "option": "the"}, r"^option 'the': expected \{option\} in it, once"),
        ({"answer": "options", "option": "{option} {option}"}, r"expected \{option\} in it, once"),
        ({"option": "{option}."}, r"^option '\{option\}\.': of use for answer options alone; answer is 'logprob'"),
        ({"answer": "generate", "context": "Q: {question}"}, r"^context .* alone; answer is 'generate'"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        Prompt(**settings)
