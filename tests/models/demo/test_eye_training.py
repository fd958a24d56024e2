"""Training an eye: a regression on the decoder's embeddings, which leaves the decoder alone and fails loudly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from culture_neurons.errors import ConfigError, ModelError
from culture_neurons.models.demo import eye, eye_training
from culture_neurons.models.demo.recipe import EyeRecipe

COUNTRIES = ["Japan", "Italy"]
TINY = EyeRecipe(min_accuracy=0.0, attempts=1, steps=2, batch=4, rest=1, pictures=3, held_out=2)


def test_pictures_are_other_ones_for_each_part_and_the_same_for_any_number_of_threads():
    shown = {part: eye_training.pictures(part, COUNTRIES, 2, 0) for part in (eye_training.TRAIN, eye_training.HELD_OUT)}
    again = eye_training.pictures(eye_training.TRAIN, COUNTRIES, 2, 0, threads=1)
    pixels = {part: [image.tobytes() for image in images] for part, images in shown.items()}
    assert [image.tobytes() for image in again] == pixels[eye_training.TRAIN]
    assert len({*pixels[eye_training.TRAIN], *pixels[eye_training.HELD_OUT]}) == 8


def test_a_view_without_changes_is_what_the_processor_makes(decoder, monkeypatch):
    for name in ("SCALE", "TURN", "SHIFT", "LIGHT"):
        monkeypatch.setattr(eye_training, name, 0.0)
    model, processor = eye.behind_eye(decoder)
    lesson = eye_training.Lesson.of(model, processor, COUNTRIES, TINY)
    images = eye_training.pictures(eye_training.TRAIN, COUNTRIES, TINY.pictures, TINY.seed)
    expected = processor.image_processor(images, return_tensors="pt")["pixel_values"]
    views = lesson.views(torch.arange(6), torch.Generator())
    torch.testing.assert_close(views, expected, atol=1e-4, rtol=0)
    assert lesson.country.tolist() == [0, 0, 0, 1, 1, 1]
    for country, target in zip(COUNTRIES, lesson.targets, strict=True):
        assert torch.equal(target, model.get_input_embeddings().weight[eye.sentence(processor.tokenizer, country)])


def test_views_differ_and_stay_near(decoder):
    lesson = eye_training.Lesson.of(*eye.behind_eye(decoder), COUNTRIES, TINY)
    same = torch.zeros(4, dtype=torch.int64)
    one, again = (lesson.views(same, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(one, again)
    assert all(not torch.equal(one[0], view) for view in one[1:])
    plain = (lesson.pixels[0] / 255 - lesson.mean) / lesson.deviation
    assert all(np.corrcoef(plain.flatten(), view.flatten())[0, 1] > 0.5 for view in one)


def test_training_moves_every_part_of_the_eye_and_nothing_of_the_decoder(decoder):
    before = eye.behind_eye(decoder, TINY.seed)[0].state_dict()
    model, _, summary = eye_training.train(decoder, COUNTRIES, TINY)
    own = {name for name, _ in eye.eye(model)}
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    # The norm behind the last layer is no part of the features.
    assert moved == {name for name in own if "post_layernorm" not in name}
    assert not model.training
    assert summary["countries"] == COUNTRIES
    assert summary["steps"] == 2
    assert set(summary["read"]) == set(summary["named"]) == set(summary["continued"])
    assert set(summary["read"]) == {*COUNTRIES, eye.NO_FLAG}
    assert summary["held_out_accuracy"] == pytest.approx(np.mean([summary["read"][c] for c in COUNTRIES]))


def test_held_out_pictures_are_examined_by_country(decoder, monkeypatch):
    """Against a reader and a writer that are right of some: 2 of 2, and 1 of 2."""
    model, processor = eye.behind_eye(decoder)
    own = {country: eye.sentence(processor.tokenizer, country) for country in COUNTRIES}
    nothing = eye.sentence(processor.tokenizer, eye.NO_FLAG)
    ids = [own["Japan"], own["Japan"], own["Italy"], own["Japan"], nothing, own["Italy"]]
    monkeypatch.setattr(eye_training, "read", lambda *_: ids)
    texts = ["It is Japan.", "Nippon", "Italy", "of Italy", "Nothing", "In Japan"]
    monkeypatch.setattr(eye_training, "continue_pictures", lambda *_: texts)
    assert eye_training.examine(model, processor, COUNTRIES, TINY) == {
        "read": {"Japan": 1.0, "Italy": 0.5, "nothing": 0.5}, "named": {"Japan": 0.5, "Italy": 1.0, "nothing": 0.5},
        "continued": {"Japan": "It is Japan.", "Italy": "Italy", "nothing": "Nothing"}, "accuracy": 0.75,
    }  # fmt: skip


def test_accuracy_is_a_count_that_reaches_what_it_equals(decoder, monkeypatch):
    """8 of 20 are 0.4; the mean of the two countries' shares, 0.1 and 0.7, is rounded below it."""
    model, processor = eye.behind_eye(decoder)
    own = {country: eye.sentence(processor.tokenizer, country) for country in [*COUNTRIES, eye.NO_FLAG]}
    first, second = 1, 7
    ids = [own["Japan"]] * first + [[]] * (10 - first) + [own["Italy"]] * second + [[]] * (20 - second)
    monkeypatch.setattr(eye_training, "read", lambda *_: ids)
    monkeypatch.setattr(eye_training, "pictures", lambda *_: [None] * len(ids))
    monkeypatch.setattr(eye_training, "continue_pictures", lambda *_: [""] * len(ids))
    examined = eye_training.examine(model, processor, COUNTRIES, replace(TINY, held_out=10))
    assert np.mean([examined["read"][country] for country in COUNTRIES]) < examined["accuracy"]
    assert examined["accuracy"] == (first + second) / 20


def test_the_same_settings_give_the_same_eye(decoder):
    one, other = (dict(eye.eye(eye_training.train(decoder, COUNTRIES, TINY)[0])) for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_loss_is_the_squared_error_in_units_of_the_variance(decoder, monkeypatch):
    """Against a plain loop in float64, from what the regression hands to the loop of steps."""
    model, processor = eye.behind_eye(decoder)
    lesson = eye_training.Lesson.of(model, processor, COUNTRIES, TINY)
    handed = {}
    monkeypatch.setattr(eye_training, "fit", lambda *arguments: handed.update(arguments=arguments) or 0)
    eye_training._regress(model, lesson, TINY, eye_training.SILENT)
    _, parameters, next_pictures, losses, *_ = handed["arguments"]
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {name for name, _ in parameters}
    index, views = next_pictures()
    loss, right = losses((index, views))
    targets = lesson.targets.double().numpy()
    with torch.no_grad():
        seen = torch.stack(list(model.get_image_features(pixel_values=views).pooler_output)).double().numpy()
    for i, own in enumerate(lesson.country[index].tolist()):
        apart = [np.mean((seen[i] - target) ** 2) / targets.var(ddof=1) for target in targets]
        assert loss[i].item() == pytest.approx(apart[own], rel=1e-4)
        assert right[i].item() == (int(np.argmin(apart)) == own)


def test_an_eye_that_does_not_see_is_no_result(decoder):
    with pytest.raises(
        ModelError, match=r"eye: training reached .* % on held-out pictures in 1 attempts; expected at l"
    ):
        eye_training.train(decoder, COUNTRIES, replace(TINY, min_accuracy=0.99))


def test_a_country_without_a_flag(decoder):
    with pytest.raises(ConfigError, match=r"flags: unknown country 'Japann' .did you mean 'Japan'"):
        eye_training.train(decoder, ["Japann"], TINY)
