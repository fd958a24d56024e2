import json
from pathlib import Path

import numpy as np
import pytest
import torch

from culture_neurons import files
from culture_neurons.errors import FileError
from culture_neurons.selectors import selection
from culture_neurons.steps import export_masks

METADATA = {
    "cultures": ["c", "a", "b"], "layers": 2, "neurons": 20, "model": "tiny", "revision": "abc", "selector": "cas",
    "options": {}, "top_fraction": "0.1",
}  # fmt: skip


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    """A mask file of the cultures a and c; b has no neuron."""
    scores = np.zeros((3, 2, 20))
    scores[0, 0, [5, 4]] = [1, 2]
    scores[1, 1, [9, 0]] = [1, 2]
    table = selection.select(scores, METADATA["cultures"], 0.1)
    files.write_table(tmp_path / "cas.parquet", table, METADATA)
    return tmp_path / "cas.parquet"


def run(masks: Path) -> tuple[list, dict]:
    out = masks.with_name("cas.pth")
    export_masks.main(export_masks.arguments().parse_args(["--masks", str(masks), "--out", str(out)]))
    about = json.loads(masks.with_name("cas.pth.json").read_text(encoding="utf-8"))
    return torch.load(out, weights_only=True), about


def test_lists_are_by_name_and_indices_ascend(masks):
    value, about = run(masks)
    assert [[layer.tolist() for layer in culture] for culture in value] == [[[], [0, 9]], [[], []], [[4, 5], []]]
    assert all(layer.dtype == torch.int64 for culture in value for layer in culture)
    assert about == {**METADATA, "cultures": ["a", "b", "c"], "site": "act_fn"}


def test_same_input_same_bytes(masks):
    run(masks)
    first = masks.with_name("cas.pth").read_bytes()
    run(masks)
    assert masks.with_name("cas.pth").read_bytes() == first


def test_masks_by_attribution(masks):
    table, metadata = files.read_table(masks)
    files.write_table(masks, table, {**metadata, "neurons": {"gate_proj": 20, "o_proj": 8}})
    with pytest.raises(FileError, match=r"cas\.parquet: its units are at projections; expected masks at the act.*$"):
        run(masks)


def test_file_of_another_kind_or_run(masks):
    table, metadata = files.read_table(masks)
    files.write_table(masks, table, {})
    with pytest.raises(FileError, match=r"cas\.parquet: its metadata has no 'cultures'"):
        run(masks)
    for change in ({"layers": 1}, {"neurons": 5}, {"cultures": ["a"]}):
        files.write_table(masks, table, {**metadata, **change})
        with pytest.raises(FileError, match="its rows do not fit its metadata"):
            run(masks)
