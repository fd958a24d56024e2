from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from culture_neurons import files, store
from culture_neurons.errors import ConfigError, DataError, FileError
from culture_neurons.steps import export_masks, import_masks

METADATA = {"model": "tiny", "revision": "abc", "dtype": "float32", "token_rule": "all", "step": "merge", "code": "1"}
LAYERS, NEURONS = 2, 50


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """statistics.h5 of the cultures a, b and c; samples.parquet, which has d too; masks of a, c and d."""
    ids = ["1", "2", "3"]
    with store.statistics_writer(
        tmp_path / "statistics.h5", ids, ["a", "b", "c"], "act_fn", LAYERS, NEURONS, METADATA
    ) as writer:
        ones = np.ones((3, LAYERS, NEURONS))
        writer.write(ids, np.full(3, 5), ones.astype(int), ones)
    samples = pd.DataFrame({"sample_id": [*"1234"], "culture": [*"abcd"]})
    files.write_table(tmp_path / "samples.parquet", samples, {})
    masks = [[[7, 3], [49]], [[], []], [[1], [2]]]
    torch.save([[torch.tensor(layer).long() for layer in culture] for culture in masks], tmp_path / "m.pth")
    return tmp_path


def run(folder: Path, *cultures: str, fractions: tuple[str, ...] = ("0.1",)) -> list[Path]:
    out = [folder / f"mine_top{fraction}.parquet" for fraction in fractions]
    words = ["--masks", folder / "m.pth", "--cultures", *cultures, "--statistics", folder / "statistics.h5",
             "--samples", folder / "samples.parquet", "--top-fraction", *fractions, "--out", *out]  # fmt: skip
    import_masks.main(import_masks.arguments().parse_args([str(word) for word in words]))
    return out


def test_the_table_is_that_of_any_other_mask(folder):
    mask, metadata = files.read_table(run(folder, "c", "b", "a")[0])
    rows = [["a", "act_fn", 0, 1, 1], ["a", "act_fn", 1, 2, 2],
            ["c", "act_fn", 0, 3, 1], ["c", "act_fn", 0, 7, 2], ["c", "act_fn", 1, 49, 3]]  # fmt: skip
    assert mask[["culture", "site", "layer", "neuron", "rank"]].to_numpy().tolist() == rows
    assert mask["score"].dtype == np.float32
    assert mask["score"].isna().all()
    expected = {
        "model": "tiny", "revision": "abc", "cultures": ["a", "b", "c"], "layers": LAYERS, "neurons": NEURONS,
        "budget": None, "top_fraction": "0.1", "selector": "imported", "options": {}, "step": "import_masks",
    }  # fmt: skip
    assert {key: metadata[key] for key in expected} == expected
    assert metadata["imported"]["name"] == "m.pth"
    assert set(metadata["history"]) == {"merge"}


def test_every_fraction_holds_the_same_set(folder):
    one, other = (files.read_table(path) for path in run(folder, "a", "b", "c", fractions=("0.1", "0.5")))
    pd.testing.assert_frame_equal(one[0], other[0])
    assert (one[1]["top_fraction"], other[1]["top_fraction"]) == ("0.1", "0.5")


def test_cultures_that_the_file_lacks_and_that_were_not_recorded(folder, caplog):
    caplog.set_level("INFO", "culture_neurons")
    mask, metadata = files.read_table(run(folder, "a", "b", "d")[0])
    assert metadata["cultures"] == ["a", "b"]
    assert set(mask["culture"]) == {"a"}
    assert "left out: culture 'd'" in caplog.text
    assert "culture 'c' has no mask" in caplog.text


def test_mistakes(folder):
    with pytest.raises(DataError, match=r"samples\.parquet: has no culture 'zh', which is named for .*\n.*a, b, c, d"):
        run(folder, "a", "zh", "b")
    with pytest.raises(ConfigError, match="expected each name once"):
        run(folder, "a", "a", "b")
    with pytest.raises(FileError, match="holds the masks of 3 cultures, but 2 are named"):
        run(folder, "a", "b")
    with pytest.raises(ConfigError, match="top fraction must be a number"):
        run(folder, "a", "b", "c", fractions=("2",))
    torch.save([[torch.tensor([1])] * LAYERS], folder / "m.pth")
    with pytest.raises(DataError, match="none of its cultures is among those that were recorded"):
        run(folder, "d")
    torch.save([[torch.tensor([NEURONS])] * LAYERS], folder / "m.pth")
    with pytest.raises(FileError, match="culture 'a', layer 0: neuron 50; expected 0 to 49"):
        run(folder, "a")


def test_there_and_back(folder):
    first = run(folder, "a", "b", "c")[0]
    before = files.read_table(first)[0]
    words = ["--masks", str(first), "--out", str(folder / "m.pth")]
    export_masks.main(export_masks.arguments().parse_args(words))
    pd.testing.assert_frame_equal(files.read_table(run(folder, "a", "b", "c")[0])[0], before)


def test_same_input_same_bytes(folder):
    first = run(folder, "a", "b", "c")[0].read_bytes()
    assert run(folder, "a", "b", "c")[0].read_bytes() == first
