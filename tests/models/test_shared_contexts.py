"""Which models share a context among options, and what tokens behind one are told."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from culture_neurons.models import shared_contexts
from culture_neurons.models.inference import answer
from culture_neurons.models.inputs import Prompt, process, render
from culture_neurons.models.option_scores import PMI, SUM
from culture_neurons.models.shared_contexts import kind_behind, shares_contexts
from culture_neurons.types import Sample
from tests.models import eyes

pytestmark = eyes.WARNINGS

QUESTIONS = [
    Sample(
        f"s{i}", "c", "k", "They eat" + " it" * i, ("rice now", "tea"), 0, "evaluate", {"path": str(i % 2)}, str(i % 2)
    )
    for i in range(3)
]


@pytest.mark.parametrize(
    ("name", "shares", "kind"),
    [("Llava", True, 0), ("Qwen2_5_VL", True, 0), ("Gemma3", False, 0), ("PaliGemma", False, 1)],
)
def test_models_with_kinds_of_tokens_share_nothing(family, name, shares, kind):
    loaded = family(name)
    assert shares_contexts(loaded) is shares
    assert kind_behind(loaded) == kind


@pytest.mark.parametrize("score", [SUM, PMI])
def test_options_of_paligemma_see_the_whole_prefix_and_nothing_behind_themselves(family, score):
    loaded = family("PaliGemma")
    prompt = Prompt(answer="options", score=score, context="{question}", neutral="All of it")
    batch = process(loaded, render(loaded, QUESTIONS, prompt), eyes.opener)
    for sample, result in zip(QUESTIONS, answer(loaded, batch, prompt), strict=True):
        inputs = loaded.processor(
            text=loaded.render(sample.question, True), images=eyes.opener(sample.image), return_tensors="pt"
        )
        pixels = {"pixel_values": inputs["pixel_values"]}
        scores = [logprob(loaded, inputs["input_ids"][0].tolist(), f" {option}", pixels) for option in sample.options]
        if score == PMI:
            neutral = loaded.tokenizer(loaded.render("All of it", False))["input_ids"]
            scores = [s - logprob(loaded, neutral, f" {o}", {}) for s, o in zip(scores, sample.options, strict=True)]
        np.testing.assert_allclose(result.logprobs, torch.tensor(scores).log_softmax(0).numpy(), atol=1e-4)


def logprob(loaded, context, text, more):
    """log p of a text behind a context, which is a prefix: its tokens see each other in both directions."""
    behind = loaded.tokenizer(text)["input_ids"]
    ids = torch.tensor([context + behind])
    kinds = torch.tensor([[0] * len(context) + [1] * len(behind)])
    with torch.no_grad():
        logits = loaded.model(input_ids=ids, token_type_ids=kinds, attention_mask=torch.ones_like(ids), **more).logits
    predicted = logits[0, len(context) - 1 : -1].log_softmax(dim=-1)
    return float(predicted.gather(1, torch.tensor(behind)[:, None]).sum())


def test_kinds_of_tokens_are_reason_enough(family, monkeypatch):
    """Images whose tokens see each other, in layers that would take a mask of ours."""
    loaded = family("Gemma3")
    monkeypatch.setattr(loaded.model.config.get_text_config(), "layer_types", ["full_attention"] * 2)
    assert not shared_contexts._takes_masks(loaded)
    monkeypatch.setattr(shared_contexts, "has_kinds", lambda loaded: False)
    assert shared_contexts._takes_masks(loaded)
