from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from culture_neurons.errors import ConfigError
from culture_neurons.models.batching import batches, run_batches
from culture_neurons.models.hooks import record
from culture_neurons.models.inputs import Prompt, contexts, prepare, process, render
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
    batch = prepare(one, [replace(questions.samples[0], image=None)], questions.opener, PROMPT)
    with pytest.raises(ConfigError, match="did you mean 'content'"):
        token_weights(one, batch, "contents")
    with pytest.raises(ConfigError, match="prepared without"):
        token_weights(one, batch, "text")
    with pytest.raises(ConfigError, match=questions.samples[0].sample_id):
        token_weights(one, batch, "image")


def naive_sums(loaded, sample, opener, option, rule):
    """T, K and S of one question with its right option behind it, in one pass over a row made by hand."""
    context = loaded.render(sample.question, True)
    inputs = dict(loaded.processor(text=[context], images=[opener(sample.image)], return_tensors="pt"))
    first = loaded.tokenizer(context, add_special_tokens=False)["input_ids"]
    behind = loaded.tokenizer(f"{context} {option}", add_special_tokens=False)["input_ids"][len(first) :]
    n = inputs["input_ids"].shape[1]
    ids = torch.cat([inputs["input_ids"], torch.tensor([behind])], dim=1)
    inputs |= {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if "mm_token_type_ids" in inputs:
        inputs["mm_token_type_ids"] = torch.nn.functional.pad(inputs["mm_token_type_ids"], (0, len(behind)))
    image = (ids[0] == loaded.image_token_id).numpy()
    words = loaded.tokenizer(sample.question, add_special_tokens=False)["input_ids"]
    start = next(i for i in range(n) if ids[0, i : i + len(words)].tolist() == words)
    text = np.isin(np.arange(ids.shape[1]), [*range(start, start + len(words)), *range(n, n + len(behind))])
    last = np.arange(ids.shape[1]) == n + len(behind) - 1
    counts = {"all": text | True, "content": image | text, "image": image, "text": text, "last": last}[rule]
    gates = []
    hooks = [mlp.act_fn.register_forward_hook(lambda m, a, out: gates.append(out[0])) for mlp in loaded.adapter.mlps]
    with torch.no_grad():
        loaded.model(**inputs, use_cache=False)
    for hook in hooks:
        hook.remove()
    g = torch.stack(gates).double().numpy()[:, counts]
    return counts.sum(), (g > 0).sum(axis=1), np.maximum(g, 0).sum(axis=1)


@pytest.mark.parametrize("rule", TOKEN_RULES)
def test_right_options_are_recorded_behind_their_questions(loaded, questions, rule):
    samples = [
        replace(s, options=tuple(f"{o}{' indeed' * ((i + k) % 3)}" for k, o in enumerate(s.options)), label=i % 4)
        for i, s in enumerate(questions.samples[:5])
    ]
    prompt = Prompt(answer="options", score="sum", option="the {option}")
    rendered = contexts(render(loaded, samples, prompt), right_options=True)
    batch = process(loaded, rendered, questions.opener, content=rule in NEED_CONTENT)
    with record(loaded.adapter) as recorder:
        tokens, fired, positive_sum = activation_sums(loaded, batch, rule, recorder)
    assert len(batch.inputs["input_ids"]) == len(samples)
    for i, sample in enumerate(samples):
        right = f"the {sample.options[sample.label]}"
        expected = naive_sums(loaded, sample, questions.opener, right, rule)
        assert tokens[i] == expected[0]
        assert (fired[i] != expected[1]).mean() < 0.01  # g may round to the other side of 0
        np.testing.assert_allclose(positive_sum[i], expected[2], rtol=1e-3, atol=1e-5)


def test_letters_are_no_options_to_record(one, questions):
    rendered = render(one, questions.samples[:2], PROMPT)
    assert contexts(rendered) == rendered
    with pytest.raises(ConfigError, match=r"^recording: options: true: the options .* are letters; expected false, or"):
        contexts(rendered, right_options=True)
