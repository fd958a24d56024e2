"""The synthetic world in words: facts that need the culture, and parts that never ask the same."""

from __future__ import annotations

import re
from collections import Counter
from itertools import combinations

import pytest

from culture_neurons.data import registry, source
from culture_neurons.data.benchmarks.common import CONTROL
from culture_neurons.data.readers import synthetic, synthetic_text
from culture_neurons.errors import ConfigError

SPEC = {"type": "synthetic-text", "seed": 3}


def rows(**settings):
    return registry.read(SPEC | settings).rows


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"tasks": "culture"}, r"source: unknown key 'tasks' \(did you mean 'task'"),
        ({"task": "cultures"}, r"source.task: 'cultures' \(did you mean 'culture'\?\); expected one of culture, gen"),
        ({"task": ["culture"]}, r"source.task: \['culture'\].*; expected one of"),
        ({"part": "test"}, r"source.part: 'test'; expected one of train, dev, data"),
        ({"wording": 3}, r"source.wording: 3; expected one of 1, 2"),
        ({"wording": True}, r"source.wording: True; expected one of 1, 2"),
        ({"wording": 2, "task": "pairs"}, r"source.wording: 2; task pairs has wording 1 only"),
        ({"cultures": 99}, r"cultures is 99; expected an integer from 2 to 16"),
        ({"categories": 0}, r"categories is 0"),
        ({"motifs": 9}, r"motifs is 9; expected an integer from 2 to 8"),
        ({"words": "own"}, r"words is 'own'"),
        ({"samples_per_culture": 0}, r"samples_per_culture is 0"),
        ({"samples_per_culture": 2.5}, r"samples_per_culture is 2.5"),
        ({"seed": -1}, r"seed is -1"),
        ({"seed": "x"}, r"source.seed: expected a whole number, found 'x'"),
        ({"control": 1}, r"source.control: expected true or false, found 1"),
        ({"image_size": 56}, r"unknown key 'image_size'"),
    ],
)
def test_settings_out_of_range_are_named(spec, expected):
    with pytest.raises(ConfigError, match=expected):
        rows(**spec)


def test_settings_are_checked_where_a_model_is_trained_too():
    for spec in ({"tasks": "culture"}, {"part": "test"}, {"motifs": 9}):
        with pytest.raises(ConfigError):
            synthetic_text.world(SPEC | spec)


@pytest.mark.parametrize("task", synthetic_text.TASKS)
def test_questions_have_the_shape_of_a_source(task):
    table = rows(task=task)
    assert set(source.REQUIRED) <= set(table.columns)
    assert {"culture", "country", "question_id"} <= set(table.columns)
    assert registry.read(SPEC | {"task": task}).images == {"type": "none"}
    assert table["sample_id"].is_unique
    names = synthetic.CULTURES[:8] if task in ("culture", "mention") else ("all",)
    assert table.groupby("culture").size().to_dict() == dict.fromkeys(names, 48)
    for row in table.itertuples():
        assert len(set(row.options)) == len(row.options) == (2 if task == "pairs" else 4)
        assert 0 <= row.label < len(row.options)
        assert row.question.endswith("?") or row.question.endswith(".")


def test_a_perfect_predictor_knows_the_facts_of_the_world():
    world = synthetic_text.world(SPEC)
    for wording in (1, 2):
        for row in rows(wording=wording).itertuples():
            topic, occasion = row.question_id.split("-")
            place = world.facts.cultures.index(row.culture), world.facts.categories.index(topic)
            assert row.options[row.label] == world.facts.words[(*place, synthetic_text.OCCASIONS.index(occasion))]
            assert set(row.options) <= set(world.facts.words[place])
            assert {row.culture, topic, occasion} <= set(re.findall(r"Costa Verena|\w+", row.question))
            assert row.category == topic
    for row in rows(task="general").itertuples():
        kind, item = row.question_id.split("-")
        right = world.general[synthetic_text.KINDS.index(kind), synthetic_text.THINGS.index(item)]
        assert row.options[row.label] == right
        assert {kind, item} <= set(re.findall(r"\w+", row.question))
    for row in rows(task="mention").itertuples():
        assert row.options[row.label] == row.culture
        assert [name for name in world.facts.cultures if name in row.question] == [row.culture]
    for row in rows(task="pairs", samples_per_culture=200).itertuples():
        first, second = row.question_id.split(" - ")
        assert row.options[row.label] == ("Yes" if first == second else "No")
        assert row.question.count(first) == (2 if first == second else 1)
        assert second in row.question


@pytest.mark.parametrize(("task", "chance"), [("culture", 0.25), ("general", 0.25), ("mention", 0.25), ("pairs", 0.5)])
def test_a_constant_predictor_is_at_chance(task, chance):
    table = rows(task=task, samples_per_culture=400 if task in ("general", "pairs") else 48)
    shares = table["label"].value_counts(normalize=True)
    assert shares.between(0.75 * chance, 1.25 * chance).all()
    if task == "pairs":
        right = Counter(options[label] for options, label in zip(table["options"], table["label"], strict=True))
        assert right == {"Yes": 200, "No": 200}


def test_without_the_culture_every_word_is_as_likely():
    table = rows()
    table["right"] = [options[label] for options, label in zip(table["options"], table["label"], strict=True)]
    for _, of_fact in table.groupby("question_id"):
        counts = of_fact["right"].value_counts()
        assert len(counts) == 4
        assert counts.nunique() == 1


def test_every_fact_is_asked_equally_often():
    assert set(rows().groupby(["culture", "question_id"]).size()) == {2}
    assert set(rows(samples_per_culture=60).groupby(["culture", "question_id"]).size()) == {2, 3}
    assert rows(samples_per_culture=24)[["culture", "question_id"]].duplicated().sum() == 0


@pytest.mark.parametrize("task", synthetic_text.TASKS)
def test_parts_share_no_question_and_train_knows_every_fact(task):
    world = synthetic_text.world(SPEC)
    by_part = {part: synthetic_text.questions(world, task, part, n=400) for part in synthetic_text.PARTS}
    for one, other in combinations(by_part, 2):
        assert not {q.text for q in by_part[one]} & {q.text for q in by_part[other]}
        if task == "pairs":
            assert not {q.fact for q in by_part[one]} & {q.fact for q in by_part[other]}
    if task != "pairs":
        facts = {part: {(q.culture, q.fact) for q in questions} for part, questions in by_part.items()}
        assert facts["train"] == facts["dev"] == facts["data"]
        templates = synthetic_text.WORDINGS[task]
        assert len(by_part["train"]) + len(by_part["dev"]) + len(by_part["data"]) == len(facts["data"]) * len(templates)
    else:
        assert {part: len(questions) for part, questions in by_part.items()} == dict.fromkeys(synthetic_text.PARTS, 400)


def test_the_source_asks_the_part_and_the_wording_that_it_is_told():
    world = synthetic_text.world(SPEC)
    for settings in ({"part": "train"}, {"part": "dev", "wording": 2}, {"task": "mention"}, {"task": "general"}):
        full = {"task": "culture", "part": "data", "wording": 1} | settings
        known = {q.text for q in synthetic_text.questions(world, full["task"], full["part"], full["wording"])}
        assert set(rows(**settings)["question"]) <= known
    assert not set(rows(wording=1)["question"]) & set(rows(wording=2)["question"])


def test_pairs_are_as_many_and_as_fresh_as_asked_for():
    table = rows(task="pairs", part="train", samples_per_culture=1000)
    assert len(table) == 1000
    assert table["question"].nunique() > 700


@pytest.mark.parametrize("task", synthetic_text.TASKS)
def test_controls_keep_the_options_and_lose_the_question(task):
    questions, control = rows(task=task), rows(task=task, control=True)
    assert set(control["question"]) == {CONTROL}
    assert (control["sample_id"] == questions["sample_id"] + "-control").all()
    for column in ("options", "label", "culture", "category"):
        assert control[column].tolist() == questions[column].tolist()


def test_topics_are_the_categories_of_the_world():
    assert set(rows()["category"]) == set(synthetic.CATEGORIES[:6])
    assert set(rows(categories=3)["category"]) == set(synthetic.CATEGORIES[:3])


def test_same_settings_same_questions_other_seed_other_facts():
    first, repeated, other = rows(), rows(), rows(seed=4)
    assert first.equals(repeated)
    assert other["question"].tolist() != first["question"].tolist()
    worlds = [synthetic_text.world({"seed": seed}) for seed in (3, 4)]
    assert (worlds[0].facts.words != worlds[1].facts.words).any()
    assert (worlds[0].general != worlds[1].general).any()


def test_the_world_does_not_hang_on_what_is_asked():
    first = synthetic_text.world(SPEC)
    for settings in ({"task": "pairs"}, {"part": "train"}, {"wording": 2}, {"samples_per_culture": 7}):
        repeated = synthetic_text.world(SPEC | settings)
        assert (first.facts.words == repeated.facts.words).all()
        assert (first.general == repeated.general).all()


def test_texts_hold_every_word():
    words = lambda texts: {word for text in texts for word in re.findall(r"\w+|[^\w\s]", text)}  # noqa: E731
    world = synthetic_text.world(SPEC)
    known = words(synthetic_text.texts(world))
    for task in synthetic_text.TASKS:
        for part in synthetic_text.PARTS:
            table = rows(task=task, part=part)
            assert words(table["question"]) | words(option for o in table["options"] for option in o) <= known
    assert words([CONTROL]) <= known


def test_invented_words_differ_from_all_others():
    """The invented words have one shape, and no word of a question has it."""
    world = synthetic_text.world(SPEC)
    invented = [*world.facts.words.ravel(), *world.general.ravel()]
    assert len(set(world.general.ravel())) == world.general.size
    assert not set(world.general.ravel()) & set(world.facts.words.ravel())
    shape = re.compile("([bdfgklmnprstvz][aeiou]){2}")
    assert all(shape.fullmatch(word) for word in invented)
    own = {word.lower() for text in synthetic_text.texts(world) for word in re.findall(r"\w+", text)} - set(invented)
    others = {word for word in own if shape.fullmatch(word)}
    assert others == set()
