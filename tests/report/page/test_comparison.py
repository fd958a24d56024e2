"""The page of a comparison: sentences that its numbers bear out, in both directions, and texts that are escaped."""

import html
import re

import numpy as np
import pytest

from culture_neurons.analysis import compare_runs
from culture_neurons.analysis.finished_run import FinishedRun
from culture_neurons.report.figures import compared as drawing
from culture_neurons.report.figures import style
from culture_neurons.report.figures.compared import Compared
from culture_neurons.report.page import comparison
from tests import finished_runs
from tests.analysis.test_compare_runs import transferred

CHANGES = ("value", "value_low", "value_high", "other_value", "other_value_low", "other_value_high", "difference",
           "ci_low", "ci_high")  # fmt: skip


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    base = tmp_path_factory.mktemp("runs")
    folders = [finished_runs.write(base / name, seed) for seed, name in enumerate(("one", "two"))]
    path = transferred(*folders, base / "t.parquet")
    tables = compare_runs.compare(*map(FinishedRun, folders), replicates=50, transfers=[path])
    return Compared(tables, "one", "two", "0.1")


def with_numbers(both, p, **numbers):
    """The same with other numbers in the tables of effects."""
    tables = dict(both.tables)
    for name in ("paired_effects", "transferred_masks"):
        tables[name] = tables[name].assign(p_adjusted=p, **numbers)
    return Compared(tables, both.first, both.second, both.top)


def test_numbers_of_the_sentences_are_those_of_the_tables(both):
    answers, neurons, effects, moved = comparison.findings(both)
    rows = both.tables["paired_effects"]
    whole = rows[rows["culture"].isna()]
    base = whole[(whole["what"] == "baseline") & (whole["measure"] == "accuracy")].iloc[0]
    assert f"{base['value']:.1f} % of 24 shared questions right in one, {base['other_value']:.1f} % in two" in answers
    shared = drawing.shared(both)
    cas = shared[shared["selector"] == "cas"]
    assert f"share {100 * cas['overlap'].astype(float).mean():.1f} % of their neurons" in neurons
    assert f"more than by chance in {(cas['p_adjusted'] < 0.05).sum()} of 3" in neurons
    own = whole[(whole["what"] == "self") & (whole["measure"] == "logprob") & (whole["selector"] == "cas")].iloc[0]
    assert f"\N{MINUS SIGN}{abs(own['value']):.3f} [" in effects
    assert "in one and by" in effects
    assert "under masks of one and by" in moved
    assert not any("random" in text for text in (neurons, effects, moved))


@pytest.mark.parametrize(("sign", "p", "words"), [
    (-1, 0.001, ("more is lost in one", "more is lost under masks of one", "fewer right than in two")),
    (1, 0.001, ("more is lost in two", "more is lost under those of two", "more right than in two")),
    (-1, 0.2, ("no difference shown",) * 3),
    (1, np.nan, ("no difference shown",) * 3),
])  # fmt: skip
def test_words_of_a_direction_follow_its_sign_and_p_value(both, sign, p, words):
    answers, _, effects, moved = comparison.findings(with_numbers(both, p, difference=sign * 0.5))
    for text, word in zip((effects, moved, answers), words, strict=True):
        assert word in text
    for other in {"more is lost", "fewer right", "more right"} - {w[: len("more is lost")] for w in words}:
        assert p == 0.001 or other not in answers + effects + moved


def test_what_could_not_be_compared_is_listed(both):
    notes = both.tables["compared"].copy()
    notes.loc[0, ["compared", "reason"]] = ["no", "no <b>id</b> in both"]
    tables = dict(both.tables) | {"compared": notes}
    missing = comparison.missing(Compared(tables, "one", "two", "0.1"))
    assert missing["reason"].tolist() == ["no <b>id</b> in both"]
    assert len(comparison.missing(both)) == 0


def test_the_page_is_one_file_whose_texts_are_escaped(both, tmp_path):
    notes = both.tables["compared"].copy()
    notes.loc[0, ["compared", "reason"]] = ["no", "<script>alert(1)</script>"]
    shown = Compared(dict(both.tables) | {"compared": notes}, "<i>one</i>", "two\x07", "0.1")
    for name in drawing.FIGURES:
        style.save(drawing.draw(both, name), tmp_path / name)
    page = comparison.render(shown, tmp_path, {"step": "compare", "runs": ["<i>one</i>"]})
    assert "<i>one" not in page
    assert "<script" not in page
    assert "\x07" not in page
    assert page.count("data:image/png;base64,") == 4
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    text = html.unescape(re.sub(r"<[^>]+>", " ", page))
    for title in ("Do the masks do the same?", "Are the neurons the same?", "Do masks of one run hold"):
        assert title in text
    assert page == comparison.render(shown, tmp_path, {"step": "compare", "runs": ["<i>one</i>"]})


def test_the_page_shows_means_and_matched_masks_and_leaves_the_rest_to_the_files(both):
    grids = {grid["name"]: grid for grid in comparison.sections(both)}
    assert list(grids) == ["compared", "paired_effects", "shared_neurons", "transferred_masks"]
    assert len(grids["shared_neurons"]["rows"]) == 6
    rows = both.tables["paired_effects"]
    assert len(grids["paired_effects"]["rows"]) == rows["culture"].isna().sum()
    columns = [name for name, *_ in grids["paired_effects"]["columns"]]
    assert "culture" not in columns
    assert "value low" not in columns  # ends of intervals stand behind their value


def test_page_and_captions_have_the_noun_of_the_runs_and_names_stay(both, tmp_path):
    tables = {name: table.replace({"b": "Culture b"}) for name, table in both.tables.items()}
    made = Compared(tables, "one", "two", both.top, "emotion")
    for name in drawing.FIGURES:
        style.save(drawing.draw(made, name), tmp_path / name)
    page = comparison.render(made, tmp_path, {})
    text = re.sub(r"<style>.*?</style>|<[^>]*>", " ", page, flags=re.S)
    assert "per emotion" in text
    assert "masks of one emotion" in text
    assert "Culture b" in text
    assert re.findall(r"\b[Cc]ultures?\b(?! b).{20}", text) == []
