"""The registry of tables and figures: what a run has follows from its config, and the docs have the same."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from culture_neurons.errors import ConfigError
from culture_neurons.report import registry
from culture_neurons.report.figures import drawing
from culture_neurons.report.figures.tables import NEEDED
from culture_neurons.report.registry import FIGURES, FigureFile, figures_of
from culture_neurons.tables import TABLES, tables_of

ROOT = Path(__file__).parents[1]
DOCS = (ROOT / "docs/outputs.md").read_text(encoding="utf-8")


def run_of(**changes):
    """A run of the shape of the planted control, as `workflow.settings` describes it."""
    shown = ["lap", "lape", "lape-original", "mad", "cas", "effect-size", "culnig-specific"]
    run = {
        "models": {"planted-control": {}, "demo-llava-mistral": {}}, "planted": ["planted-control"], "shown": shown,
        "methods": dict(zip(shown, shown, strict=True)), "attributed": ["culnig-specific"], "repeated": ["cas"],
        "image_controls": ["blank"], "resampled": shown[:-1], "evaluated": [], "tasks": [], "benchmark_repeats": 5,
        "scored": shown[:-1], "chosen_on": lambda selector: "",
        "config": yaml.safe_load((ROOT / "config/control.yaml").read_text(encoding="utf-8")),
    }  # fmt: skip
    return SimpleNamespace(**run | changes)


def stems(**changes) -> set[str]:
    return {figure.stem for figure in figures_of(run_of(**changes))}


def test_the_planted_control_has_twenty_one_figures():
    figures = figures_of(run_of())
    assert len(figures) == len({figure.stem for figure in figures}) == 21
    assert figures[:4] == [FigureFile(kind) for kind in ("overview", "forest", "own-against-cross", "depth")]
    assert FigureFile("robustness", "planted-control", "cas") in figures
    assert [table for table in TABLES if table not in tables_of(run_of())] == [
        "data_overlaps", "sets", "sets_transfer", "finetuning", "finetuning_modules", "sets_effects",
    ]  # fmt: skip


def test_what_a_run_does_not_do_has_no_table_and_no_figure():
    bare = {"planted": [], "repeated": [], "image_controls": [], "resampled": [], "shown": ["culnig-specific"]}
    assert {figure.kind for figure in figures_of(run_of(**bare))} == {
        "overview", "forest", "own-against-cross", "depth", "baseline", "drops", "dose", "layers", "matrix",
    }  # fmt: skip
    assert set(tables_of(run_of(**bare))) == {*NEEDED, "cultures", "differences"}


def test_masks_of_several_data_sets_are_compared():
    assert "data_overlaps" in tables_of(run_of(chosen_on={"cas": "words"}.get))


@pytest.mark.parametrize(
    ("wanted", "repeated", "expected"),
    [
        (None, ["cas", "mad"], {"cas", "mad"}),
        (None, [], {"lap"}),
        (["mad", "lap"], ["cas"], {"lap", "mad"}),
        ("all", [], set(run_of().shown)),
    ],
)
def test_selectors_with_figures_of_their_own(wanted, repeated, expected):
    found = stems(repeated=repeated, config={"figures": {"selectors": wanted}}, models={"m": {}})
    assert {stem.removeprefix("matrix_m_") for stem in found if stem.startswith("matrix")} == expected
    assert {stem for stem in found if "robustness" in stem} == {f"robustness_m_{s}" for s in expected & set(repeated)}


def test_one_mask_for_all_cultures_has_no_figure_of_related_cultures():
    both = ["cas", "general"]
    methods = {"cas": "cas", "general": "culnig-general"}
    config = {"figures": {"selectors": "all"}}
    found = stems(evaluated=both, shown=both, attributed=both[1:], models={"m": {}}, methods=methods, config=config)
    assert {"sets_m", "related_m_cas", "matrix_m_general"} <= found
    assert "related_m_general" not in found


def test_a_list_of_figures_is_read_as_it_was_written():
    figures = figures_of(run_of())
    assert registry.read_list(registry.write_list(figures)) == figures
    with pytest.raises(ConfigError, match="expected a JSON list"):
        registry.read_list("{}")


def test_the_registry_is_light_to_import():
    heavy = "{'matplotlib', 'numpy', 'pandas', 'scipy', 'seaborn', 'torch'}"
    program = f"import sys; import culture_neurons.report.registry; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, env={"PYTHONPATH": str(ROOT / "src")})


def test_every_figure_has_functions_and_reads_tables_of_the_registry():
    for figure in FIGURES.values():
        for name in (figure.plot, figure.caption, figure.empty):
            assert callable(drawing.function(name))
        assert set(figure.reads) <= set(TABLES) - set(NEEDED)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_a_table_is_written_by_a_step(table):
    assert (ROOT / f"src/culture_neurons/steps/{table.rule}.py").is_file()
    assert table.title
    assert len(set(table.columns)) == len(table.columns)


def test_docs_have_every_table_and_no_other():
    section = DOCS[DOCS.index("\n## Tables") : DOCS.index("\n## `manifest.json`")]
    assert sorted(re.findall(r"^### `(\w+)\.csv`", section, re.M)) == sorted(TABLES)


def test_docs_have_every_figure_and_no_other():
    section = DOCS[DOCS.index("\n## Figures") : DOCS.index("\n## The plan")]
    rows = dict(re.findall(r"^\| `(.*?)` \| (.*) \|$", section, re.M))
    assert rows == {figure.pattern: figure.shows for figure in FIGURES.values()}
