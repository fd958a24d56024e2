"""What the rules of a comparison read, worked out from the config and two results folders."""

import json
import shutil

import pytest

from culture_neurons import files
from culture_neurons.errors import ConfigError
from culture_neurons.workflow import config_checks as checks
from culture_neurons.workflow.comparison import Comparison
from tests import finished_runs
from tests.workflow.conftest import SCHEMA, run

STANZA = SCHEMA["properties"]["models"]["additionalProperties"]


def comparison(*folders, models=None, **settings):
    changes = {"models": models} if models else {}
    return Comparison(run(runs=[str(f) for f in folders], comparison=settings, **changes), STANZA)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder, fractions = tmp_path_factory.mktemp("runs"), {"fractions": ("0.1", "0.2")}
    finished_runs.write(folder / "one", prompt={"seed": 1}, **fractions)
    finished_runs.write(folder / "two", 1, prompt={"seed": 2}, models={"m": "r1", "n": "r1"}, **fractions)
    return folder


@pytest.fixture
def folders(written, tmp_path):
    """Two runs, which a test may change."""
    return [shutil.copytree(written / name, tmp_path / name) for name in ("one", "two")]


def test_its_name_is_that_of_both_runs(folders):
    assert comparison(*folders).path("comparison") == "results/one-vs-two/comparison.html"
    assert comparison(*folders, name="mine").name == "mine"
    assert comparison().name == "none"  # the step says what is missing


def test_nothing_is_transferred_unless_it_is_asked_for(folders):
    assert comparison(*folders).transfer_files == []
    asked = comparison(*folders, transfer=True)
    assert asked.transfer_files == [
        "results/one-vs-two/m/transfer/one.parquet", "results/one-vs-two/m/transfer/two.parquet",
    ]  # fmt: skip


def test_a_command_line_gives_texts(folders):
    assert [comparison(*folders, transfer=text).with_transfer for text in ("true", "false")] == [True, False]
    tops = {"0.2": ["0.2"], ".10": ["0.1"], "1e-2": ["0.01"], "1.0": ["1"], "null": []}
    for text, top in tops.items():
        asked = comparison(*folders, top_fraction=text)
        checks.check(asked.run.config | {"evaluation": {}}, SCHEMA)
        assert asked.top == top


def test_runs_of_one_name_change_masks_too(folders, tmp_path):
    later = finished_runs.write(tmp_path / "later" / "one", 1, fractions=("0.1", "0.2"))
    asked = comparison(folders[0], later, transfer=True)
    names = [f"{tmp_path.name}-one", "later-one"]
    assert asked.name == "-vs-".join(names)
    assert list(asked.transfers) == [("m", name) for name in names]
    assert asked.questions("m", names[0]).folder == later
    assert comparison(folders[0], folders[0], transfer=True).transfers == {}


def test_masks_of_one_run_go_to_the_questions_of_the_other(folders):
    asked = comparison(*folders, transfer=True)
    one, two = folders
    assert asked.masks("m", "one") == [str(one / f"m/masks/{s}_top0.1.parquet") for s in ("cas", "random-matched")]
    assert asked.questions("m", "one").folder == two
    assert json.loads(asked.prompt("m", "one")) == {"seed": 2}
    assert json.loads(asked.prompt("m", "two")) == {"seed": 1}
    assert json.loads(asked.model_settings("m", "one")) == {"name": "m", "path": "models/m"}
    wider = comparison(*folders, transfer=True, top_fraction=0.2)
    assert wider.masks("m", "two")[0] == str(two / "m/masks/cas_top0.2.parquet")
    assert wider.top == ["0.2"]


def test_a_model_that_a_run_made_lies_in_its_results(folders):
    manifest = folders[1] / "manifest.json"
    content = json.loads(manifest.read_text(encoding="utf-8"))
    content["config"]["models"]["m"] = {"train": {"architecture": "qwen2.5-vl"}, "dtype": "float32", "batch_size": 8}
    manifest.write_text(json.dumps(content), encoding="utf-8")
    settings = json.loads(comparison(*folders, transfer=True).model_settings("m", "one"))
    assert settings == {"name": "m", "dtype": "float32", "path": str(folders[1] / "m/model")}


def test_only_one_model_is_asked_under_the_masks_of_both(folders, tmp_path):
    other = finished_runs.write(tmp_path / "other", models={"m": "r2"})
    assert comparison(folders[0], other, transfer=True).transfers == {}
    # Masks at projections have no flat index, and stay where they are.
    path = folders[0] / "m/masks/cas_top0.1.parquet"
    table, metadata = files.read_table(path)
    files.write_table(path, table, metadata | {"neurons": {"gate_proj": 30}})
    masks = comparison(*folders, transfer=True).masks("m", "one")
    assert masks == [str(folders[0] / "m/masks/random-matched_top0.1.parquet")]


def test_a_run_that_can_not_be_read_is_left_to_the_step(folders, tmp_path):
    assert comparison(folders[0], tmp_path / "nowhere", transfer=True).transfers == {}


def test_the_state_follows_what_a_run_says_of_its_files(folders):
    before = comparison(*folders).state
    assert comparison(*folders).state == before
    shutil.copystat(folders[0], folders[1])  # times do not matter
    (folders[0] / "m/other.txt").write_text("x", encoding="utf-8")
    assert comparison(*folders).state == before
    (folders[0] / "manifest.json").write_text("{}", encoding="utf-8")
    after = comparison(*folders).state
    assert after != before
    # Without a manifest: of the files' sizes.
    (folders[0] / "manifest.json").unlink()
    without = comparison(*folders).state
    table, metadata = files.read_table(folders[0] / "m/masks/cas_top0.1.parquet")
    files.write_table(folders[0] / "m/masks/cas_top0.1.parquet", table[:1], metadata)
    assert len({before, after, without, comparison(*folders).state}) == 4


def test_jobs_run_as_the_config_at_hand_says_or_as_the_schema_has_it(folders):
    mine = {"m": {"path": "models/m", "batch_size": 3, "threads": 2, "gpus": 1, "mem_mb": 9000}}
    of = comparison(*folders, models=mine)
    assert of.job("m", 2) == {
        "gpu": 1, "nodes": 1, "mem_mb": 18000, "batch_size": 3, "device_map": "default",
    }  # fmt: skip
    assert (of.threads("m"), of.threads("elsewhere")) == (2, 1)
    assert of.job("elsewhere", 2)["mem_mb"] == 8000


def test_the_comparison_is_no_part_of_what_a_run_says_of_itself(folders):
    own = run(runs=[str(f) for f in folders], reuse=["results/else"], comparison={"transfer": True})
    assert own.published == run().published


@pytest.mark.parametrize(("changes", "words"), [
    ({"runs": ["a", "b", "c"]}, r"runs: .* is not valid; expected two results folders"),
    ({"runs": "results/a"}, r"runs: 'results/a' is not valid; expected array"),
    ({"comparison": {"transfer": "yes"}}, r"comparison: transfer: 'yes' is not valid; expected one of True, False"),
    ({"comparison": {"transfr": True}}, r"comparison: unknown key 'transfr' \(did you mean 'transfer'"),
    ({"comparison": {"top_fraction": 2}}, r"comparison: top_fraction: 2 is not valid; expected a number in \(0, 1\]"),
    ({"comparison": {"top_fraction": "1.5"}}, r"comparison: top_fraction: '1\.5' is not valid; expected a number in"),
    ({"comparison": {"top_fraction": "0.0"}}, r"comparison: top_fraction: '0\.0' is not valid; expected a number in"),
    ({"reuse": ["results/control"]}, r"reuse: results/control: expected the results of other runs; this one writes"),
    ({"reuse": ["a:b"]}, r"reuse: 0: 'a:b' is not valid; expected a folder without a colon"),
])  # fmt: skip
def test_what_is_wrong_is_named(changes, words):
    with pytest.raises(ConfigError, match=words):
        checks.check(run(evaluation={}).config | {"evaluation": {}} | changes, SCHEMA)
