import pandas as pd
import pytest

from culture_neurons import files
from culture_neurons.errors import FileError
from culture_neurons.steps import tabulate_data_overlaps


def write(folder, selector, rows, fraction="0.1", model="m", **metadata):
    """A mask file of (culture, layer, neuron)."""
    path = folder / f"run/{model}/masks/{selector}_top{fraction}.parquet"
    metadata = {"cultures": ["NA", "b"], "layers": 2, "neurons": 10, "step": "select", "code": selector} | metadata
    files.write_table(path, pd.DataFrame(rows, columns=["culture", "layer", "neuron"]), metadata)
    return path


@pytest.fixture
def paths(tmp_path):
    """Rows are not in the order of neurons, as in the masks of `select`."""
    return [
        write(tmp_path, "cas", [("NA", 1, 3), ("NA", 0, 4), ("b", 0, 0)]),
        write(tmp_path, "lap", [("NA", 1, 3)]),
        write(tmp_path, "cas-words", [("NA", 1, 3), ("NA", 0, 5)], cultures=["NA", "c"], chosen_on="words"),
    ]


def table(step, tmp_path, paths, *more):
    step.run(tabulate_data_overlaps, "--masks", *paths, "--out-dir", tmp_path / "tables", *more)
    return files.read_csv(tmp_path / "tables/data_overlaps.csv", text=["culture", "a", "b", "chosen_on_a"])


def test_masks_of_the_run_stand_against_those_of_the_other_data_set(step, tmp_path, paths):
    made = table(step, tmp_path, paths, "--planted", "m")
    whole = made[made["layer"].isna()].set_index("a")
    assert list(whole.index) == ["cas", "lap"]
    assert set(made["culture"]) == {"NA"}
    assert set(made["b"]) == {"cas-words"}
    assert (set(made["chosen_on_a"]), set(made["chosen_on_b"]), set(made["planted"])) == ({"run"}, {"words"}, {"yes"})
    assert whole["overlap"].tolist() == pytest.approx([1 / 3, 1 / 2])
    assert whole["expected"].tolist() == pytest.approx([0.2 / 3.8, 0.1 / 2.9])
    layers = made[(made["a"] == "cas") & made["layer"].notna()].set_index("layer")
    assert layers["n_shared"].to_dict() == {0: 0, 1: 1}
    noted = (tmp_path / "tables/provenance_tabulate_data_overlaps.json").read_text(encoding="utf-8")
    assert '"cas-words"' in noted  # the code that made the masks
    assert set(table(step, tmp_path, paths)["planted"]) == {"no"}


def test_masks_that_do_not_fit_are_refused_in_one_line(step, tmp_path, paths):
    other = write(tmp_path, "cas-words", [("NA", 1, 3)], "0.2", chosen_on="speech")
    with pytest.raises(
        FileError, match=r"cas-words_top0\.2.*: chosen on speech, but other masks of cas-words on words"
    ):
        table(step, tmp_path, [*paths, other])
    wide = write(tmp_path, "cas", [("NA", 1, 3)], "0.2", neurons=11)
    with pytest.raises(FileError, match=r"cas_top0\.2.*: of other layers or neurons than other masks of m"):
        table(step, tmp_path, [*paths, wide])
