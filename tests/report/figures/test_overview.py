"""The lead figure: differences and intervals of the verdicts, and a frame that is full."""

from __future__ import annotations

import numpy as np
import pytest

from culture_neurons.report import figures
from culture_neurons.report.figures import style
from culture_neurons.report.figures.overview import caption_overview
from tests.figures_tables import build

DEMO, PLANTED = "demo-qwen2.5-vl", "planted-qwen2.5-vl"
SELECTORS = ["cas", "mad"]


@pytest.fixture
def tables(tmp_path):
    made = figures.read(build(tmp_path, selectors=[*SELECTORS, "random-matched"], fractions=(0.01,)))
    both = made.evidence["difference"] - 3.0 * np.where(made.evidence["measure"] == "accuracy", 1.0, 0.05)
    made.evidence["both_low"], made.evidence["both_high"] = both, made.evidence["ci_high"] + 0.01
    return made


def lines(ax):
    """What is drawn on an axis: marks by their marker, and horizontal lines as (low, high, width)."""
    spans = [line for line in ax.lines if line.get_marker() == "None" and line.get_transform() == ax.transData]
    marks = {(line.get_marker(), float(line.get_xdata()[0])) for line in ax.lines if line.get_marker() != "None"}
    return marks, {(*map(float, line.get_xdata()), line.get_linewidth()) for line in spans}


@pytest.mark.parametrize("models", [[PLANTED], [DEMO, PLANTED]])
def test_differences_have_the_intervals_of_the_verdicts_thin_and_those_over_questions_thick(tables, models):
    axes = figures.plot_overview(tables, models, SELECTORS, 0.01).axes
    assert len(axes) == 2 * len(models)
    for i, ax in enumerate(axes):
        measure, part = ("accuracy", "logprob")[i % 2], tables.evidence
        part = part[(part["model"] == models[i // 2]) & (part["measure"] == measure)]
        marks, spans = lines(ax)
        markers = part["comparison"].map({"self-vs-random": "D", "self-vs-cross": "s"})
        assert marks == set(zip(markers, part["difference"], strict=True))
        thick = {(low, high, 2.2) for low, high in zip(part["ci_low"], part["ci_high"], strict=True)}
        thin = {(low, high, 0.8) for low, high in zip(part["both_low"], part["both_high"], strict=True)}
        assert {span for span in spans if span[0] != span[1]} == thick | thin
        low, high = ax.get_xlim()
        assert low < part["both_low"].min()
        assert part["both_high"].max() < high


def test_the_caption_says_which_intervals_are_the_verdicts(tables):
    said = caption_overview(tables, SELECTORS, 0.01)
    assert "over questions (thick), and over questions and masks (thin), which belong to the verdicts" in said
    tables.evidence.drop(columns=["both_low", "both_high"], inplace=True)  # as an earlier version wrote them
    said = caption_overview(tables, SELECTORS, 0.01)
    assert "95 % intervals over questions; 480 evaluated questions per model" in said
    words = [text.get_text() for text in figures.plot_overview(tables, [DEMO], SELECTORS, 0.01).legends[0].get_texts()]
    assert words == ["own \N{MINUS SIGN} random masks", "own \N{MINUS SIGN} other cultures' masks"]


@pytest.mark.parametrize("models", [[DEMO], [DEMO, PLANTED]])
def test_panels_fill_the_width_of_the_figure(tables, models):
    figure = figures.plot_overview(tables, models, SELECTORS, 0.01)
    assert figure.get_size_inches()[0] == style.DOUBLE
    places = [ax.get_position() for ax in figure.axes]
    assert max(place.x1 for place in places) > 0.97
    assert len({round(place.x0, 3) for place in places}) == 2  # side by side, also those of one model
    assert min(place.x0 for place in places) * style.DOUBLE < 1.4
    labels = [text.get_text() for text in (*figure.texts, *(ax.xaxis.label for ax in figure.axes))]
    of_axes = [text for text in labels if text.startswith("Difference in")]
    assert of_axes == ["Difference in accuracy (points)", "Difference in log-probability (nats)"]


def test_a_selector_without_random_masks_is_named(tables):
    lost = (tables.evidence["selector"] == "mad") & (tables.evidence["comparison"] == "self-vs-random")
    tables.evidence.loc[lost & (tables.evidence["model"] == DEMO), "difference"] = np.nan
    assert caption_overview(tables, SELECTORS, 0.01).endswith(f"; no random masks of its size beside MAD ({DEMO}).")


def test_noise_does_not_fill_the_width(tables):
    columns = ["difference", "ci_low", "ci_high", "both_low", "both_high"]
    tables.evidence[columns] = [-0.01, -0.02, 0.01, -0.03, 0.02]
    for ax, smallest in zip(figures.plot_overview(tables, [DEMO], SELECTORS, 0.01).axes, (2.0, 0.1), strict=True):
        assert ax.get_xlim() == pytest.approx((-1.1 * smallest, 0.35 * smallest))
