import shutil

import numpy as np
import pandas as pd
import pytest

from culture_neurons import files
from culture_neurons.analysis.finished_run import FinishedRun, names_of, open_runs
from culture_neurons.errors import FileError
from tests import finished_runs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return finished_runs.write(tmp_path_factory.mktemp("results") / "one", models={"m": "r1", "n": "r2"})


def test_what_a_folder_holds_is_read_from_its_files(folder):
    run = FinishedRun(folder)
    assert (run.name, run.models, run.planted) == ("one", ["m", "n"], set())
    assert set(run.masks) == {(m, s, "0.1") for m in "mn" for s in ("cas", "random-matched")} == set(run.outcomes)
    assert run.identity("n") == {"revision": "r2", "dtype": "float32", "gguf": None}
    masks = run.mask_file(("m", "cas", "0.1"))
    table, _ = files.read_table(run.masks["m", "cas", "0.1"])
    own = table[table["culture"] == "NA"]
    assert list(masks.flat.neurons["NA"]) == sorted(own["layer"] * 30 + own["neuron"])
    assert (masks.flat.shape, masks.sizes["NA"], masks.control) == ((2, 30), len(own), False)
    assert run.mask_file(("m", "random-matched", "0.1")).control
    assert len(run.baseline("m").sample_id) == 24
    paired = run.paired(("m", "cas", "0.1"))
    assert paired.own["logprob"].mean() < paired.cross["logprob"].mean() - 0.3


@pytest.mark.parametrize(("folders", "names"), [
    (["a/results/one", "a/results/two"], ["one", "two"]),
    (["a/results/one", "b/results/one"], ["a-one", "b-one"]),
    (["x/a b/one", "x/c/d/one"], ["a_b-one", "d-one"]),
    (["x/one", "x/one/one"], ["x-one", "one-one"]),
    (["x/a b/one", "y/a_b/one"], ["x-one", "y-one"]),  # what stands above is made a name too
    (["one", "one"], ["one", "one"]),
    ([], []),
])  # fmt: skip
def test_runs_of_one_name_are_told_apart_by_the_folders_above_them(folders, names, tmp_path):
    assert names_of([tmp_path / folder for folder in folders]) == names


def test_names_are_unique_also_at_the_root():
    assert names_of(["/one", "/x/one"]) == ["one", "x-one"]


def test_opened_runs_have_these_names(folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "later" / "one")
    first, second = open_runs([folder, other])
    assert (second.name, first.name) == ("later-one", f"{folder.parent.name}-one")
    assert second.folder == other


def test_planted_models_are_known_by_their_file(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "n/planted.csv").write_text("culture\n")
    assert FinishedRun(copy).planted == {"n"}


def test_units_at_several_sites_or_in_layers_of_several_widths_have_no_flat_index(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    path = copy / "m/masks/cas_top0.1.parquet"
    table, metadata = files.read_table(path)
    files.write_table(path, table, metadata | {"neurons": {"gate_proj": 30, "q_proj": 8}})
    masks = FinishedRun(copy).mask_file(("m", "cas", "0.1"))
    assert masks.flat is None
    assert sum(masks.sizes.values()) == len(table)
    files.write_table(path, table, metadata | {"experts": {"widths": [30, 12], "counts": [0, 4]}})
    assert FinishedRun(copy).mask_file(("m", "cas", "0.1")).flat is None
    files.write_table(path, table, metadata | {"experts": {"widths": [30, 30], "counts": [5, 5]}})
    assert FinishedRun(copy).mask_file(("m", "cas", "0.1")).flat is not None


def test_a_folder_without_a_finished_run_is_refused_in_one_line(folder, tmp_path):
    with pytest.raises(FileError, match=r"nowhere: no samples\.parquet; expected the results of a run"):
        FinishedRun(tmp_path / "nowhere")
    copy = shutil.copytree(folder, tmp_path / "copy", ignore=shutil.ignore_patterns("predictions.parquet"))
    with pytest.raises(FileError, match=r"copy: no answers of a model .*; let the run end first"):
        FinishedRun(copy)


def test_answers_of_another_model_or_to_other_questions_are_refused(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    path = copy / "m/ablation/cas_top0.1.parquet"
    table, metadata = files.read_table(path)
    files.write_table(path, table, metadata | {"revision": "r9"})
    with pytest.raises(FileError, match=r"revision 'r9', but .* is from 'r1'"):
        FinishedRun(copy).changes(("m", "cas", "0.1"))
    files.write_table(path, table.iloc[1:], metadata)
    with pytest.raises(FileError, match="do not hold the same questions"):
        FinishedRun(copy).changes(("m", "cas", "0.1"))
    path.unlink()
    with pytest.raises(FileError, match="no answers under these masks"):
        FinishedRun(copy).changes(("m", "cas", "0.1"))


def test_the_change_of_a_question_is_that_of_its_answers(folder):
    """One question under its own mask, against the two files."""
    run = FinishedRun(folder)
    name = run.samples[(run.samples["culture"] == "b") & (run.samples["split"] == "evaluate")]["sample_id"].iloc[0]
    before = pd.read_parquet(run.answers["m"]).set_index("sample_id").loc[name]
    under = pd.read_parquet(run.outcomes["m", "cas", "0.1"])
    under = under[(under["mask_culture"] == "b") & (under["sample_id"] == name)].iloc[0]

    def right(row):
        return row["logprobs"][1] - np.log(np.exp(row["logprobs"]).sum())

    base, paired = run.baseline("m"), run.paired(("m", "cas", "0.1"))
    assert paired.own["logprob"][list(base.sample_id).index(name)] == pytest.approx(right(under) - right(before))
