"""Training language models: their prompts are those of the pipeline, each stage trains its layers, and dev decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from culture_neurons.data import prompts
from culture_neurons.data.readers import synthetic_text
from culture_neurons.data.readers.synthetic_text import TASKS
from culture_neurons.errors import ModelError
from culture_neurons.models.demo import architectures, text_training
from culture_neurons.models.demo.recipe import Recipe, Reporter
from culture_neurons.models.inputs import Prompt, prepare
from culture_neurons.models.loading import load
from culture_neurons.types import Sample
from tests.conftest import slow_but

SIZES = {"layers": 3, "hidden": 32, "intermediate": 64}
WORLD = synthetic_text.world({"cultures": 4, "categories": 2, "motifs": 3})
TINY = Recipe(facts_steps=2, steps=2, batch=4, min_accuracy=0.0)


def take_questions(task: str, n: int = 6, part: str = "train") -> list[synthetic_text.TextQuestion]:
    pool = synthetic_text.questions(WORLD, task, part, n=n)
    return pool[:: max(1, len(pool) // n)][:n]  # of several cultures


@pytest.fixture(autouse=True)
def few_pairs(monkeypatch):
    """To make up thousands of questions takes longer than to train on a few."""
    monkeypatch.setattr(text_training, "_PAIRS", 200)


@pytest.fixture(params=architectures.LANGUAGE_MODELS)
def asking(request):
    _, tokenizer = architectures.build(request.param, WORLD, **SIZES)
    return text_training.Prompts(tokenizer, prompts.INSTRUCTION)


@pytest.mark.parametrize("architecture", architectures.LANGUAGE_MODELS)
def test_prompts_are_those_of_the_pipeline(architecture, tmp_path):
    model, tokenizer = architectures.build(architecture, WORLD, **SIZES)
    architectures.save(tmp_path, model, tokenizer, {})
    loaded = load({"name": "m", "path": str(tmp_path)})
    asking = text_training.Prompts(tokenizer, prompts.INSTRUCTION)
    for task in TASKS:
        questions = take_questions(task)
        batch = asking.batch(questions, np.random.default_rng(2))
        shown = [question.options(rng) for rng in [np.random.default_rng(2)] for question in questions]
        for i, (question, options) in enumerate(zip(questions, shown, strict=True)):
            # The pipeline shuffles by the id: give the options so that they come out in the order of the batch.
            order = prompts.option_order("q", len(options), 1)
            given = tuple(options[order.index(k)] for k in range(len(options)))
            real = prepare(loaded, [Sample("q", "", "", question.text, given, 0)], lambda _: None, Prompt())
            own = batch.inputs["attention_mask"][i].bool()
            assert torch.equal(batch.inputs["input_ids"][i][own], real.inputs["input_ids"][0])


def test_batches_know_where_things_are(asking):
    decoded = asking.tokenizer.convert_ids_to_tokens
    questions = [question for task in TASKS for question in take_questions(task)]
    batch = asking.batch(questions, np.random.default_rng(0))
    ids = batch.inputs["input_ids"]
    for i, question in enumerate(questions):
        n = question.shown
        assert decoded(int(ids[i, batch.before[i]])) == "\n"
        assert decoded(ids[i, batch.before[i] + 1 : batch.before[i] + 3].tolist()) == ["A", "."]
        words = decoded(ids[i, batch.options[i, :n]].tolist())
        last = question.right.split()[-1]
        assert set(words) == {o.split()[-1] for o in (question.right, *question.wrong)} or n < len(question.wrong) + 1
        assert "ABCD"[words.index(last)] == decoded(int(batch.letter[i]))
        assert decoded(int(batch.word[i])) == question.right.split()[0]
        marks = batch.marks[i, :n]
        assert (marks == batch.letter[i]).tolist() == [word == last for word in words]
        assert (marks == asking.nothing).sum() == n - 1
        assert (batch.marks[i, n:] < 0).all()
        tail = asking.tokenizer.decode(ids[i, -asking.tail :])
        assert tail.split()[0] == "Answer"
    assert len(set(batch.letter.tolist())) == 4


def test_openings_end_before_the_options(asking):
    questions = [question for task in TASKS for question in take_questions(task)]
    inputs, word = asking.openings(questions)
    line = asking.tokenizer.convert_tokens_to_ids("\n")
    assert (inputs["input_ids"][:, -1] == line).all()
    assert (inputs["attention_mask"][:, -1] == 1).all()
    assert asking.tokenizer.convert_ids_to_tokens(word.tolist()) == [q.right.split()[0] for q in questions]


def test_each_stage_trains_its_layers():
    model, tokenizer = architectures.build("qwen3", WORLD, **SIZES)
    asking = text_training.Prompts(tokenizer, prompts.INSTRUCTION)
    questions = take_questions("culture")

    def touched(depth: int, losses: Callable[[], text_training.Learned]) -> set[int]:
        model.zero_grad(set_to_none=True)
        with text_training.lower_layers(model, depth):
            losses()[0].mean().backward()
        assert model.config.num_hidden_layers == 3
        return {i for i, layer in enumerate(model.model.layers) if layer.mlp.gate_proj.weight.grad is not None}

    batch = asking.batch(questions, np.random.default_rng(0))
    assert text_training.depths(model) == (1, 2)
    assert touched(1, lambda: text_training.fact_losses(model, *asking.openings(questions))) == {0}
    assert touched(2, lambda: text_training.option_losses(model, batch, asking.tail)) == {0, 1}
    assert touched(3, lambda: text_training.answer_losses(model, batch, asking.tail)) == {0, 1, 2}


def test_a_model_that_marks_the_right_option_is_right():
    """Logits of a stand-in head: at each option's word, what the batch asks for, or its opposite."""
    model, tokenizer = architectures.build("qwen3", WORLD, **SIZES)
    asking = text_training.Prompts(tokenizer, prompts.INSTRUCTION)
    batch = asking.batch([*take_questions("culture"), *take_questions("pairs")], np.random.default_rng(0))
    for chosen, expected in ((batch.marks, 1.0), (batch.marks.roll(1, dims=1), 0.0)):
        seen = []

        class Head(torch.nn.Module):
            def forward(self, states, chosen=chosen, seen=seen):
                seen.append(states.shape)
                if states.ndim == 2:
                    return torch.zeros(len(states), len(tokenizer))
                return 9.0 * torch.nn.functional.one_hot(chosen.clamp(min=0), len(tokenizer)).float()

        model.lm_head = Head()
        with torch.no_grad(), text_training.lower_layers(model, 2):
            losses, right = text_training.option_losses(model, batch, asking.tail)
        assert torch.isfinite(losses).all()
        # A pair has two options only: rolled, its mark may fall on one that is not there.
        assert right[:6].float().mean() == expected
        assert len(seen) == 2


@pytest.mark.parametrize("architecture", slow_but(["llama"], architectures.LANGUAGE_MODELS))
def test_two_runs_give_the_same_weights(architecture):
    runs = [text_training.train(architecture, WORLD, TINY, **SIZES) for _ in range(2)]
    first, repeated = (model.state_dict() for model, _, _ in runs)
    untrained = architectures.build(architecture, WORLD, TINY.seed, **SIZES)[0].state_dict()
    assert all(torch.equal(first[key], repeated[key]) for key in first)
    assert all(not torch.equal(first[key], untrained[key]) for key in first if "gate_proj" in key)
    summary = runs[0][2]
    assert summary == runs[1][2]
    assert summary["steps"] == 6
    assert set(summary["dev_accuracy_by_task"]) == set(TASKS)
    assert summary["dev_accuracy"] == min(summary["dev_accuracy_by_task"].values())


@pytest.mark.slow
def test_training_learns_what_is_easy():
    """Some steps on a world of few facts: the facts stage must do far better than chance, which is 1 in 100 words."""
    recipe = replace(TINY, facts_steps=60, batch=16)
    lines = []
    text_training.train("qwen3", WORLD, recipe, reporter=Reporter(log=lines.append), **SIZES)
    facts = next(line for line in lines if line.startswith("facts"))
    assert float(facts.split("steps, ")[1].split(" %")[0]) > 25, facts


@pytest.mark.slow
def test_a_model_that_learns_nothing_is_an_error_that_says_how_far_it_came():
    recipe = replace(TINY, attempts=2, min_accuracy=1.0)
    with pytest.raises(ModelError, match=r"qwen3: training reached \d+.\d % on dev questions in 2 attempts; expected"):
        text_training.train("qwen3", WORLD, recipe, **SIZES)


def test_dev_accuracy_asks_every_task_and_never_the_data(monkeypatch):
    """A stand-in that always says A is right where A is."""
    _, tokenizer = architectures.build("qwen3", WORLD, **SIZES)
    asking = text_training.Prompts(tokenizer, prompts.INSTRUCTION)
    score = torch.nn.functional.one_hot(torch.tensor(tokenizer.convert_tokens_to_ids("A")), len(tokenizer)).float()
    parts = []
    real = synthetic_text.questions
    monkeypatch.setattr(synthetic_text, "questions", lambda w, t, p, **more: parts.append(p) or real(w, t, p, **more))

    class Stub:
        def __call__(self, input_ids, attention_mask, logits_to_keep):
            return type("Output", (), {"logits": score.expand(len(input_ids), logits_to_keep, -1)})

    accuracy = text_training.dev_accuracy(Stub(), asking, WORLD, 1)
    assert set(accuracy) == set(TASKS)
    assert all(0.1 < value < 0.6 for value in accuracy.values())
    assert accuracy["pairs"] > 0.35
    assert set(parts) == {"dev"}
