"""The sentences on training on another task."""

from __future__ import annotations

from culture_neurons.report import figures
from culture_neurons.report.page.finetuning import sentences
from tests.figures_tables import build
from tests.report.test_page import page


def test_the_claim_is_told_set_by_set(tmp_path):
    model = "planted-qwen2.5-vl"
    made = figures.read(build(tmp_path / "tables"), ["finetuning", "finetuning_modules"])
    found = sentences(made, model)
    table = made.more["finetuning"]
    assert len(found) == table["task"].nunique() == 2
    own = table[(table["model"] == model) & table["culture"].isna() & table["seed"].isna() & (table["set"] == "demo")]
    own = own[own["task"] == "mrpc"].set_index("choice")
    change = {choice: f"{own.loc[choice, 'change']:.1f}".replace("-", "\N{MINUS SIGN}") for choice in own.index}
    assert f"demo {change['richest']} against {change['poorest']} points (difference" in found[0]
    assert found[0].startswith(
        "planted-qwen2.5-vl (planted), trained on mrpc: the modules richest in chosen neurons cost more "
        "accuracy than the poorest on 1 of 3 data sets, and less on 0 (adjusted p < 0.05). Changes of accuracy, "
        "richest against poorest: demo "
    )
    turned = table.assign(change_vs_poorest=-table["change_vs_poorest"])
    other = sentences(figures.Tables(**{**vars_of(made), "more": {"finetuning": turned}}), model)
    assert "on 0 of 3 data sets, and less on 1 (adjusted" in other[0]
    assert "adjusted p = 0.020" in found[0]
    assert found[0].endswith("50.0 to 80.0 % with the richest, 50.0 to 80.0 % with the poorest modules.")
    assert "trained on mrpc: the modules" in page(tmp_path, made)
    some = table[table["choice"] != "poorest"]
    assert sentences(figures.Tables(**{**vars_of(made), "more": {"finetuning": some}}), model) == []
    assert sentences(figures.Tables(**{**vars_of(made), "more": {}}), model) == []


def vars_of(tables):
    return {name: getattr(tables, name) for name in ("effects", "summary", "layers", "baseline", "evidence", "planted")}
