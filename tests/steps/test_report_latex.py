"""The tables for a paper that are written with the report."""

from __future__ import annotations

import json

import pytest

from culture_neurons.errors import ConfigError
from culture_neurons.steps import report
from tests.figures_tables import build


def built(folder, fractions):
    build(folder / "tables", models=("planted-qwen2.5-vl",), selectors=["cas", "mad"], fractions=fractions)
    (folder / "counts.csv").write_text("culture,category,split,n\n", encoding="utf-8")
    (folder / "dropped.csv").write_text("sample_id,culture,reason\n", encoding="utf-8")


def run(folder, *more):
    """The texts of summary.tex and drops.tex, where they are asked for."""
    report.main(report.arguments().parse_args([
        "--tables", str(folder / "tables"), "--more", "cultures", "sets", "--figures", str(folder / "figures"),
        "--counts", str(folder / "counts.csv"), "--dropped", str(folder / "dropped.csv"),
        "--out", str(folder / "report.html"), "--selectors", "mad", "cas", "--summary", str(folder / "summary.tex"),
        "--drops", str(folder / "drops.tex"), *more,
    ]))  # fmt: skip
    files = [folder / f"{name}.tex" for name in ("summary", "drops")]
    return [path.read_text(encoding="utf-8") for path in files if path.exists()]


def test_two_files_at_one_fraction(tmp_path):
    built(tmp_path, (0.01, 0.05))
    summary, drops = run(tmp_path, "--top-fraction", "0.05")
    assert "(planted) & MAD" in summary
    assert r"(MAD, top 5\,\%)" in drops
    assert "how much more that is than under the other cultures' masks" in drops
    assert run(tmp_path, "--top-fraction", "0.05") == [summary, drops]
    with pytest.raises(ConfigError, match=r"no result at top fraction 0\.2"):
        run(tmp_path, "--top-fraction", "0.2")


def test_accuracies_on_several_data_sets_where_they_are_asked_for(tmp_path):
    built(tmp_path, (0.01,))
    run(tmp_path, "--top-fraction", "0.01", "--sets")
    assert not (tmp_path / "sets.tex").exists()
    run(tmp_path, "--top-fraction", "0.01", "--sets", str(tmp_path / "sets.tex"))
    assert "MAD & $\\times 0$" in (tmp_path / "sets.tex").read_text(encoding="utf-8")


def test_a_run_without_selectors_has_the_page_alone(tmp_path):
    built(tmp_path, (0.01,))
    assert run(tmp_path, "--selectors", "--top-fraction", "0.01", "--summary", "--drops", "--sets") == []
    assert "</html>" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not list(tmp_path.glob("*.tex"))


@pytest.mark.parametrize(("noun", "words"), [("emotion", "per emotion"), (None, "per culture")])
def test_captions_have_the_noun_of_the_run(tmp_path, noun, words):
    built(tmp_path, (0.01,))
    run_settings = json.dumps({"config": {"group_noun": noun}})
    assert words in " ".join(run(tmp_path, "--top-fraction", "0.01", "--run", run_settings)[0].split())
