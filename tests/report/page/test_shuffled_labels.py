from __future__ import annotations

import dataclasses

import pytest

from culture_neurons.report import figures
from culture_neurons.report.page import shuffled_labels
from tests.figures_tables import build

PLANTED, DEMO = "planted-qwen2.5-vl", "demo-qwen2.5-vl"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build(tmp_path_factory.mktemp("tables"), fractions=(0.01,))


def test_the_sentence_has_the_numbers_of_the_table(folder):
    tables = figures.read(folder, ["permutations"])
    (text,) = shuffled_labels.sentences(tables, PLANTED)
    assert text.startswith(f"{PLANTED} (planted), against shuffled culture labels (CAS, top 1\u00a0%, 99 times")
    assert "accuracy −29.0 points against −0.2 [−2.0, 0.8], adjusted p = 0.020" in text
    assert "log-probability of the right option −1.450 nats against" in text
    (text,) = shuffled_labels.sentences(tables, DEMO)
    assert "planted" not in text


def test_a_mean_that_was_compared_with_nothing_has_no_p(folder):
    tables = figures.read(folder, ["permutations"])
    table = tables.more["permutations"]
    none = table.assign(**dict.fromkeys(["null", "null_low", "null_high", "p_value", "p_adjusted"], float("nan")))
    changed = dataclasses.replace(tables, more={"permutations": none})
    (text,) = shuffled_labels.sentences(changed, PLANTED)
    assert "accuracy −29.0 points, with nothing to compare it with (no label could be shuffled); log-prob" in text
    assert "nan" not in text
    assert "p unknown" not in text


def test_without_shuffled_labels_nothing_is_said(folder):
    assert shuffled_labels.sentences(figures.read(folder), PLANTED) == []
