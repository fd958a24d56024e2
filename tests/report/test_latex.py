"""Tables for a paper: their structure, their numbers, and names that TeX would read in a way of its own."""

from __future__ import annotations

import re
import shutil
import subprocess

import numpy as np
import pytest

from culture_neurons.report import figures, latex, latex_sets
from tests.figures_tables import build

MODELS = ("demo-qwen2.5-vl", "planted-qwen2.5-vl")
HOSTILE = [
    "a_b",
    "50% & more",
    "#1",
    "$x$",
    "{",
    "}",
    "\\input{x}",
    "~^",
    "[x]",
    "*",
    "x--y",
    "<|>",
    "``''",
    "A",
    '"q"',
]


@pytest.fixture
def tables(tmp_path):
    return figures.read(build(tmp_path / "tables", cultures=["A", "B"], selectors=["cas", "mad", "random-matched"],
                              fractions=(0.01, 0.05)))  # fmt: skip


def rows_of(text: str) -> list[list[str]]:
    """Cells of all rows, headings among them."""
    lines = [line.removesuffix(r" \\") for line in text.splitlines() if line.endswith(r" \\")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)&", line)] for line in lines]


def check_structure(text: str) -> None:
    """Each environment is closed, rows have as many cells as the table has columns, and braces are in pairs."""
    opened = re.findall(r"\\begin\{(\w+)\}", text)
    assert sorted(opened) == sorted(re.findall(r"\\end\{(\w+)\}", text)) == ["table", "table", "tabular", "tabular"]
    for columns, body in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", text, re.S):
        assert {len(cells) for cells in rows_of(body)} == {len(columns)}
        assert [body.count(rf"\{rule}rule") for rule in ("top", "mid", "bottom")] == [1, 1, 1]
    plain = re.sub(r"\\[{}]", "", text)
    assert plain.count("{") == plain.count("}")


def test_the_summary_has_intervals_questions_and_verdicts(tables):
    row = (tables.summary["model"] == MODELS[1]) & (tables.summary["selector"] == "cas")
    row &= tables.summary["top_fraction"] == 0.01
    tables.summary["n"] = 1920
    tables.summary.loc[row, ["self_drop", "self_drop_low", "self_drop_high"]] = [-12.34, -20.0, -0.04]
    tables.summary.loc[row, ["cross_drop", "cross_drop_low", "cross_drop_high"]] = [0.5, np.nan, np.nan]
    text = latex.summary(tables, ["cas", "mad", "lape"], 0.01)
    check_structure(text)
    accuracy, logprob = np.array_split(rows_of(text), 2)
    assert accuracy[0].tolist() == ["Model", "Selector", "Self", "Cross", "Random", "$n$", "Verdict"]
    assert accuracy[1:, :2].tolist() == [
        ["demo-qwen2.5-vl", "CAS"], ["", "MAD"], ["planted-qwen2.5-vl (planted)", "CAS"], ["", "MAD"],
    ]  # fmt: skip
    assert accuracy[3, 2:].tolist() == [
        "$-12.3$ [$-20.0$, $0.0$]", "$0.5$", "$-0.2$ [$-0.7$, $0.3$]", "1{,}920", "specific",
    ]  # fmt: skip
    assert accuracy[1, 6] == "none"
    assert re.fullmatch(r"\$-\d\.\d{3}\$ \[\$-\d\.\d{3}\$, \$-\d\.\d{3}\$\]", logprob[3, 2])
    assert text.count(r"top 1\,\%") == 2
    assert text.count(r"\addlinespace") == 2  # between models


def test_every_word_of_a_verdict_is_explained_in_the_caption(tables):
    assert {*latex.VERDICTS.values()} == {*latex.MEANINGS}
    text = latex.summary(tables, ["cas"], 0.01)
    caption = re.search(r"\\caption\{(.*)\}", text)[1]
    shown = {word for word in latex.MEANINGS if f"& {word} " in text}
    assert shown
    assert {word for word in latex.MEANINGS if f"{word}: {latex.MEANINGS[word]}" in caption} == shown


def test_drops_of_each_culture_stand_under_their_model(tables):
    tables.effects[["drop_low", "drop_high", "mcnemar_p_adjusted"]] = [-9.0, 1.0, 0.2]
    own = (tables.effects["mask_culture"] == "B") & (tables.effects["eval_culture"] == "B")
    mine = own & (tables.effects["model"] == MODELS[1])
    tables.effects.loc[own, "drop"] = -4.0
    tables.effects.loc[mine, "mcnemar_p_adjusted"] = 0.01
    gone = (tables.effects["mask_culture"] == "A") & (tables.effects["model"] == MODELS[0])
    tables.effects.drop(tables.effects.index[gone], inplace=True)
    text = latex.culture_drops(tables, "cas", 0.01)
    check_structure(text)
    head, first, second, *_ = rows_of(text)
    assert head == ["Culture", "$n$", "demo-qwen2.5-vl", "planted-qwen2.5-vl (planted)"]
    assert first[:3] == ["A", "60", "--"]
    assert second == [
        "B", "60", "$-4.0$ [$-9.0$, $1.0$]", r"{\boldmath\textbf{$-4.0$ [$-9.0$, $1.0$]}}",
    ]  # fmt: skip
    assert "Bold: the culture loses, underlined: it gains (two-sided, adjusted $p < 0.05$)" in text


def test_data_sets_stand_side_by_side_with_their_changes(tmp_path):
    build(tmp_path / "tables", cultures=["A", "B"], selectors=["cas", "random-matched"], fractions=(0.01,))
    made = figures.read(tmp_path / "tables", ["sets"])
    table = made.more["sets"]
    mine = (table["model"] == MODELS[1]) & (table["selector"] == "cas") & (table["factor"] == 0)
    columns = ["baseline_accuracy", "change", "difference", "difference_p_adjusted"]
    table.loc[mine & (table["set"] == "demo"), columns] = [0.9, -12.34, -12.0, 0.01]
    table.loc[mine & (table["set"] == "reasoning"), columns] = [0.5, -0.04, np.nan, np.nan]
    table.loc[mine & (table["set"] == "reasoning"), "change_p_adjusted"] = 0.5
    text = latex_sets.accuracies(made, ["cas"])
    head, *body = rows_of(text)
    assert head == ["Model", "Selector", "Factor", "demo", r"quiz \& more \$x\$", "reasoning"]
    assert [cells[:3] for cells in body[3:]] == [
        ["planted-qwen2.5-vl (planted)", "", ""], ["", "CAS", r"$\times 0$"], ["", "", r"$\times 2$"],
    ]  # fmt: skip
    assert body[3][3:] == ["$90.0$", "$90.0$", "$50.0$"]
    assert body[4][3] == r"{\boldmath\textbf{$77.7$ ($-12.3$)}}"
    assert body[4][5] == "$50.0$ ($0.0$)"
    assert r"top 1\,\%" in text
    assert text.count(r"\begin{tabular}{lllrrr}") == text.count(r"\end{tabular}") == 1


def test_hostile_names_stay_in_their_cells(tmp_path):
    made = figures.read(build(tmp_path / "tables", cultures=HOSTILE, models=("m_1 & {x}",), selectors=["cas"],
                              fractions=(0.01,)))  # fmt: skip
    for text in (latex.summary(made, ["cas"], 0.01), latex.culture_drops(made, "cas", 0.01)):
        check_structure(text)
        assert r"m\_1 \& \{x\}" in text
    assert r"\input" not in text
    assert latex.escape("a\u202e\nb") == "a\\textbackslash{}u202e b"
    assert latex.escape("---,,") == "-{}-{}-,{},"


def test_the_tables_compile_where_there_is_a_tex(tmp_path):
    made = figures.read(build(tmp_path / "tables", cultures=HOSTILE, models=MODELS, fractions=(0.01,)))
    (tmp_path / "summary.tex").write_text(latex.summary(made, ["cas", "mad"], 0.01), encoding="utf-8")
    (tmp_path / "drops.tex").write_text(latex.culture_drops(made, "cas", 0.01), encoding="utf-8")
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\\input{summary.tex}\\input{drops.tex}"
        "\\end{document}", encoding="utf-8",
    )  # fmt: skip
    for program in filter(shutil.which, ["pdflatex"]):
        done = subprocess.run([program, "-interaction=nonstopmode", "-halt-on-error", "paper.tex"], cwd=tmp_path,
                              capture_output=True, text=True, errors="replace", timeout=120, check=False)  # fmt: skip
        assert done.returncode == 0, done.stdout[-2000:]


def test_numbers():
    assert [latex.number(v, 1) for v in (-0.04, -1.25, np.nan, None)] == ["$0.0$", "$-1.2$", "--", "--"]


def test_interval_and_bold_of_a_culture_are_of_one_contrast(tmp_path, tables):
    made = figures.read(tmp_path / "tables", ["cultures"])
    table = made.more["cultures"]
    table[["specificity", "specificity_low", "specificity_high", "p_adjusted"]] = [-4.0, -6.0, -2.0, 0.2]
    sure = (table["model"] == MODELS[1]) & (table["culture"] == "B")
    table.loc[sure, "p_adjusted"] = 0.01
    made.effects[["mcnemar_p_adjusted", "logprob_p_adjusted"]] = 0.0001  # of another contrast: marks nothing
    text = latex.culture_drops(made, "cas", 0.01)
    check_structure(text)
    _, first, second, *_ = rows_of(text)
    assert first[2].endswith(r"\textbar{} $-4.0$ [$-6.0$, $-2.0$]")
    assert second[3].endswith(r"\textbar{} {\boldmath\textbf{$-4.0$ [$-6.0$, $-2.0$]}}")
    assert text.count(r"\textbf") == 2  # accuracy and log-probability
    assert "intervals of this difference over questions" in text


def test_captions_define_the_verdicts_that_stand_in_their_table(tables):
    tables.evidence["verdict"] = "too few masks to tell"
    text = latex.summary(tables, ["cas"], 0.01)
    assert "Verdicts: too few: so few masks could not reach significance." in text
    assert "specific:" not in text
    assert set(latex.MEANINGS) == set(latex.VERDICTS.values())


def test_an_interval_without_width_is_none_in_a_paper():
    assert latex.interval(1.0, 1.0, 1.0, 1) == "$1.0$"


def test_tables_for_a_paper_have_the_noun_of_the_run(tmp_path, tables):
    made = figures.read(tmp_path / "tables", ["cultures"], "emotion")
    for text in (latex.summary(made, ["cas"], 0.01), latex.culture_drops(made, "cas", 0.01)):
        assert "ulture" not in text
        assert "emotion" in text
