"""Training on options that are texts: the loss is of the right one, as it is scored when the model is asked."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch

from culture_neurons.models.finetuning.training import Schedule, train
from culture_neurons.models.finetuning.updates import Lora, attach
from culture_neurons.models.inference import answer
from culture_neurons.models.inputs import Prompt, prepare
from culture_neurons.models.loading import Loaded
from culture_neurons.types import Sample
from tests.conftest import slow_but
from tests.models.conftest import byte_tokenizer, language_model
from tests.models.finetuning.test_updates import MODULES, chosen_rows
from tests.models.test_option_scores import expected_logprobs

#: What each thing is called; names are of one to several tokens, and the right one stands in every place.
NAMES = {"kilometer": "length", "hour": "time", "gram": "a mass", "volt": "the voltage", "acre": "an area of land"}
UNITS = [
    Sample(
        f"u{i}", "all", "t", f"The {unit} is a unit of", tuple(np.roll(list(NAMES.values()), i - k)), i % 5,
        neutral="This is a unit of",
    )
    for i, (k, unit) in enumerate([*enumerate(NAMES)] * 3)
]  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer():
    return byte_tokenizer([f"{sample.question} {option}" for sample in UNITS for option in sample.options])


def fit(loaded: Loaded, prompt: Prompt, schedule: Schedule, lora: Lora | None) -> tuple[list[float], dict]:
    """Losses, and by name the values of the parts; the model is left as it was."""
    with attach(loaded, MODULES, lora, schedule.seed) as parts:
        losses = train(loaded, parts, UNITS, lambda _: None, prompt, schedule)
        return losses, {part.name: part.values.clone() for part in parts}


def test_the_right_option_is_where_the_label_says():
    assert {sample.label for sample in UNITS} == set(range(5))
    for sample in UNITS:
        assert sample.options[sample.label] == NAMES[sample.question.split()[1]]


@pytest.mark.parametrize("score", ["sum", "mean", "pmi"])
@pytest.mark.parametrize("name", ["llama", "gemma3"])  # options share a row, or have one each
def test_the_loss_is_that_of_the_right_option(tokenizer, name, score):
    loaded = language_model(name, tokenizer, torch.float32)
    (loss,), _ = fit(loaded, Prompt(answer="options", score=score), Schedule(1, len(UNITS)), None)
    right = [expected_logprobs(loaded, s, s.question, score, s.neutral)[s.label] for s in UNITS]
    assert loss == pytest.approx(-np.mean(right), rel=1e-4)


def scores(model: torch.nn.Module, tokenizer, sample: Sample) -> torch.Tensor:
    """log P(o | q) - log P(o | q0) of each option, each in a pass of its own, with gradients."""
    result = []
    for option in sample.options:
        parts = []
        for context in (sample.question, sample.neutral):
            ids = torch.tensor([tokenizer(f"{context} {option}")["input_ids"]])
            start = len(tokenizer(context)["input_ids"])
            logprobs = model(input_ids=ids).logits[0, start - 1 : -1].log_softmax(dim=-1)
            parts.append(logprobs.gather(1, ids[0, start:, None]).sum())
        result.append(parts[0] - parts[1])
    return torch.stack(result)


@pytest.mark.parametrize("name", ["llama", "gemma3", "phi3"])
def test_one_step_is_that_of_adamw_on_the_gradient_of_one_option_at_a_time(tokenizer, name):
    loaded = language_model(name, tokenizer, torch.float32)
    where, rows = next((n, rows) for n, rows in chosen_rows(loaded, MODULES).items() if n.endswith("weight"))
    model = deepcopy(loaded.model)
    weight = model.get_parameter(where).requires_grad_(True)
    loss = sum(-scores(model, tokenizer, s).log_softmax(dim=0)[s.label] for s in UNITS) / len(UNITS)
    loss.backward()
    copy = weight.detach()[rows].clone().requires_grad_(True)
    copy.grad = weight.grad[rows]
    torch.optim.AdamW([copy], lr=1e-2, weight_decay=0).step()
    losses, values = fit(loaded, Prompt(answer="options"), Schedule(1, len(UNITS), 1e-2), None)
    assert losses == [pytest.approx(loss.item(), rel=1e-4)]
    updated = next(v for n, v in values.items() if n.startswith(where))
    # AdamW's first step is the sign of the gradient: where that is next to nothing, digits decide.
    clear = copy.grad.abs() > 1e-4 * copy.grad.abs().max()
    assert clear.float().mean() > 0.9
    torch.testing.assert_close(updated[clear], copy.detach()[clear], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("lora", slow_but([Lora(rank=4)], [None, Lora(rank=4)]))
def test_what_is_learned_is_what_is_answered(tokenizer, lora):
    loaded, prompt = language_model("llama", tokenizer, torch.float32), Prompt(answer="options")

    def right() -> float:
        batch = prepare(loaded, UNITS, lambda _: None, prompt)
        found = [a.prediction == s.label for a, s in zip(answer(loaded, batch, prompt), UNITS, strict=True)]
        return float(np.mean(found))

    before = right()
    with attach(loaded, MODULES, lora) as parts:
        losses = train(loaded, parts, UNITS, lambda _: None, prompt, Schedule(60, 15, 2e-2))
        after = right()
    assert before < 0.6
    assert after == 1
    assert losses[-1] < 0.2 * losses[0]
    assert right() == before
