"""Training of single modules: what changes, that it learns, and that it is the same every time."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from culture_neurons.errors import ModelError
from culture_neurons.models.finetuning import training, updates
from culture_neurons.models.finetuning.training import Schedule, order, train
from culture_neurons.models.finetuning.updates import Lora, attach
from culture_neurons.models.inference import right_answer
from culture_neurons.models.inputs import Prompt, prepare
from culture_neurons.types import Sample
from tests.conftest import slow_but
from tests.models.conftest import TEXT, language_model
from tests.models.finetuning.test_updates import MODULES, chosen_rows, state

#: The right option stands in the question.
WORDS = ("rice", "bread", "soup", "figs", "tea", "milk")
TASK = [
    Sample(f"t{i}", "task", "t", f"Where is {WORDS[i % 6]}?", (WORDS[i % 6], WORDS[(i + 1 + i // 6) % 6]), 0)
    for i in range(24)
]
PROMPT = Prompt()


def no_image(image):
    return None


MODELS = ["qwen3", "llama", "phi3"]


@pytest.fixture(params=MODELS)
def model(request, one):
    return language_model(request.param, one.tokenizer, torch.float32)


def trained(loaded, lora, schedule, samples=TASK, opener=no_image, modules=MODULES):
    """Losses, and by name the values of the parts."""
    with attach(loaded, modules, lora, schedule.seed) as parts:
        losses = train(loaded, parts, samples, opener, PROMPT, schedule)
        return losses, {part.name: part.values.clone() for part in parts}, state(loaded)


@pytest.mark.parametrize(
    ("model", "lora"),
    # Weights and adapters; those of phi3 are rows of fused projections.
    slow_but([("phi3", None), ("qwen3", Lora(rank=4))], itertools.product(MODELS, [None, Lora(rank=4)])),
    indirect=["model"],
)
def test_only_the_chosen_modules_change_and_the_loss_falls(model, lora):
    before, rows = state(model), chosen_rows(model, MODULES)
    losses, _, during = trained(model, lora, Schedule(60, 8, 2e-2))
    assert len(losses) == 60
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.7
    for name, value in before.items():
        now = during.get(name, during.get(name.replace(".weight", ".base_layer.weight")))
        kept = ~rows[name] if name in rows and lora is None else torch.ones(len(value), dtype=torch.bool)
        assert torch.equal(now[kept], value[kept]), name
        if name in rows and lora is None and name.endswith("weight"):
            assert (now[~kept] != value[~kept]).any(dim=1).all(), name
    assert not any(p.requires_grad or p.grad is not None for p in model.model.parameters())


@pytest.mark.parametrize("name", TEXT)
def test_adapters_of_fused_projections_stay_in_their_rows(one, name):
    loaded = language_model(name, one.tokenizer, torch.float32)
    rows = chosen_rows(loaded, MODULES)
    _, _, during = trained(loaded, Lora(rank=2), Schedule(5, 8, 1e-2))
    adapters = {n: v for n, v in during.items() if "lora_B" in n}
    assert len(adapters) == len(MODULES)
    for key, value in adapters.items():
        mine = rows[key.replace("lora_B.default.", "")]
        assert torch.equal(value.any(dim=1), mine), key


@pytest.mark.parametrize("lora", [None, Lora(dropout=0.3)])
def test_same_seed_same_bytes(one, lora, tmp_path):
    def run(seed):
        path = tmp_path / "update.safetensors"
        torch.manual_seed(np.random.default_rng().integers(1 << 30))
        with attach(one, MODULES, lora, seed) as parts:
            losses = train(one, parts, TASK, no_image, PROMPT, Schedule(4, 6, 1e-2, seed))
            updates.write(path, parts, {"seed": "?"})
        return losses, path.read_bytes()

    first, repeated, other = run(1), run(1), run(2)
    assert first == repeated
    assert first[0] != other[0]
    assert first[1] != other[1]


def test_vision_language_models_learn_too(loaded, questions):
    losses, _, _ = trained(loaded, Lora(), Schedule(12, 6, 1e-2), questions.samples[:12], questions.opener)
    assert np.mean(losses[-3:]) < np.mean(losses[:3])


def test_one_step_is_that_of_adamw_on_the_gradient(model):
    """The first step of full weights, against autograd through the whole model and torch's optimiser."""
    schedule = Schedule(1, len(TASK), 1e-2)
    (questions,) = order(len(TASK), schedule)
    batch = prepare(model, [TASK[i] for i in questions], no_image, PROMPT)
    name = next(n for n in chosen_rows(model, MODULES[:1]) if n.endswith("weight"))
    weight, rows = model.model.get_parameter(name), chosen_rows(model, MODULES[:1])[name]
    copy = weight.detach().clone()
    weight.requires_grad_(True)
    loss = -right_answer(model, batch).mean()
    loss.backward()
    gradient, weight.grad = weight.grad[rows], None
    weight.requires_grad_(False)
    expected = copy[rows].clone().requires_grad_(True)
    expected.grad = gradient * min(1.0, 1.0 / float(gradient.norm()))
    torch.optim.AdamW([expected], lr=1e-2, weight_decay=0).step()
    losses, values, _ = trained(model, None, schedule, modules=MODULES[:1])
    assert losses == [pytest.approx(loss.item(), rel=1e-6)]
    (updated,) = values.values()
    torch.testing.assert_close(updated, expected.detach(), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_pieces_of_a_batch_add_up(one, monkeypatch):
    full = trained(one, Lora(), Schedule(3, 12, 1e-2))
    real, sizes = training.right_answer, []

    def short(loaded, batch):
        sizes.append(len(batch.samples))
        if len(batch.samples) > 4:
            raise torch.OutOfMemoryError("out of memory")
        return real(loaded, batch)

    monkeypatch.setattr(training, "right_answer", short)
    pieces = trained(one, Lora(), Schedule(3, 12, 1e-2))
    assert sizes == [12, 6, *[3] * 12]
    np.testing.assert_allclose(pieces[0], full[0], rtol=1e-4)
    for name, values in full[1].items():
        torch.testing.assert_close(pieces[1][name], values, rtol=1e-2, atol=1e-4)
    monkeypatch.setattr(training, "right_answer", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("no")))
    with pytest.raises(torch.OutOfMemoryError):
        trained(one, Lora(), Schedule(1, 4))


@pytest.mark.slow
def test_half_precision(one):
    half = language_model("qwen3", one.tokenizer, torch.bfloat16)
    for lora in (None, Lora()):
        losses, values, _ = trained(half, lora, Schedule(40, 8, 3e-3))
        assert np.mean(losses[-5:]) < np.mean(losses[:5])
        assert {v.dtype for v in values.values()} == {torch.float32 if lora else torch.bfloat16}
    with pytest.raises(ModelError, match="underflow in float16; set dtype bfloat16 or float32"):
        trained(replace(half, dtype="float16"), Lora(), Schedule(1))


def test_small_updates_of_half_precision_weights_add_up(one):
    """Steps far below the rounding of bfloat16 move weights in the end: the optimiser keeps its own in float32."""
    half = language_model("llama", one.tokenizer, torch.bfloat16)
    before = state(half)
    _, values, _ = trained(half, None, Schedule(60, 8, 1e-5), modules=[("gate_proj", 1)])
    ((name, updated),) = values.items()
    large = before[name].abs() > 0.02  # one step of 1e-5 is less than half of the distance to the next number
    assert (updated != before[name])[large].float().mean() > 0.2


def test_numbers_that_are_not_finite_are_refused(one, monkeypatch):
    real = training.right_answer
    monkeypatch.setattr(training, "right_answer", lambda *given: real(*given) / 0)
    with pytest.raises(ModelError, match=r"step 1 of 9 is inf, .* nan\nboth must be finite; .* \(0.0001\)"):
        trained(one, None, Schedule(9, 4))


def test_every_question_comes_once_per_round():
    schedule = Schedule(steps=10, batch_size=4, seed=3)
    batches = list(order(10, schedule))
    assert [len(batch) for batch in batches] == [4] * 10
    flat = [i for batch in batches for i in batch]
    for start in range(0, 40, 10):
        assert sorted(flat[start : start + 10]) == list(range(10))
    assert batches == list(order(10, schedule))
    assert batches != list(order(10, replace(schedule, seed=4)))
    assert [len(batch) for batch in order(3, Schedule(2, 8))] == [8, 8]


def test_the_learning_rate_rises_and_falls():
    schedule = Schedule(steps=50, learning_rate=2.0)
    rates = [schedule.rate(step) for step in range(50)]
    assert rates[:6] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0, 2.0])
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert 0 < rates[-1] < 0.1
    assert Schedule(steps=1).rate(0) == Schedule().learning_rate
