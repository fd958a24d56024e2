from __future__ import annotations

import pytest

from culture_neurons.errors import ConfigError
from culture_neurons.steps import latex
from tests.figures_tables import build


def run(folder, *more):
    latex.main(latex.arguments().parse_args([
        "--tables", str(folder / "tables"), "--selectors", "mad", "cas", "--summary", str(folder / "summary.tex"),
        "--drops", str(folder / "drops.tex"), *more,
    ]))  # fmt: skip
    return [(folder / f"{name}.tex").read_text(encoding="utf-8") for name in ("summary", "drops")]


def test_two_files_at_one_fraction(tmp_path):
    build(tmp_path / "tables", models=("planted-qwen2.5-vl",), selectors=["cas", "mad"], fractions=(0.01, 0.05))
    summary, drops = run(tmp_path, "--top-fraction", "0.05")
    assert "(planted) & MAD" in summary
    assert r"(MAD, top 5\,\%)" in drops
    assert run(tmp_path, "--top-fraction", "0.05") == [summary, drops]
    with pytest.raises(ConfigError, match=r"no result at top fraction 0\.2"):
        run(tmp_path, "--top-fraction", "0.2")


def test_accuracies_on_several_data_sets_where_they_are_asked_for(tmp_path):
    build(tmp_path / "tables", models=("planted-qwen2.5-vl",), selectors=["cas", "mad"], fractions=(0.01,))
    run(tmp_path, "--top-fraction", "0.01", "--sets")
    assert not (tmp_path / "sets.tex").exists()
    run(tmp_path, "--top-fraction", "0.01", "--sets", str(tmp_path / "sets.tex"))
    assert "MAD & $\\times 0$" in (tmp_path / "sets.tex").read_text(encoding="utf-8")
