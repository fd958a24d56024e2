"""The synthetic world: facts that need the image, and images that are never shared between parts."""

from __future__ import annotations

import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from culture_neurons.data import registry, source
from culture_neurons.data.readers import synthetic
from culture_neurons.errors import ConfigError


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"culture": 8}, "unknown key 'culture'.*did you mean 'cultures'"),
        ({"cultures": 99}, "cultures is 99; expected an integer from 2 to 16"),
        ({"cultures": 2.5}, "cultures is 2.5"),
        ({"motifs": 1}, "motifs is 1"),
        ({"categories": 0}, "categories is 0"),
        ({"image_size": 50}, "image_size is 50; expected a multiple of 28"),
        ({"words": "own"}, "words is 'own'; expected 'shared' or 'unique'"),
        ({"samples_per_culture": 0}, "samples_per_culture is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"noise": 3}, "noise is 3"),
        ({"language": "German"}, "language is 'German'; expected 'english' or 'native'"),
        ({"bilingual": "yes"}, "bilingual is 'yes'; expected true or false"),
    ],
)
def test_settings_out_of_range_are_named(spec, expected):
    with pytest.raises(ConfigError, match=expected):
        synthetic.world(spec)


def test_shared_words_say_nothing_without_the_culture():
    words = synthetic.world({"cultures": 8, "motifs": 4, "seed": 3}).words
    for category in range(words.shape[1]):
        names = set(words[0, category])
        assert len(names) == 4
        for culture in range(8):
            assert set(words[culture, category]) == names
        for motif in range(4):
            assert set(Counter(words[:, category, motif]).values()) == {2}


def test_shared_words_differ_between_categories():
    words = synthetic.world({}).words
    assert not set(words[:, 0].ravel()) & set(words[:, 1].ravel())


def test_unique_words_occur_once():
    words = synthetic.world({"words": "unique"}).words
    assert len(set(words.ravel())) == words.size


def test_default_names_exercise_spaces_and_scripts():
    names = synthetic.world({}).cultures
    assert len(set(names)) == 8
    assert any(" " in name for name in names)
    assert any(not name.isascii() for name in names)


def test_parts_share_no_image():
    world = synthetic.world({"cultures": 2, "categories": 1, "motifs": 2})
    examples = [synthetic.make_examples(world, part, 5) for part in ("data", "train", "dev")]
    seen = [{image.tobytes() for image in some.pixels} for some in examples]
    assert [len(images) for images in seen] == [20, 20, 20]
    assert len(set.union(*seen)) == 60


def test_every_fact_is_drawn_equally_often():
    world = synthetic.world({"cultures": 3, "categories": 2, "motifs": 3})
    drawn = synthetic.make_examples(world, "train", 4)
    counts = Counter(zip(drawn.culture.tolist(), drawn.category.tolist(), drawn.motif.tolist(), strict=True))
    assert len(counts) == 18
    assert set(counts.values()) == {4}


def test_the_frame_tells_the_culture_and_the_middle_does_not():
    world = synthetic.world({})
    drawn = synthetic.make_examples(world, "train", 2)
    frame = drawn.pixels[:, :6].mean(axis=(1, 2))  # [image, colour]
    middle = drawn.pixels[:, 25:31, 25:31].mean(axis=(1, 2))

    def accuracy(values: np.ndarray) -> float:
        centres = np.stack([values[drawn.culture == c].mean(axis=0) for c in range(8)])
        nearest = np.linalg.norm(values[:, None] - centres, axis=2).argmin(axis=1)
        return (nearest == drawn.culture).mean()

    assert accuracy(frame) > 0.95
    assert accuracy(middle) < 0.3


def test_motifs_look_different():
    world = synthetic.world({"motifs": 8, "noise": 0.0})
    drawn = synthetic.make_examples(world, "train", 2)
    dark = (drawn.pixels[:, 12:44, 12:44].mean(axis=3) < 90).reshape(len(drawn.pixels), -1).astype(float)
    means = np.stack([dark[drawn.motif == m].mean(axis=0) for m in range(8)])
    closest = np.abs(dark[:, None] - means).mean(axis=2).argmin(axis=1)
    assert (closest == drawn.motif).mean() > 0.9


def test_questions_have_the_shape_of_a_source():
    spec = {"type": "synthetic", "samples_per_culture": 20, "seed": 5}
    table = registry.read(spec)
    rows, world = table.rows, synthetic.world(spec)
    assert set(source.REQUIRED) <= set(rows.columns)
    assert {"culture", "country", "language"} <= set(rows.columns)
    assert table.images == {"type": "embedded"}
    assert rows["sample_id"].is_unique
    assert rows.groupby("culture").size().to_dict() == dict.fromkeys(world.cultures, 20)
    for row in rows.itertuples():
        known = world.words[world.cultures.index(row.culture), world.categories.index(row.category)]
        assert len(set(row.options)) == 4
        assert set(row.options) <= set(known)
        assert 0 <= row.label < 4
        assert row.category in row.question
        assert Image.open(io.BytesIO(row.image["bytes"])).size == (56, 56)


def test_questions_about_one_image_agree_and_some_images_have_two():
    rows = synthetic.read({"samples_per_culture": 24}).rows
    rows["answer"] = [options[label] for options, label in zip(rows["options"], rows["label"], strict=True)]
    per_image = rows.groupby("image_id")
    assert per_image["answer"].nunique().max() == 1
    assert per_image["question"].nunique().eq(per_image.size()).all()
    assert per_image.size().max() == 2


def test_right_options_stand_everywhere():
    labels = synthetic.read({"samples_per_culture": 50}).rows["label"]
    assert labels.value_counts(normalize=True).between(0.15, 0.35).all()


def test_same_settings_same_bytes_other_seed_other_facts():
    spec = {"cultures": 2, "samples_per_culture": 6}
    first, repeated, other = (synthetic.read(spec | {"seed": s}).rows for s in (0, 0, 1))
    assert first.equals(repeated)
    assert first["image"].tolist() != other["image"].tolist()
    assert not np.array_equal(synthetic.world({"seed": 0}).words, synthetic.world({"seed": 1}).words)


def test_texts_cover_every_question_and_option():
    world = synthetic.world({"cultures": 2})
    known = set(synthetic.texts(world))
    rows = synthetic.read({"cultures": 2, "samples_per_culture": 30}).rows
    assert set(rows["question"]) <= known
    assert {word for options in rows["options"] for word in options} <= known


NATIVE = {"cultures": 9, "samples_per_culture": 12, "seed": 2}


def test_native_questions_say_the_same_word_for_word():
    """Ids, options, labels and images are those in English; a language has one word for each English one."""
    english, native = (synthetic.read(NATIVE | {"language": name}).rows for name in ("english", "native"))
    assert english.drop(columns="question").equals(native.drop(columns="question"))
    words: dict[tuple[str, str], set[str]] = {}
    for one, other, language in zip(english["question"], native["question"], english["language"], strict=True):
        here, there = one.rstrip("?").lower().split(), other.rstrip("?").lower().split()
        assert len(here) == len(there)
        assert other[0].isupper()
        assert other.endswith("?")
        for word, translated in zip(here, there, strict=True):
            words.setdefault((language, word), set()).add(translated)
    assert {len(found) for found in words.values()} == {1}
    said = [next(iter(found)) for found in words.values()]
    assert len(set(said)) == len(said)  # two languages have no word in common
    assert not set(said) & {word for options in english["options"] for word in options}
    # The ninth culture speaks as the first, and no other two speak alike.
    assert len({language for language, _ in words}) == 8


def test_models_learn_one_language_or_both():
    def known(**spec):
        return set(synthetic.texts(synthetic.world(NATIVE | spec)))

    english, native, both = known(), known(language="native"), known(language="native", bilingual=True)
    assert english | native == both == known(bilingual=True)
    words = set(synthetic.world(NATIVE).words.ravel().tolist())
    assert english & native == words
    rows = synthetic.read(NATIVE | {"language": "native"}).rows
    assert set(rows["question"]) <= native


def test_the_world_is_the_same_with_its_languages():
    """Facts, and so models that are trained in English, are as they were before there were languages."""
    one, other = (synthetic.world(NATIVE | {"language": name}) for name in ("english", "native"))
    assert (one.words == other.words).all()
    assert synthetic.question(one, 0, 0, culture=3) == synthetic.question(one, 0, 0) == "Which dish is this?"
