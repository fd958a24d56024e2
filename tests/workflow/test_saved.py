"""A finished run is read from its folder alone."""

import json
from pathlib import Path

import pytest

from culture_neurons.errors import FileError
from culture_neurons.report.registry import read_list
from culture_neurons.tables import TABLES
from culture_neurons.workflow import saved
from culture_neurons.workflow.settings import as_json
from tests.workflow.conftest import run

ROOT = Path(__file__).parents[2]


def write(folder, config, **more):
    """The manifest of a run with this config, as its rule writes it: keys in alphabetical order."""
    folder.mkdir(exist_ok=True)
    of = run(config)
    manifest = {"config": of.published, "order": of.order} | more
    (folder / "manifest.json").write_text(as_json(manifest), encoding="utf-8")
    return of


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x", encoding="utf-8")


def value(words, option):
    """The values of an option of a command line."""
    rest = words[words.index(option) + 1 :]
    return rest[: next((i for i, word in enumerate(rest) if word.startswith("--")), len(rest))]


@pytest.mark.parametrize("config", ["config.yaml", "config/control.yaml", "config/paper-llm.yaml"])
def test_a_run_is_that_of_its_config_wherever_its_folder_lies(tmp_path, config):
    expected = write(tmp_path / "copied", config)
    found = saved.read(tmp_path / "copied")
    assert found.order == expected.order
    assert (found.figures, found.tables, found.top) == (expected.figures, expected.tables, expected.top)
    assert (found.latex_selectors, found.evaluated) == (expected.latex_selectors, expected.evaluated)
    assert found.report_settings == expected.report_settings
    assert found.path("cards", model="m") == str(tmp_path / "copied" / "m" / "cards.json")


def test_figures_and_report_have_the_noun_of_the_run(tmp_path):
    write(tmp_path, "config/control.yaml")
    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    for noun in ("emotion", None):
        manifest["config"]["group_noun"] = noun
        (tmp_path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        words, _ = saved.arguments("figures", tmp_path)
        assert words[words.index("--group-noun") + 1] == (noun or "culture")
        words, _ = saved.arguments("report", tmp_path)
        assert json.loads(words[words.index("--run") + 1])["config"]["group_noun"] == noun


def test_defaults_of_keys_that_an_earlier_version_did_not_have_are_those_of_the_schema(tmp_path):
    expected = write(tmp_path, "config/control.yaml")
    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    del manifest["config"]["evidence"]["cards"], manifest["config"]["data"]["filter"], manifest["order"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    found = saved.read(tmp_path)
    assert found.config["evidence"]["cards"] == run("config/control.yaml", evidence={}).config["evidence"]["cards"]
    assert found.config["data"]["filter"]["group_by"] == "culture"
    assert list(found.selectors) == sorted(expected.selectors)


def test_what_reads_a_missing_file_is_left_out_and_said(tmp_path):
    of = write(tmp_path, "config/control.yaml")
    touch(tmp_path, *(f"tables/{name}.csv" for name in TABLES if name != "images"))
    touch(tmp_path, *(f"{model}/cards.json" for model in of.models))
    words, notes = saved.arguments("report", tmp_path)
    assert "images" in of.further_tables
    assert value(words, "--more") == [name for name in of.further_tables if name != "images"]
    shown = read_list(value(words, "--show")[0])
    assert shown == [file for file in of.figures if file.kind != "images"]
    assert value(words, "--training") == []  # weights are often not copied
    assert value(words, "--cards") == [str(tmp_path / model / "cards.json") for model in sorted(of.models)]
    assert len(notes) == 1 + len(of.trained)
    assert notes[0] == f"{tmp_path}/tables/images.csv: no such file; what shows it is left out"
    figures, notes = saved.arguments("figures", tmp_path)
    assert read_list(value(figures, "--figures")[0]) == shown
    assert len(notes) == 1


def test_what_made_the_tables_is_said_by_the_rules_of_the_run_or_those_of_an_earlier_version(tmp_path):
    of = write(tmp_path, "config/control.yaml")
    old = "tables/provenance_tabulate_stability.json"
    touch(tmp_path, "tables/provenance_tabulate.json", old)
    words = value(saved.arguments("report", tmp_path)[0], "--provenance")
    assert words == [str(tmp_path / "tables/provenance_tabulate.json"), str(tmp_path / old)]
    names = [Path(path).name for path in of.provenance]
    touch(tmp_path, *(f"tables/{name}" for name in names))
    words = value(saved.arguments("report", tmp_path)[0], "--provenance")
    assert words == [str(tmp_path / "tables" / name) for name in names]
    assert str(tmp_path / old) not in words


def test_tables_for_a_paper_have_those_of_several_data_sets_where_masks_were_judged_on_them(tmp_path):
    of = write(tmp_path, "config.yaml")
    touch(tmp_path, "tables/sets.csv")
    words, _ = saved.arguments("report", tmp_path)
    files = [value(words, f"--{name}") for name in ("summary", "drops", "sets")]
    assert files == [[str(tmp_path / f"tables/{name}.tex")] for name in ("summary", "drops", "sets")]
    assert value(words, "--selectors") == of.latex_selectors
    assert value(words, "--top-fraction") == [of.top]
    (tmp_path / "tables/sets.csv").unlink()
    assert "--sets" not in saved.arguments("report", tmp_path)[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"manifest\.json: no such file; expected the folder of a finished run"),
        ("{", r"manifest\.json: no readable JSON"),
        ("[]", r"manifest\.json: no "),
        ('{"config": {"dataset": "d"}}', r"manifest\.json: no config with data, models, selectors"),
    ],
)
def test_a_folder_without_a_run_is_named(tmp_path, text, message):
    if text is not None:
        (tmp_path / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(FileError, match=message):
        saved.arguments("figures", tmp_path)


def test_a_name_never_leads_out_of_the_folder(tmp_path):
    write(tmp_path, "config/control.yaml")
    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    manifest["config"]["models"]["../../m"] = {}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(FileError, match=r"name '\.\./\.\./m': expected letters, digits"):
        saved.read(tmp_path)
