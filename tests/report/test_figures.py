"""Figures: what is drawn is what the tables say, every name can be drawn, and the bytes do not change."""

from __future__ import annotations

import dataclasses
import itertools
import os
import subprocess
import sys
import warnings
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

from culture_neurons.errors import ConfigError, FileError
from culture_neurons.report import figures
from culture_neurons.report.figures import (
    caption_text,
    drawing,
    fonts,
    images,
    layers,
    overlap,
    related,
    robustness,
    style,
    titles,
)
from culture_neurons.report.figures import tables as contents
from culture_neurons.report.figures.baseline import wilson
from culture_neurons.report.registry import FIGURES, FigureFile
from culture_neurons.tables import TABLES
from tests.conftest import slow_but
from tests.figures_tables import NAMES, SELECTORS, build, swap_images

PLANTED, DEMO = "planted-qwen2.5-vl", "demo-qwen2.5-vl"


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    return figures.read(build(tmp_path_factory.mktemp("tables")), TABLES)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The same of three cultures and few sizes of masks, for tests that draw every kind."""
    folder = build(tmp_path_factory.mktemp("small"), cultures=["A", "B", "Ελλάδα"], fractions=(0.005, 0.01),
                   selectors=["cas", "culnig-specific", "random-matched"], n_layers=3)  # fmt: skip
    return figures.read(folder, TABLES)


def texts(figure: Figure) -> list[str]:
    """All texts of a figure, names at its axes among them."""
    names = [t for ax in figure.axes for axis in (ax.xaxis, ax.yaxis) for t in axis.get_ticklabels()]
    return [t.get_text() for t in {*figure.findobj(Text), *names} if t.get_visible() and t.get_text()]


def file_of(kind: str, model: str = PLANTED, selector: str = "cas") -> FigureFile:
    per = FIGURES[kind].per
    return FigureFile(kind, "" if per == "run" else model, selector if per == "selector" else "")


def said_of(tables, kind: str, model: str = PLANTED, selector: str = "cas", selectors=("cas",)) -> str:
    return drawing.caption(tables, file_of(kind, model, selector), selectors, 0.01)


@pytest.mark.parametrize("kind", FIGURES)
def test_every_figure_is_readable_at_column_width_and_says_planted(small, kind):
    assert not drawing.empty(small, file_of(kind), ["cas", "culnig-specific"], 0.01)
    figure = drawing.draw_figure(small, file_of(kind), ["cas", "culnig-specific"], 0.01)
    ink = figure.get_tightbbox()  # nothing leaves the page
    width, height = figure.get_size_inches()
    assert width in (style.SINGLE, style.DOUBLE)
    assert min(ink.x0, ink.y0) > -0.02
    assert ink.x1 < width + 0.02
    assert ink.y1 < height + 0.02
    assert "planted" in " ".join(texts(figure))
    assert not [t for t in figure.findobj(Text) if t.get_visible() and t.get_text() and t.get_fontsize() < 7]
    caption = said_of(small, kind, selectors=["cas", "culnig-specific"])
    assert "planted" in caption
    assert any(character.isdigit() for character in caption)
    assert caption.count(". ") <= 2, caption
    assert r"planted\-qwen2\.5\-vl" in caption_text.as_rst({kind: caption})
    if FIGURES[kind].per != "run":
        assert "planted" not in said_of(small, kind, DEMO)


def test_a_model_that_is_not_planted_never_says_so(small):
    for kind in ("drops", "matrix", "layers"):
        assert "planted" not in " ".join(texts(drawing.draw_figure(small, file_of(kind, DEMO), ["cas"], 0.01)))


def all_equal(tables: contents.Tables) -> contents.Tables:
    """All masks of a selector are one, and the model answers at chance."""
    more = dict(tables.more)
    more["overlaps"] = more["overlaps"].assign(overlap=1.0)
    more["sets"] = more["sets"].assign(shared="yes")
    more["sets_effects"] = more["sets_effects"].assign(drop=-1.0, logprob_drop=-0.1, rank=1)
    counts = tables.layers.assign(count=3)
    summary = tables.summary.assign(cross_drop=np.nan, specificity=np.nan)
    baseline = tables.baseline.assign(level="at chance", accuracy=0.25)
    return dataclasses.replace(tables, more=more, layers=counts, summary=summary, baseline=baseline)


def no_mask(tables: contents.Tables) -> contents.Tables:
    """All masks are empty, so that nothing was asked under them."""

    def unknown(table):
        pattern = "jaccard|overlap|^self|^cross|observed|null|drop|change|difference|precision|recall|again"
        return table.mask(np.broadcast_to(table.columns.str.contains(pattern), table.shape))

    more = {name: table if name == "finetuning" else unknown(table) for name, table in tables.more.items()}
    more["sets_effects"] = more["sets_effects"].iloc[:0]
    return dataclasses.replace(
        tables, more=more, layers=tables.layers.assign(count=0), summary=unknown(tables.summary),
        effects=tables.effects.iloc[:0], evidence=tables.evidence.iloc[:0],
    )  # fmt: skip


def no_rows(tables: contents.Tables) -> contents.Tables:
    """No table has a row."""
    needed = {name: getattr(tables, name).iloc[:0] for name in contents.NEEDED}
    return contents.Tables(**needed, more={name: table.iloc[:0] for name, table in tables.more.items()})


def no_rows_of_a_model(tables: contents.Tables) -> contents.Tables:
    """No table has a row of one of two models."""

    def without(table):
        return table[table["model"] != PLANTED]

    needed = {name: without(getattr(tables, name)) for name in contents.NEEDED}
    return contents.Tables(**needed, more={name: without(table) for name, table in tables.more.items()})


#: Kinds that say in words that there is nothing to draw, by what is done to the tables.
WORDS = {
    all_equal: {"related"},
    no_mask: set(FIGURES) - {"baseline", "images", "finetuning", "sets", "transfer"},  # which do not hang on masks
    no_rows: set(FIGURES),
    # Others show the other model.
    no_rows_of_a_model: {kind for kind in FIGURES if FIGURES[kind].per != "run"} | {"benchmark"},
}


@pytest.mark.parametrize("kind", FIGURES)
@pytest.mark.parametrize("otherwise", slow_but([no_rows], WORDS))
def test_where_there_is_nothing_to_draw_figure_and_caption_say_so(small, kind, otherwise):
    tables = otherwise(small)
    words = drawing.empty(tables, file_of(kind), ["cas"], 0.01)
    assert bool(words) == (kind in WORDS[otherwise])
    figure = drawing.draw_figure(tables, file_of(kind), ["cas"], 0.01)
    caption = said_of(tables, kind)
    if words:
        assert words in " ".join(texts(figure))
        assert caption.endswith(f"{words}.")
        assert figure.get_size_inches()[1] < 1
    else:
        assert figure.axes
        assert caption
        assert "nan" not in caption


def test_layers_have_the_shares_of_the_table(tables):
    figure = figures.plot_layers(tables, PLANTED, ["cas", "mad"], 0.01)
    for ax, selector in zip(figure.axes, ("cas", "mad"), strict=True):
        part = contents.rows(tables.layers, PLANTED, selector, 0.01)
        expected = part.groupby("layer")["count"].sum()
        outline = ax.patches[0].get_xy()
        np.testing.assert_allclose(outline[1:-1:4, 1][: len(expected)], 100 * expected / expected.sum())
        assert ax.lines[0].get_ydata() == [100 / len(expected)] * 2
        assert ax.get_title().endswith(f"\nn = {expected.sum() // len(NAMES)}")


def test_layers_say_the_sizes_of_masks_that_differ(tmp_path):
    tables = figures.read(build(tmp_path, models=(PLANTED,), selectors=["cas", "mad"], fractions=(0.01,)))
    of_one = tables.layers.query("selector == 'cas' and culture == @NAMES[0] and count > 0").index
    tables.layers.loc[of_one[0], "count"] += 5
    same, larger = figures.plot_layers(tables, PLANTED, ["mad", "cas"], 0.01).axes
    n = int(same.get_title().rpartition(" ")[2])
    assert larger.get_title().endswith(f"\nn = {n:,} to {n + 5:,}")


@pytest.fixture(scope="module")
def projected(tmp_path_factory):
    """Tables of a run with selectors by attribution; culture-general masks are all the same."""
    selectors = ["cas", "culnig-general", "culnig-specific"]
    folder = tmp_path_factory.mktemp("projected")
    made = figures.read(build(folder, models=(PLANTED,), selectors=selectors, fractions=(0.01,)))
    general = made.layers["selector"] == "culnig-general"
    first = made.layers[general & (made.layers["culture"] == NAMES[0])]["count"].to_numpy()
    made.layers.loc[general, "count"] = np.tile(first, len(NAMES))
    return made


def test_neurons_by_attribution_are_stacked_by_module(projected):
    selectors = ["cas", "culnig-general", "culnig-specific"]
    figure = figures.plot_layers(projected, PLANTED, selectors, 0.01)
    said = said_of(projected, "layers", selectors=selectors)
    # Statistics are of the questions answered correctly, attributions of all.
    asked = projected.baseline[["n_identify", "n_identify_correct"]].sum()
    assert asked["n_identify"] > asked["n_identify_correct"]
    one, other = (f"{asked[c]:,}" for c in ("n_identify_correct", "n_identify"))
    assert f"chosen on {one} correctly answered questions and {other} questions" in said
    assert f", from {one} questions" in titles.source(projected, PLANTED, "cas")
    assert f", from {other} questions" in titles.source(projected, PLANTED, "culnig-general")
    for ax, selector in list(zip(figure.axes, selectors, strict=True))[1:]:
        mean = contents.rows(projected.layers, PLANTED, selector).groupby(["site", "layer"])["count"].sum() / len(NAMES)
        whole, *_, lowest = (patch.get_xy()[1:-1:4, 1][:4] for patch in ax.patches)
        np.testing.assert_allclose(whole, 100 * mean.groupby("layer").sum() / mean.sum())
        np.testing.assert_allclose(lowest, 100 * mean["gate_proj"] / mean.sum())
        share = 100 * mean[["q_proj", "k_proj", "v_proj"]].sum() / mean.sum()
        assert f"{share:.2g} % of those of {contents.selector_name(selector)} lie in the attention" in said
    assert {"attention q", "attention v", "even spread"} <= set(texts(figure))
    assert "attention k" not in texts(figure)  # none was chosen there


def test_layers_are_summed_over_sites(projected):
    cultures, counts = contents.layer_counts(projected, PLANTED, "culnig-specific", 0.01)
    part = projected.layers[projected.layers["selector"] == "culnig-specific"]
    expected = part.groupby(["culture", "layer"])["count"].sum()
    assert [counts[cultures.index(c), layer] for c, layer in expected.index] == expected.tolist()


def test_the_matrix_has_masks_down_and_evaluated_cultures_across(tables):
    figure = figures.plot_matrix(tables, PLANTED, "cas", 0.01)
    shown = figure.axes[0].collections[0]
    part = tables.effects
    part = part[(part["model"] == PLANTED) & (part["selector"] == "cas") & (part["top_fraction"] == 0.01)]
    names = sorted(NAMES)
    row = part[(part["mask_culture"] == names[1]) & (part["eval_culture"] == names[2])]
    assert shown.get_array()[1, 2] == pytest.approx(row["drop"].item())
    low, high = shown.get_clim()
    assert low == -high
    assert high == pytest.approx(part["drop"].abs().max())
    logprob = figure.axes[2].collections[0].get_array()
    assert logprob[1, 2] == pytest.approx(row["logprob_drop"].item())


def test_drops_show_the_summary(tables):
    figure = figures.plot_drops(tables, PLANTED, SELECTORS, 0.01)
    part = tables.summary
    part = part[(part["model"] == PLANTED) & (part["selector"] == "mad") & (part["top_fraction"] == 0.01)]
    drawn = {float(line.get_xdata()[0]) for line in figure.axes[0].lines if len(line.get_xdata()) == 1}
    for column in ("self_drop", "cross_drop", "random_self_drop"):
        assert any(value == pytest.approx(part[column].item()) for value in drawn)
    assert contents.is_control(tables, PLANTED, "random-matched")
    assert not contents.is_control(tables, PLANTED, "mad")


def test_dose_has_a_panel_per_selector_and_all_fractions(tables):
    figure = figures.plot_dose(tables, PLANTED, SELECTORS)
    assert len(figure.axes) == 2 * 4  # the control is a line in each
    line = max(figure.axes[0].lines, key=lambda line: len(line.get_xdata()))
    np.testing.assert_allclose(line.get_xdata(), [0.002, 0.005, 0.01, 0.02, 0.05])
    assert figure.axes[0].get_xscale() == "log"


def test_accuracy_with_and_without_the_image_is_that_of_the_table(tables):
    figure = figures.plot_images(tables)
    (ax,) = figure.axes
    table = tables.more["images"]
    every = table[table["culture"].isna()]
    marks = [float(line.get_xdata()[0]) for line in ax.lines if len(line.get_xdata()) == 1]
    np.testing.assert_allclose(sorted(marks), sorted(100 * every["accuracy"]))
    dots = np.concatenate([np.asarray(dots.get_offsets())[:, 0] for dots in ax.collections])
    np.testing.assert_allclose(sorted(dots), sorted(100 * table.loc[table["culture"].notna(), "accuracy"]))
    assert {"with the image", "grey image", "no image", "chance", f"{PLANTED}\n(planted)\ndemo"} <= set(texts(figure))
    said = said_of(tables, "images")
    assert "asked as they are, with a grey image of the same size, and as text alone" in said
    assert f"{PLANTED} (planted)" in said
    alone = dataclasses.replace(tables, more={"images": table})  # a run without further data sets
    assert {DEMO, f"{PLANTED}\n(planted)"} <= set(texts(figures.plot_images(alone)))


def test_images_of_other_cultures_and_further_data_sets_are_drawn_too(tables):
    table = swap_images(tables.more["images"], "quiz")
    more = dataclasses.replace(tables, more={"images": table})
    figure = figures.plot_images(more)
    (ax,) = figure.axes
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == [f"{DEMO}\ndemo", f"{DEMO}\nquiz", f"{PLANTED}\n(planted)\ndemo", f"{PLANTED}\n(planted)\nquiz"]
    every = table[table["culture"].isna()]
    marks = {float(line.get_ydata()[0]): float(line.get_xdata()[0]) for line in ax.lines if len(line.get_xdata()) == 1}
    assert len(marks) == len(every) == 2 * (3 + 4)
    for i, (model, name) in enumerate((m, s) for m in (DEMO, PLANTED) for s in ("demo", "quiz")):
        mine = every[(every["model"] == model) & (every["set"] == name)].set_index("control")["accuracy"]
        drawn = [x for y, x in sorted(marks.items()) if abs(y - i) < 0.5]
        np.testing.assert_allclose(drawn, 100 * mine[[c for c in images.CONTROLS if c in mine.index]])
    assert "another culture's image" in texts(figure)
    n = every.loc[every["model"] == DEMO, "n"].max()
    assert f"{2 * n:,} questions with an image per model" in texts(figure)
    assert "as text alone, and with the image of another culture" in said_of(more, "images")
    assert said_of(more, "images").endswith(f"{2 * n:,} questions per model.")


def test_stability_is_that_of_the_table(tables):
    figure = figures.plot_stability(tables, PLANTED, SELECTORS)
    table = contents.rows(tables.more["stability"], PLANTED)
    for ax, column in zip(figure.axes, ("jaccard_halves", "jaccard_bootstrap"), strict=True):
        drawn = [np.asarray(line.get_ydata(), float) for line in ax.lines]
        for _, part in table.groupby("selector"):
            expected = part.groupby("top_fraction")[column].mean().to_numpy()
            assert any(len(y) == 3 and np.allclose(y, expected) for y in drawn)
        chance = table.groupby("top_fraction")["jaccard_chance"].mean()
        np.testing.assert_allclose(ax.lines[0].get_ydata(), chance)
    assert {"CAS", "MAD", "LAPE", "LAP", "by chance, at most"} <= set(texts(figure))
    assert "random-matched" not in texts(figure)


def test_stability_says_which_cultures_it_knows_nothing_of(tables):
    table = tables.more["stability"]
    values = list(table.columns[table.columns.get_loc("selected_again") : table.columns.get_loc("planted")])
    for single, said in (([NAMES[0]], "168 recorded questions of 7 cultures (1 culture of one image left out)"),
                         (NAMES, "0 recorded questions of 0 cultures (8 cultures of one image left out)")):  # fmt: skip
        mine = table["culture"].isin(single)
        some = table.assign(n_images=table["n_images"].where(~mine, 1), **{c: table[c].where(~mine) for c in values})
        changed = dataclasses.replace(tables, more={**tables.more, "stability": some})
        assert said in texts(figures.plot_stability(changed, PLANTED, ["cas", "mad"]))
        caption = said_of(changed, "stability")
        assert "no culture's questions could be resampled" in caption if single is NAMES else said in caption
    assert not [text for text in texts(figures.plot_stability(tables, PLANTED, ["cas"])) if "left out" in text]


def test_overlaps_are_in_the_order_of_their_clustering(tables):
    names, values, _ = overlap.shared(tables, PLANTED, "cas", 0.01)
    figure = figures.plot_overlap(tables, PLANTED, ["cas"], 0.01)
    tree, cells = figure.axes[:2]
    shown = fonts.labels(names)
    order = [shown.index(label.get_text()) for label in cells.get_yticklabels()]
    np.testing.assert_allclose(cells.collections[0].get_array(), values[np.ix_(order, order)])
    # The tables have two groups of cultures, one of even and one of odd places.
    groups = [NAMES.index(names[i]) % 2 for i in order]
    assert groups in ([0] * 4 + [1] * 4, [1] * 4 + [0] * 4)
    assert len(tree.collections[0].get_segments()) == len(names) - 1
    again = figures.plot_overlap(tables, PLANTED, ["cas"], 0.01)
    assert [t.get_text() for t in again.axes[1].get_yticklabels()] == [t.get_text() for t in cells.get_yticklabels()]


def test_overlaps_are_those_of_the_selector_that_has_some(tables):
    table = tables.more["overlaps"]
    known = table["selector"] == "lap"
    for overlap_of, words in ((table["overlap"] * 0, True), (table["overlap"] * np.nan, True),
                              (table["overlap"].where(known, 0), False), (known * 0.5, False)):  # fmt: skip
        some = dataclasses.replace(tables, more={**tables.more, "overlaps": table.assign(overlap=overlap_of)})
        assert bool(drawing.empty(some, file_of("overlap"), ["cas", "lap"], 0.01)) == words
        assert words or overlap.most_structured(some, PLANTED, ["cas", "lap"], 0.01) == "lap"


def test_two_empty_masks_have_no_overlap_in_the_map(tables):
    table = tables.more["overlaps"]
    pair = (table["a"] == table["a"].iloc[0]) & (table["b"] == table["b"].iloc[0])
    changed = table.assign(overlap=table["overlap"].where(~pair))
    some = dataclasses.replace(tables, more={**tables.more, "overlaps": changed})
    _, values, _ = overlap.shared(some, PLANTED, "cas", 0.01)
    assert np.isnan(values).sum() == len(values) + 2
    cells = figures.plot_overlap(some, PLANTED, ["cas"], 0.01).axes[1].collections[0].get_array()
    assert np.ma.getmaskarray(np.ma.masked_invalid(cells)).sum() == len(values) + 2


def test_two_cultures_have_a_tree_of_one_branch(tables):
    table = tables.more["overlaps"]
    two = sorted(NAMES)[:2]
    some = {**tables.more, "overlaps": table[table["a"].isin(two) & table["b"].isin(two)].assign(overlap=0.5)}
    tree, *_ = figures.plot_overlap(dataclasses.replace(tables, more=some), PLANTED, ["cas", "mad"], 0.01).axes
    assert len(tree.collections[0].get_segments()) == 1
    assert overlap.most_structured(dataclasses.replace(tables, more={}), PLANTED, ["cas"], 0.01) is None


def test_shuffled_labels_and_strengths_are_those_of_the_tables(tables):
    figure = figures.plot_robustness(tables, PLANTED, "cas")
    table = contents.rows(tables.more["permutations"], PLANTED, "cas")
    for ax, measure in zip(figure.axes[:2], ("accuracy", "logprob"), strict=True):
        part = table[table["measure"] == measure]
        dots = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "o"]
        np.testing.assert_allclose(sorted(dots), sorted(part["observed"]))
    shown = texts(figure)
    assert "mean over cultures" in shown
    assert any("99 times" in text for text in shown)
    table = contents.rows(tables.more["strengths"], PLANTED, "cas")
    own = next(line for line in figure.axes[3].lines if line.get_marker() == "o")
    np.testing.assert_allclose(own.get_xdata(), [0, 0.5, 1.0, 1.5])
    np.testing.assert_allclose(own.get_ydata()[1:], table.loc[table["measure"] == "logprob", "self"])
    assert robustness.known_changes(tables, PLANTED, "mad") == {}  # whose masks were not ablated again
    alone = dataclasses.replace(tables, more={"strengths": tables.more["strengths"]})
    assert len(figures.plot_robustness(alone, PLANTED, "cas").axes) == 2
    assert "shuffled" not in said_of(alone, "robustness")


def test_data_sets_show_the_accuracies_of_the_table(tables):
    selectors = ["cas", "random-matched"]
    assert contents.is_control(tables, PLANTED, "random-matched")
    figure = figures.plot_sets(tables, PLANTED, ["cas", "lap"])
    part = contents.rows(tables.more["sets"], PLANTED, "cas")
    shown = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert shown == ["demo", r"quiz & more \$x\$", "reasoning"]  # the order of the table; $ is no mathematics
    dots = {(round(float(line.get_xdata()[0]), 6), line.get_marker()) for line in figure.axes[0].lines
            if len(line.get_xdata()) == 1}  # fmt: skip
    for _, row in part.iterrows():
        before = 100 * row["baseline_accuracy"]
        assert (round(before + row["change"], 6), "o" if row["factor"] == 0 else "^") in dots
        assert (round(before + row["random_change"], 6), "D") in dots
    texts_shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts_shown == ["without masks", "suppressed (×0)", "enhanced (×2)", "random mask", "chance"]
    low, high = figure.axes[0].get_xlim()
    assert all(low < x < high for x, _ in dots)
    alone = dataclasses.replace(tables, more={**tables.more, "sets": tables.more["sets"].assign(random_change=np.nan)})
    assert "random mask" not in [
        t.get_text() for t in figures.plot_sets(alone, PLANTED, selectors).legends[0].get_texts()
    ]


def test_transfer_shows_own_other_and_random_changes_of_each_data_set(tables):
    figure = figures.plot_transfer(tables, PLANTED, ["cas", "lap"])
    part = contents.rows(tables.more["sets"], PLANTED).query("factor == 0").set_index(["set", "selector"])
    assert [ax.get_title().partition("\n")[0] for ax in figure.axes] == ["demo", r"quiz & more \$x\$", "reasoning"]
    ends = [(box.x0, box.x1) for box in (ax.title.get_window_extent() for ax in figure.axes)]
    assert all(before[1] < after[0] for before, after in itertools.pairwise(ends))  # whatever the names are
    for ax, name in zip(figure.axes, ("demo", "quiz & more $x$", "reasoning"), strict=True):
        dots = {(round(float(line.get_xdata()[0]), 6), line.get_marker()) for line in ax.lines
                if len(line.get_xdata()) == 1}  # fmt: skip
        expected = set()
        for selector in ("cas", "lap"):
            row = part.loc[name, selector]
            expected.add((round(row["random_logprob_change"], 6), "D"))
            if name == "reasoning":  # of none of the masks' cultures: all questions alike
                expected.add((round(row["logprob_change"], 6), "s"))
            else:
                expected |= {(round(row["own_logprob_change"], 6), "o"), (round(row["other_logprob_change"], 6), "s")}
        assert dots == expected
        low, high = ax.get_xlim()
        assert all(low < x < high for x, _ in dots)
    assert "accuracy" not in said_of(tables, "transfer")


def test_transfer_says_on_which_data_masks_were_chosen(tables):
    overlaps = pd.DataFrame({"model": PLANTED, "a": ["cas", "lap"], "b": ["cas-words", "lap-words"],
                             "chosen_on_a": "demo", "chosen_on_b": ["words", "words & more"]})  # fmt: skip
    several = dataclasses.replace(tables, more={**tables.more, "data_overlaps": overlaps})
    none = dataclasses.replace(tables, more={**tables.more, "data_overlaps": overlaps[:0]})
    end = figures.transfer.caption_transfer(several, PLANTED).rpartition(". ")[2]
    shaded = "shaded: masks chosen on other questions of this data set. Masks"
    assert shaded in figures.transfer.caption_transfer(several, PLANTED)
    assert "shaded" not in figures.transfer.caption_transfer(none, PLANTED)
    assert end == ("Masks were chosen on other questions of the first data set, those of cas-words on words, those of "
                   "lap-words on words & more.")  # fmt: skip
    assert figures.transfer.caption_transfer(none, PLANTED).endswith("of the first data set alone.")


def test_masks_on_the_data_that_they_were_chosen_on_stand_on_a_ground_of_their_own(tables):
    """There no effect can have been carried over."""
    overlaps = pd.DataFrame({"model": PLANTED, "a": ["cas"], "b": ["lap"], "chosen_on_a": "demo",
                             "chosen_on_b": "quiz & more $x$"})  # fmt: skip
    made = dataclasses.replace(tables, more={**tables.more, "data_overlaps": overlaps})
    figure = figures.plot_transfer(made, PLANTED, ["cas", "lap", "random-matched"])
    shaded = [[(patch.get_y() + 0.5, patch.get_height()) for patch in ax.patches] for ax in figure.axes]
    assert shaded == [[(0, 1)], [(1, 1)], []]  # cas on demo, lap on the quiz; a control is chosen nowhere
    assert "chosen here" in texts(figure)
    alone = dataclasses.replace(tables, more={**tables.more, "data_overlaps": overlaps[:0]})
    figure = figures.plot_transfer(alone, PLANTED, ["cas", "lap"])
    assert not any(ax.patches for ax in figure.axes)
    assert "chosen here" not in texts(figure)


def test_what_masks_on_different_data_share_is_drawn_by_culture_and_by_layer(tables):
    names = ["Peru", "Ghana"]
    of_layer = [(culture, layer, n, 6, 4, 2 * n / (10 - 2 * n)) for culture in names for layer, n in ((0, 1), (1, 3))]
    of_layer += [(culture, None, 4, 12, 8, 0.2) for culture in names]
    part = pd.DataFrame(of_layer, columns=["culture", "layer", "n_shared", "n_a", "n_b", "expected"])
    part["expected"] = [2 / 8, 3 / 7, 2 / 8, 3 / 7, 0.1, 0.2]  # of layers: 2 and 3 of 10 by chance
    part["overlap"] = part["n_shared"] / (part["n_a"] + part["n_b"] - part["n_shared"])
    part = part.assign(model=PLANTED, top_fraction=0.01, chosen_on_a="demo", chosen_on_b="words")
    weak = part.assign(overlap=part["overlap"] / 2)
    pairs = [part.assign(a="cas", b="words-cas"), weak.assign(a="cas", b="words-mad"),
             weak.assign(a="mad", b="words-mad")]  # fmt: skip
    overlaps = pd.concat(pairs, ignore_index=True).astype({"layer": "Int64"})
    shown = dataclasses.replace(tables, more={**tables.more, "data_overlaps": overlaps})
    figure = figures.plot_data_overlaps(shown, PLANTED, 0.01)
    # Each selector once: the pair that shares most, and the best of the rest.
    assert [ax.get_title(loc="left") for ax in figure.axes if ax.get_title(loc="left")] == [
        "CAS (on demo) and words-cas (on words)", "MAD (on demo) and words-mad (on words)"]  # fmt: skip
    by_culture, by_layer = figure.axes[:2]
    assert [label.get_text() for label in figure.axes[2].get_xticklabels()] == ["Ghana", "Peru"]
    assert [bar.get_height() for bar in by_culture.patches] == pytest.approx([0.25, 0.25])
    assert [line[0, 1] for line in by_culture.collections[0].get_segments()] == pytest.approx([0.2, 0.1])
    assert [bar.get_height() for bar in by_layer.patches] == [1, 3]
    assert by_layer.lines[0].get_ydata() == pytest.approx([2, 3, 3])
    assert "mean over 2 cultures" in said_of(shown, "data-overlaps")
    none = dataclasses.replace(tables, more={**tables.more, "data_overlaps": overlaps[:0]})
    assert "no culture has masks" in said_of(none, "data-overlaps")
    one = Figure().subplots()
    assert figures.plot_data_overlaps(shown, PLANTED, 0.01, ax=one) is one.figure
    assert one.get_ylabel() == "Shared neurons per mask"


def test_related_cultures_stand_side_by_side_with_their_ranks(tables):
    figure = figures.plot_related(tables, PLANTED, "cas")
    panels = figure.axes[::2]
    assert len(panels) == 2  # of the third data set no culture has a mask
    cultures = [name.get_text() for name in panels[0].get_yticklabels()]
    part = contents.rows(tables.more["sets_effects"], PLANTED, "cas").query("factor == 0")
    for ax, name in zip(panels, ("demo", "quiz & more $x$"), strict=True):
        mine = part[part["set"] == name].set_index(["mask_culture", "eval_culture"])
        names = {fonts.label(c): c for c in NAMES}
        drawn = ax.collections[0].get_array()
        ranks = {tuple(text.get_position()): text.get_text() for text in ax.texts}
        assert len(ranks) == len(mine)
        for i, j in [(0, 0), (2, 5), (7, 3)]:
            key = names[cultures[i]], names[cultures[j]]
            if key in mine.index:
                assert drawn[i, j] == pytest.approx(mine.loc[key, "logprob_drop"])
                assert ranks[j + 0.5, i + 0.5] == str(mine.loc[key, "rank"])
    missing = set(NAMES) - set(part[part["set"] == "quiz & more $x$"]["eval_culture"])
    assert panels[1].collections[0].get_array().mask[:, [names[c] in missing for c in cultures]].all()


def test_the_order_of_cultures_goes_by_mutual_harm():
    rng = np.random.default_rng(0)
    alike = np.where((np.arange(6)[:, None] - np.arange(6)) % 2 == 0, -1.0, 0.0)
    values = [alike + 5 * rng.normal(size=6) + 5 * rng.normal(size=(6, 1)) for _ in range(2)]
    values[1][:, 4] = np.nan
    found = related.order(values)
    assert {frozenset(found[:3]), frozenset(found[3:])} == {frozenset([0, 2, 4]), frozenset([1, 3, 5])}
    assert related.order([]) == []
    assert related.order([np.full((2, 2), np.nan)]) == [0, 1]
    assert sorted(related.order([np.full((4, 4), np.nan)])) == [0, 1, 2, 3]


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Tables of more cultures than a figure has room for."""
    folder = build(tmp_path_factory.mktemp("many"), cultures=[f"Country {i:02}-Language" for i in range(27)],
                   n_layers=2, models=(DEMO,), selectors=["cas", "culnig-general"], fractions=(0.01,))  # fmt: skip
    return figures.read(folder, ["sets", "sets_effects"])


def test_many_cultures_have_dots_for_ranks_and_a_shared_mask_no_map(many):
    panel = figures.plot_related(many, DEMO, "cas").axes[0]
    assert not panel.texts
    assert len(panel.lines) == 3 * 27
    assert said_of(many, "related", DEMO, "culnig-general").endswith("CULNIG general: one mask for all cultures.")
    said = said_of(many, "sets", DEMO)
    assert "accuracy on demo (1,620 questions), quiz & more $x$ (1,560 questions), and reasoning (60" in said
    assert "suppressed (×0) and enhanced (×2)" in said
    said = said_of(many, "related", DEMO)
    assert "neurons suppressed (×0)) on the questions of each culture (columns), on demo and quiz & more $x$." in said


def test_many_cultures_keep_their_labels_apart(many):
    figure = figures.plot_matrix(many, DEMO, "cas", 0.01)
    figure.canvas.draw()
    boxes = sorted(
        (t.get_window_extent().y0, t.get_window_extent().y1) for t in figure.axes[0].get_yticklabels() if t.get_text()
    )
    assert len(boxes) > 10
    assert all(above[0] - below[1] > -2 for below, above in pairwise(boxes))


def test_benchmark_shows_three_designs_of_each_selector_and_the_controls(tables):
    figure = figures.plot_benchmark(tables, ["cas", "mad"], 0.01)
    assert len(figure.axes) == 3  # one planted model
    table = tables.more["benchmark"]
    part = table[np.isclose(table["top_fraction"], 0.01)]
    part = part[(part["samples_per_culture"] == "all") & (part["label_noise"] != 0.25) | (part["label_noise"] == 0)]
    for ax, (column, target) in zip(
        figure.axes,
        [("average_precision", "planted"), ("average_precision", "effective"), ("precision", "planted")],
        strict=True,
    ):
        marks = [float(line.get_xdata()[0]) for line in ax.lines if len(line.get_xdata()) == 1]
        np.testing.assert_allclose(sorted(marks), sorted(part.loc[part["target"] == target, column]))
    shown = texts(figure)
    assert {"all questions", "5 questions per culture", "50\u00a0% of cultures shuffled", "random choice"} <= set(shown)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names[:2] == ["CAS", "MAD"]
    assert set(names) == {contents.selector_name(s) for s in SELECTORS}
    assert f"{PLANTED} (planted)" in shown
    assert f"planted neurons of {PLANTED} (planted), from all questions, 5 questions per culture, and 50" in said_of(
        tables, "benchmark"
    )


def test_benchmark_without_effective_neurons_says_so(tables):
    table = tables.more["benchmark"]
    few = dataclasses.replace(tables, more={"benchmark": table[table["target"] == "planted"]})
    assert "no such neurons" in texts(figures.plot_benchmark(few, ["cas"], 0.01))


def test_a_selector_without_neurons_beside_others_has_an_empty_panel(tables):
    layers_of = tables.layers.assign(count=tables.layers["count"].where(tables.layers["selector"] != "mad", 0))
    figure = figures.plot_layers(dataclasses.replace(tables, layers=layers_of), PLANTED, ["cas", "mad"], 0.01)
    assert [t.get_text() for t in figure.axes[1].texts] == [layers.NO_NEURON]
    assert figure.axes[1].get_title() == "MAD\nn = 0"


def test_one_culture_and_one_fraction(tmp_path):
    made = figures.read(
        build(tmp_path, cultures=["Ελλάδα"], models=(PLANTED,), selectors=["cas"], fractions=(0.01,)), TABLES
    )
    made.summary["cross_drop"] = np.nan
    made.evidence.drop(made.evidence.index, inplace=True)
    assert said_of(made, "overview").endswith(": no mask was held against others.")
    for kind in ("baseline", "drops", "dose", "layers", "matrix", "forest", "depth", "robustness"):
        assert drawing.draw_figure(made, file_of(kind), ["cas"], 0.01).axes


@pytest.mark.parametrize("found", [True, False])
def test_every_name_is_drawn_or_escaped_and_never_an_empty_box(monkeypatch, tmp_path, found):
    if not found:  # a machine without further fonts
        monkeypatch.setattr(fonts, "system_fonts", lambda: ())
        fonts._family_for.cache_clear()
    try:
        with warnings.catch_warnings(), style.styled(NAMES):
            warnings.simplefilter("error")  # matplotlib warns of a missing glyph
            figure = style.figure(3, 2)
            figure.text(0, 0, "\n".join(fonts.labels(NAMES)))
            figures.save(figure, tmp_path / "names")
        drawn = fonts.printable("日本 Ελλάδα")
        assert drawn.endswith(" Ελλάδα")
        if not found:
            assert drawn == "<65E5><672C> Ελλάδα"
            assert fonts.printable("한국 ひ तक") == "hangug hi taka"  # as they sound
            missing = fonts.without_font(["A", "日本", "Ελλάδα", "한국", "a\tb"])
            assert missing == {"日本": "<65E5><672C>", "한국": "hangug"}
    finally:
        fonts._family_for.cache_clear()


def test_names_are_literal_shortened_and_on_one_line():
    assert fonts.printable("a\nb\x07") == "a b<7>"
    assert fonts.label("$x$") == r"\$x\$"
    assert fonts.label("Indonesia-Minangkabau", 12) == "Indone…kabau"
    assert len(fonts.shorten("日" * 20, 10)) <= 6
    assert fonts.labels(["A" * 30, "A" * 31], 9) == ["AAAA…AAAA", "AAAA…AAAA (2)"]
    figure = style.figure(3, 1)
    figure.text(0, 0, fonts.label("costs $5 and $6$"))
    text = figure.texts[0]
    assert text._preprocess_math(text.get_text()) == ("costs $5 and $6$", False)


@pytest.mark.workflow
def test_same_bytes_in_another_process(tmp_path):
    program = (
        "import sys; from culture_neurons.report import figures as f; t = f.read(sys.argv[1]);"
        "f.save(f.plot_baseline(t), sys.argv[2])"
    )
    folder = build(tmp_path / "tables", models=(PLANTED,), selectors=["cas"], fractions=(0.01,), cultures=["Ελλάδα"])
    subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(folder), str(tmp_path / "v2.5_other")],
        check=True,
        env={**os.environ, "PYTHONPATH": ":".join(filter(None, sys.path)), "PYTHONHASHSEED": "1"},
    )
    figures.save(figures.plot_baseline(figures.read(folder)), tmp_path / "v2.5_own")
    for suffix in ("pdf", "png"):
        one, two = ((tmp_path / f"v2.5_{which}.{suffix}").read_bytes() for which in ("own", "other"))
        assert one == two
        assert not any(word in one for word in (b"CreationDate", b"Software", b"matplotlib.org"))
    assert b"/Subtype /CIDFontType2" in (tmp_path / "v2.5_own.pdf").read_bytes()  # Type 42, as publishers want


def test_captions_of_means_count_the_questions_of_cultures_with_a_mask(tmp_path):
    made = figures.read(build(tmp_path, models=(DEMO,), selectors=["cas"], fractions=(0.01,)))
    made.effects.drop(made.effects.index[made.effects["mask_culture"] == NAMES[0]], inplace=True)
    for kind in ("drops", "dose", "overview"):
        assert "420 evaluated questions" in said_of(made, kind, DEMO), kind
    assert "480 evaluated questions" in said_of(made, "matrix", DEMO)


def test_headings_count_the_same_questions_as_captions(tmp_path):
    made = figures.read(build(tmp_path, models=(DEMO,), selectors=["cas", "random-matched"], fractions=(0.005, 0.01)))
    made.effects.drop(made.effects.index[made.effects["mask_culture"] == NAMES[0]], inplace=True)
    for figure in (
        figures.plot_drops(made, DEMO, ["cas"], 0.01),
        figures.plot_dose(made, DEMO, ["cas"]),
        figures.plot_overview(made, [DEMO], ["cas"], 0.01),
    ):
        assert "; 420 questions" in figure.texts[1].get_text()


def test_captions_say_the_range_where_numbers_of_questions_differ(tmp_path):
    made = figures.read(build(tmp_path, models=(DEMO, PLANTED), selectors=["cas"], fractions=(0.01,)), ["images"])
    assert "480 questions per model, 60 questions per culture." in said_of(made, "baseline")
    few = (made.effects["model"] == PLANTED) & (made.effects["mask_culture"] == NAMES[0])
    made.effects.drop(made.effects.index[few], inplace=True)
    made.baseline.loc[(made.baseline["model"] == PLANTED) & (made.baseline["culture"] == NAMES[0]), "n"] = 20
    shown = made.more["images"]
    shown.loc[(shown["model"] == PLANTED) & shown["culture"].isna(), "n"] = 440
    assert "440 to 480 questions per model, 20 to 60 questions per culture." in said_of(made, "baseline")
    assert "440 to 480 questions per model" in figures.plot_baseline(made).texts[1].get_text()
    assert "440 to 480 questions per model." in said_of(made, "images")
    for kind in ("overview", "forest"):
        assert "420 to 480 evaluated questions per model" in said_of(made, kind), kind


def small_gains(folder):
    """Tables in which every change is a small gain, and ends of intervals lie beyond all values."""
    made = figures.read(build(folder, models=(DEMO,), selectors=["cas", "mad"], fractions=(0.005, 0.01)))
    made.effects["drop"], made.effects["logprob_drop"] = 1.2, 0.06
    for infix, unit in (("", 1.0), ("logprob_", 0.05)):
        for kind, value in (("self", 1.1), ("cross", 0.9), ("random_self", 0.2)):
            for end, add in (("", 0.0), ("_low", -0.3), ("_high", 0.7)):
                made.summary[f"{kind}_{infix}drop{end}"] = unit * (value + add)
    return made


def test_small_gains_are_not_cut_off(tmp_path):
    made = small_gains(tmp_path)
    for ax in figures.plot_drops(made, DEMO, ["cas", "mad"], 0.01).axes:
        low, high = ax.get_xlim()
        shown = [x for line in ax.lines if line.get_transform() == ax.transData for x in line.get_xdata()]
        shown += [x for dots in ax.collections for x in dots.get_offsets()[:, 0]]
        assert max(shown) in (pytest.approx(1.8), pytest.approx(0.09))
        assert low < min(shown)
        assert max(shown) < high
    for i, ax in enumerate(figures.plot_dose(made, DEMO, ["cas", "mad"]).axes):
        assert ax.get_ylim()[0] < -0.05
        assert ax.get_ylim()[1] > (1.8 if i < 2 else 0.09)


def test_noise_does_not_fill_the_width(tmp_path):
    made = small_gains(tmp_path)
    changes = [c for c in made.summary if "drop" in c]
    made.summary[changes] *= 0.01
    made.effects[["drop", "logprob_drop"]] *= 0.01
    for ax, smallest in zip(figures.plot_drops(made, DEMO, ["cas"], 0.01).axes, (2.0, 0.1), strict=True):
        assert ax.get_xlim() == pytest.approx((-1.1 * smallest, 0.35 * smallest))


def test_cultures_without_neurons_have_no_line(tmp_path):
    made = figures.read(build(tmp_path, models=(DEMO,), selectors=["cas"], fractions=(0.01,)))
    made.layers.loc[made.layers["culture"].isin(NAMES[:2]), "count"] = 0
    (ax,) = figures.plot_layers(made, DEMO, ["cas"], 0.01).axes
    dashed, *lines = ax.lines
    assert len(lines) == len(NAMES) - 2
    counts = contents.layer_counts(made, DEMO, "cas", 0.01)[1]
    shares = [100 * row / row.sum() for row in counts if row.sum()]
    for line, share in zip(lines, shares, strict=True):
        np.testing.assert_allclose(line.get_ydata(), share)
    assert dashed.get_ydata() == [25.0] * 2


@pytest.mark.parametrize("known", [True, False])
def test_random_masks_are_named_only_where_they_are_drawn(tmp_path, known):
    made = figures.read(build(tmp_path, models=(DEMO,), selectors=["cas", "mad"], fractions=(0.005, 0.01)))
    if not known:
        made.summary[[c for c in made.summary if c.startswith("random")]] = np.nan
    for figure in (
        figures.plot_drops(made, DEMO, ["cas", "mad"], 0.01),
        figures.plot_dose(made, DEMO, ["cas", "mad"]),
    ):
        words = [text.get_text() for text in figure.legends[0].get_texts()]
        assert words[:2] == ["own culture", "other cultures"]
        assert ("random mask" in words) is known
    ends = ", on the other cultures', and under random masks. " if known else " and on the other cultures'. "
    assert f"are masked: on its own questions{ends}" in said_of(made, "drops", DEMO, selectors=["cas", "mad"])


def test_culture_names_stay_text(tmp_path):
    made = figures.read(build(tmp_path, cultures=["007", "NA"], models=(DEMO,), selectors=["cas"], fractions=(0.01,)))
    assert made.cultures == ["007", "NA"]
    assert contents.matrix(made, DEMO, "cas", 0.01, "drop")[0] == ["007", "NA"]


def test_a_table_that_is_not_there_is_an_error_that_names_it(tmp_path):
    build(tmp_path, models=(DEMO,), selectors=["cas"], fractions=(0.01,))
    (tmp_path / "summary.csv").unlink()
    with pytest.raises(FileError, match=r"summary\.csv: no such file"):
        figures.read(tmp_path)
    build(tmp_path, models=(DEMO,), selectors=["cas"], fractions=(0.01,))
    (tmp_path / "layers.csv").write_text("model,selector\n", encoding="utf-8")
    with pytest.raises(FileError, match="'top_fraction' is missing"):
        figures.read(tmp_path)


def test_unknown_names_have_the_nearest_known_one(tables):
    with pytest.raises(ConfigError, match="did you mean 'cas'"):
        contents.require(tables.selectors(DEMO), "csa", "selector")
    with pytest.raises(ConfigError, match=r"no result at top fraction 0\.3"):
        contents.require_fraction(tables.summary, 0.3)


def test_wilson_by_hand():
    # n = 10, p = 0.5: centre 0.5, half width z sqrt(0.025 + z^2 / 400) / (1 + z^2 / 10).
    low, high = wilson(np.array([5, 0]), np.array([10, 0]))
    np.testing.assert_allclose([low[0], high[0]], [0.2366, 0.7634], atol=1e-4)
    assert (low[1], high[1]) == pytest.approx((0, 1), abs=1e-6)


def test_fine_tuning_shows_the_change_of_every_set_and_the_task(tables):
    figure = figures.plot_finetuning(tables, DEMO)
    table = tables.more["finetuning"]
    part = table[(table["model"] == DEMO) & table["culture"].isna() & table["seed"].isna()]
    tasks = list(dict.fromkeys(part["task"]))
    assert len(figure.axes) == 2 * len(tasks)
    for task, change, gain in zip(tasks, figure.axes[::2], figure.axes[1::2], strict=True):
        of = part[part["task"] == task]
        marks = [line for line in change.lines if line.get_marker() in "osD"]
        assert sorted(x for line in marks for x in line.get_xdata()) == pytest.approx(sorted(of["change"]))
        ends = [tuple(line.get_xdata()) for line in change.lines if len(line.get_xdata()) == 2][1:]  # without the zero
        expected = sorted(zip(of["change_low"], of["change_high"], strict=True))
        assert sorted(e for e in ends if e in expected) == expected
        after = [line.get_xdata()[0] for line in gain.lines if line.get_marker() in "osD"]
        assert after == pytest.approx([100 * of["task_accuracy_after"].iloc[0]] * 3)
        labels = [tick.get_text() for tick in change.get_yticklabels()]
        assert labels[0] == "demo *"
        assert not any("*" in label for label in labels[1:])  # the others do not differ
    assert "2 seeds" in " ".join(texts(figure))


def test_a_dose_says_which_masks_have_no_random_ones_beside_them(tmp_path):
    selectors = ["cas", "mad", "random-matched"]
    made = figures.read(build(tmp_path, models=(DEMO,), selectors=selectors, fractions=(0.005, 0.01)))
    assert "No random" not in said_of(made, "dose", DEMO, selectors=["cas", "mad"])
    of, unknown = made.summary["selector"], [c for c in made.summary if c.startswith("random")]
    made.summary.loc[(of == "cas") & np.isclose(made.summary["top_fraction"], 0.01), unknown] = np.nan
    note = "No random masks of the same size were judged beside CAS (1\u00a0%)"
    assert said_of(made, "dose", DEMO, selectors=["cas", "mad"]).endswith(f" {note}.")
    assert note in texts(figures.plot_dose(made, DEMO, ["cas", "mad"]))
    made.summary.loc[of == "mad", unknown] = np.nan
    assert f"{note} and MAD" in texts(figures.plot_dose(made, DEMO, selectors))


@pytest.mark.parametrize(("kind", "scale"), [("matrix", 1.0), ("related", 1.0), ("related", 0.1), ("overlap", 0.003)])
def test_numbers_at_the_scale_of_four_cultures_stand_apart_and_on_the_page(tmp_path, kind, scale):
    made = figures.read(build(tmp_path, cultures=["Ghana", "Italy", "Japan", "Peru"], models=(DEMO,),
                              selectors=["cas"], fractions=(0.01,)), TABLES)  # fmt: skip
    more = {name: made.more[name] for name in made.more}
    more["overlaps"] = more["overlaps"].assign(overlap=more["overlaps"]["overlap"] * scale)
    more["sets_effects"] = more["sets_effects"].assign(logprob_drop=more["sets_effects"]["logprob_drop"] * scale)
    effects = made.effects.assign(drop=40 * scale * made.effects["drop"])
    scaled = dataclasses.replace(made, more=more, effects=effects)
    figure = drawing.draw_figure(scaled, file_of(kind, DEMO), ["cas"], 0.01)
    figure.canvas.draw()
    scales = [ax for ax in figure.axes if min(ax.get_window_extent().size) < 0.12 * figure.dpi]
    assert scales
    for ax in scales:
        axis = ax.yaxis if kind == "overlap" else ax.xaxis
        low, high = axis.get_view_interval()
        shown = [text for at, text in zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True) if low <= at <= high]
        boxes = [text.get_window_extent() for text in shown]
        assert len(boxes) >= 2
        for box, after in pairwise(boxes):
            assert after.x0 > box.x1 or after.y0 > box.y1
        assert max(box.x1 for box in boxes) < figure.bbox.x1


def test_a_long_name_of_a_selector_stands_whole_beside_its_row(tmp_path):
    name = "effect-size-recognise"
    made = figures.read(build(tmp_path, models=(DEMO, "m"), selectors=["cas", name], fractions=(0.01,)))
    for kind in ("overview", "drops"):
        figure = drawing.draw_figure(made, file_of(kind, DEMO), ["cas", name], 0.01)
        assert name in texts(figure)
        assert figure.get_tightbbox().x0 > -0.02


def test_the_forest_has_every_culture_s_own_change_of_all_models_and_selectors(tables):
    figure = figures.plot_forest(tables, [DEMO, PLANTED], ["cas", "mad"], 0.01)
    panels = iter(figure.axes)
    for model in (DEMO, PLANTED):
        for column in ("drop", "logprob_drop"):
            ax = next(panels)
            marks = [c for c in ax.collections if isinstance(c, PathCollection)]
            for points, selector in zip(marks, ("cas", "mad"), strict=True):
                part = contents.rows(tables.effects, model, selector, 0.01)
                own = part[part["mask_culture"] == part["eval_culture"]].sort_values("eval_culture")
                np.testing.assert_allclose(sorted(points.get_offsets()[:, 0]), sorted(own[column]))
    planted, plain = figure.axes[2], figure.axes[0]
    assert planted.get_xlim()[0] < 3 * plain.get_xlim()[0]  # each has a scale of its own


def test_own_changes_stand_against_the_mean_of_the_others(tables):
    figure = figures.plot_own_against_cross(tables, [PLANTED], ["cas"], 0.01)
    (ax,) = figure.axes
    part = contents.rows(tables.effects, PLANTED, "cas", 0.01)
    matrix = part.pivot(index="mask_culture", columns="eval_culture", values="logprob_drop")
    points = {name: (float(matrix.drop(index=name)[name].mean()), float(matrix.loc[name, name])) for name in matrix}
    np.testing.assert_allclose(ax.collections[0].get_offsets(), [points[name] for name in sorted(points)])
    assert ax.lines[-1].get_xdata().tolist() == ax.lines[-1].get_ydata().tolist()


def test_depth_is_relative_and_1_is_an_even_spread(tables):
    (ax,) = figures.plot_depth(tables, [DEMO, PLANTED], ["cas"], 0.01).axes
    even, *lines = ax.lines
    assert even.get_ydata() == [1, 1]
    for line, model in zip(lines, (DEMO, PLANTED), strict=True):
        counts = contents.rows(tables.layers, model, "cas", 0.01).groupby("layer")["count"].sum()
        np.testing.assert_allclose(line.get_xdata(), [0, 1 / 3, 2 / 3, 1])
        np.testing.assert_allclose(line.get_ydata(), 4 * counts / counts.sum())
        assert np.mean(line.get_ydata()) == pytest.approx(1)


def test_figures_and_captions_have_the_noun_of_the_run_and_names_stay(tmp_path):
    folder = build(tmp_path, cultures=["joy", "Culture shock"], models=(PLANTED,), selectors=["cas"], fractions=(0.01,))
    made = figures.read(folder, TABLES, "emotion")
    for kind in FIGURES:
        figure = drawing.draw_figure(made, file_of(kind), ["cas"], 0.01)
        said = " ".join([*texts(figure), said_of(made, kind)]).replace("Culture shock", "")
        assert "ulture" not in said, (kind, said)
    assert "Culture shock" in texts(drawing.draw_figure(made, file_of("matrix"), ["cas"], 0.01))
    assert "an emotion" in said_of(made, "own-against-cross")


def test_nats_of_a_matrix_have_two_decimals(tables):
    made = figures.plot_matrix(tables, PLANTED, "cas", 0.01)
    cells = [t.get_text() for t in made.axes[2].texts]
    assert cells
    assert all(len(cell.partition(".")[2]) == 2 for cell in cells if cell != "0")
