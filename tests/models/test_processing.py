"""Batches as processors of many families make them: each prompt is read as alone, whoever its neighbours are."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from culture_neurons.errors import ConfigError, ModelError
from culture_neurons.models import processing
from culture_neurons.models.ablation import evaluator
from culture_neurons.models.forward import forward
from culture_neurons.models.hooks import record
from culture_neurons.models.inference import answer
from culture_neurons.models.inputs import Prompt, process, render
from culture_neurons.models.recording import activation_sums
from culture_neurons.models.vision import keep_image_features
from culture_neurons.types import NeuronMask, Sample
from tests.models import eyes

pytestmark = eyes.WARNINGS
PROMPT = Prompt(seed=5)
#: What each of seven questions shows: two about one picture, one without any.
SHOWN = [0, 1, 0, 2, None, 3, 1]


def samples(mixed: bool):
    return [
        Sample(f"s{i}", "c", "k", "What is" + " it" * (i % 3) + "?", ("rice", "bread", "tea", "oil"), 0, "evaluate",
               None if n is None else {"path": str(n)}, "" if n is None else str(n),
               image_size=None if n is None else eyes.SHAPES[n])
        for i, n in enumerate(SHOWN) if mixed or n is not None
    ]  # fmt: skip


def alone(loaded, question):
    """Logits at the last token, and S of g [layer, neuron] from plain hooks, of the stock processor's inputs for this
    prompt and no other."""
    image = eyes.opener(question.sample.image)
    if image is None and loaded.name == "PaliGemma":
        inputs = loaded.tokenizer(question.text, return_tensors="pt", return_token_type_ids=True)
    else:
        shown = {} if image is None else {"images": image}
        inputs = loaded.processor(text=question.text, return_tensors="pt", **shown)
    inputs = {name: values for name, values in inputs.items() if name != "labels"}
    if loaded.name not in ("PaliGemma", "Gemma3"):
        inputs.pop("token_type_ids", None)
    sums = []
    handles = [
        module.register_forward_hook(lambda _, args, g: sums.append(g.clamp_min(0).sum(dim=(0, 1)).numpy()))
        for module in loaded.adapter.activations
    ]
    with torch.no_grad():
        logits = loaded.model(**inputs).logits[0, -1]
    for handle in handles:
        handle.remove()
    return logits, np.stack(sums), inputs["input_ids"].shape[1]


@pytest.mark.parametrize("mixed", [False, True], ids=["images", "mixed"])
@pytest.mark.parametrize("name", eyes.names("Qwen3VL", "PaliGemma", "Gemma3", "Mllama", "InternVL"))
def test_prompts_of_a_batch_are_read_as_alone(family, name, mixed):
    loaded = family(name)
    if name == "Mllama" and mixed:
        with pytest.raises(ModelError, match=r"run only with an image, and sample 's4' has none"):
            render(loaded, samples(mixed), PROMPT)
        return
    questions = render(loaded, samples(mixed), PROMPT)
    batch = process(loaded, questions, eyes.opener)
    with torch.no_grad(), keep_image_features(loaded.model, batch.image_of):
        logits = forward(loaded, batch.inputs).logits[:, -1]
    with record(loaded.adapter) as recorder:
        tokens, _, positive_sum = activation_sums(loaded, batch, "all", recorder)
    assert logits.std(dim=0).max() > 0.01, "the prompts make a difference"
    for row, question in enumerate(questions):
        expected, sums, length = alone(loaded, question)
        torch.testing.assert_close(logits[row], expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(positive_sum[row], sums, rtol=1e-5, atol=1e-4)
        assert tokens[row] == length


@pytest.mark.parametrize("name", eyes.names("PaliGemma", "Gemma3", "AyaVision", "Mllama"))
def test_content_is_the_words_of_question_and_options_behind_any_image(family, name):
    loaded = family(name)
    questions = render(loaded, samples(mixed=name != "Mllama"), PROMPT)
    batch = process(loaded, questions, eyes.opener, content=True)
    for row, question in enumerate(questions):
        assert loaded.tokenizer.decode(batch.inputs["input_ids"][row][batch.content[row]]) == question.content.strip()


def test_what_processors_take_is_found_by_trying(family):
    takes = {name: processing.takes_of(family(name)) for name in ("Llava", "Gemma3", "Mllama", "PaliGemma", "Qwen3VL")}
    assert takes == {
        "Llava": processing.Takes(),
        "Gemma3": processing.Takes(nested=True),
        "Mllama": processing.Takes(nested=True, mixed=False),
        "PaliGemma": processing.Takes(mixed=False, text=False),
        "Qwen3VL": processing.Takes(),
    }


def test_inputs_of_parts_are_merged_row_by_row():
    parts = [
        {"input_ids": torch.tensor([[1, 2, 3], [9, 4, 5]]), "attention_mask": torch.tensor([[1, 1, 1], [0, 1, 1]]),
         "pixel_values": torch.ones(2, 5)},
        {"input_ids": torch.tensor([[6, 7]]), "attention_mask": torch.tensor([[1, 1]]),
         "kinds": torch.tensor([[1, 2]])},
    ]  # fmt: skip
    merged = processing._merged(parts, [[0, 2], [1]], padding=9)
    assert merged["input_ids"].tolist() == [[1, 2, 3], [9, 6, 7], [9, 4, 5]]
    assert merged["attention_mask"].tolist() == [[1, 1, 1], [0, 1, 1], [0, 1, 1]]
    assert merged["kinds"].tolist() == [[0, 0, 0], [0, 1, 2], [0, 0, 0]]
    assert merged["pixel_values"].shape == (2, 5)


def called(monkeypatch, loaded, **values):
    """Let the processor of a model give `values` too; with what it is called, in a list."""
    calls = []
    stock = type(loaded.processor).__call__

    def call(self, *args, **arguments):
        calls.append(arguments)
        return stock(self, *args, **arguments) | values

    monkeypatch.setattr(type(loaded.processor), "__call__", call)
    return calls


def test_kinds_of_tokens_are_asked_for_where_a_processor_names_them(family, monkeypatch):
    """Cosmos 3's gives them only then, and its model wants them."""
    for name, asked in (("Qwen3VL", True), ("Llava", None)):
        loaded = family(name)
        processing.takes_of(loaded)
        calls = called(monkeypatch, loaded)
        process(loaded, render(loaded, samples(mixed=False)[:2], PROMPT), eyes.opener)
        assert [call.get("return_mm_token_type_ids") for call in calls] == [asked]


def test_inputs_that_are_no_tensors_are_refused(family, monkeypatch):
    """Fuyu's patches of images of different sizes are a list, which no model takes."""
    loaded = family("Llava")
    processing.takes_of(loaded)
    called(monkeypatch, loaded, image_patches=[torch.ones(1), torch.ones(2)])
    with pytest.raises(ModelError, match=r"refuses sample 's0', .* \(it gives image_patches as a list, and not as one"):
        process(loaded, render(loaded, samples(mixed=False)[:2], PROMPT), eyes.opener)


def test_a_processor_that_makes_other_rows_than_prompts_is_refused(family, monkeypatch):
    """ShieldGemma 2's asks about each of its policies."""
    loaded = family("Llava")
    processing.takes_of(loaded)
    called(monkeypatch, loaded, input_ids=torch.zeros(6, 9, dtype=torch.long))
    with pytest.raises(ModelError, match=r"refuses sample 's0', .* \(it makes 6 prompts of 1\)"):
        process(loaded, render(loaded, samples(mixed=False)[:2], PROMPT), eyes.opener)


def test_processor_that_refuses_any_image_is_not_blamed_on_the_sample(family, monkeypatch):
    loaded = family("Llava")
    own = SimpleNamespace(patch_size=None)
    monkeypatch.setattr(loaded.processor, "patch_size", own.patch_size)
    monkeypatch.delitem(processing._TAKES, loaded.processor, raising=False)
    questions = render(loaded, samples(mixed=False), PROMPT)
    with pytest.raises(ModelError, match=r"^model 'Llava': its processor refuses every image \(.*under processor"):
        process(loaded, questions, eyes.opener)
    del processing._TAKES[loaded.processor]


@pytest.mark.parametrize("name", eyes.names("Gemma3", "Mllama"))
def test_masks_act_on_a_batch_as_on_each_question_alone(family, name):
    loaded = family(name)
    questions = render(loaded, samples(mixed=name != "Mllama"), PROMPT)
    batch = process(loaded, questions, eyes.opener)
    layers = [0, loaded.adapter.n_layers - 1]
    masks = [NeuronMask("c", "act_fn", np.repeat(layers, 8), np.tile(np.arange(8), 2)),
             NeuronMask("c", "act_fn", np.array([], int), np.array([], int))]  # fmt: skip
    with evaluator(loaded, masks, PROMPT) as evaluate:
        masked, empty = evaluate(batch)
    assert empty == answer(loaded, batch, PROMPT)

    def ablate(module, args, g):
        return torch.cat([torch.zeros_like(g[..., :8]), g[..., 8:]], dim=-1)

    handles = [loaded.adapter.activations[layer].register_forward_hook(ablate) for layer in layers]
    expected = [answer(loaded, process(loaded, [question], eyes.opener), PROMPT)[0] for question in questions]
    for handle in handles:
        handle.remove()
    np.testing.assert_allclose([a.logprobs for a in masked], [a.logprobs for a in expected], atol=1e-5)
    assert np.abs(np.subtract([a.logprobs for a in masked], [a.logprobs for a in empty])).max() > 0.01


@pytest.mark.parametrize("name", eyes.names("Qwen3VL", "Gemma3", "Mllama"))
def test_texts_of_options_are_scored_as_alone(family, name):
    loaded = family(name)
    prompt = Prompt(answer="options", context="{question}", neutral="All of")
    if name == "Mllama":  # its cross-attention layers read no text without an image
        with pytest.raises(ConfigError, match=r"^model 'Mllama': its layers 1 run only .*expected logprob or generate"):
            render(loaded, samples(mixed=False), prompt)
        return
    questions = render(loaded, samples(mixed=True), prompt)
    together = answer(loaded, process(loaded, questions, eyes.opener), prompt)
    alone = [answer(loaded, process(loaded, [question], eyes.opener), prompt)[0] for question in questions]
    np.testing.assert_allclose([a.logprobs for a in together], [a.logprobs for a in alone], atol=2e-5)
    assert np.ptp([a.logprobs for a in together], axis=0).max() > 0.1
