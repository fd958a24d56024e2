"""What data sets and models are, in the words of the config."""

from __future__ import annotations

import pytest

from culture_neurons.report import figures
from culture_neurons.report.page import descriptions
from tests.figures_tables import build
from tests.report.test_page import EVIL, page

CONFIG = {
    "data": {"description": "pictures of flags", "choose": {"words": {}, "recall": {"description": "not this one"}}},
    "evaluation": {"sets": {"recall": {"description": "the same in words"}, "quiz": {}}},
    "selectors": {"cas": {}, "mine": {"choose_on": "words"}, "mad": {"choose_on": "words"}},
}


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("descriptions")
    return figures.read(build(folder, models=("eye", "planted-m"), selectors=["cas", "mad"], fractions=(0.01,)))


def test_lines_come_from_the_config_with_what_each_data_set_does(tables):
    run = {"dataset": "demo", "config": CONFIG, "models": {"eye": {"description": "reads flags"}, "planted-m": {}}}
    found = descriptions.lines(tables, run, {"mine": "words", "mad": "words"})
    assert [(line["kind"], line["name"], line["text"], line["role"]) for line in found] == [
        ("questions", "demo", "pictures of flags", "one half chooses neurons, the other judges"),
        ("questions", "recall", "the same in words", "judges; a data set of the same name chooses neurons"),
        ("questions", "quiz", "", "judges"),
        ("questions", "words", "", "chooses neurons for mine and MAD"),
        ("model", "eye", "reads flags", ""),
    ]


def test_they_stand_before_the_summary_and_are_escaped(tmp_path, tables):
    run = {"dataset": "demo", "config": {"data": {"description": f"about {EVIL}"}},
           "models": {"planted-m": {"description": "cultures are invented"}}}  # fmt: skip
    html = page(tmp_path, tables, run=run)
    head = html.partition('id="summary"')[0]
    assert EVIL not in head
    assert head.index("questions: about ") < head.index("model: cultures are invented")
    assert '<dt dir="auto">planted-m (planted)</dt>' in head


def test_without_descriptions_and_further_sets_nothing_stands_there(tmp_path, tables):
    assert descriptions.lines(tables, {}, {}) == []
    assert '<dl class="descriptions">' not in page(tmp_path, tables)
