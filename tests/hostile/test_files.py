"""Files between steps whose content is wrong: masks, and CSV tables of any bytes and any names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from culture_neurons import files
from culture_neurons.errors import FileError
from culture_neurons.steps.ablate import read_masks
from tests.hostile.conftest import NAMES, cases, law, scalars, texts

GOOD = {"culture": ["a", "a", "b"], "site": ["act_fn"] * 3, "layer": [0, 1, 1], "neuron": [5, 5, 9]}
META = {"cultures": ["a", "b", "c"], "layers": 2, "neurons": 10}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("place")


#: Changes of a whole column.
CHANGES = {
    "str": str,
    "float": float,
    "list": lambda v: [v],
    "none": lambda v: None,
    "bytes": lambda v: str(v).encode(),
}


@st.composite
def columns(draw: Any) -> dict[str, list[Any]]:
    """A mask file's columns, some of them missing, of another type, or with a wrong cell."""
    table: dict[str, list[Any]] = {name: list(cells) for name, cells in GOOD.items()}
    for _ in range(draw(st.integers(0, 3))):
        name, row, kind = draw(st.sampled_from(sorted(table))), draw(st.integers(0, 2)), draw(st.integers(0, 9))
        if kind == 0:
            del table[name]
            break
        if kind < 3:
            change = CHANGES[draw(st.sampled_from(sorted(CHANGES)))]
            table[name] = [change(v) if change is not float or isinstance(v, int) else v for v in table[name]]
        else:
            table[name][row] = draw(scalars)
    return table | {"score": draw(st.lists(st.floats(), min_size=3, max_size=3))}


def array(column: list[Any]) -> pa.Array:
    try:
        return pa.array(column)
    except (pa.ArrowException, ValueError, OverflowError):
        return pa.array([str(v).encode("utf-8", "replace").decode() for v in column])


@cases("masks")
@given(columns(), st.sampled_from([META, META, {}, {"cultures": ["a"]}, {"layers": 1}, {"cultures": ["b", "b"]}]))
@example(GOOD, META)
@example(GOOD | {"layer": [0, 0, -1]}, META)
@example(GOOD | {"layer": [0, 0, 2]}, META)
@example(GOOD | {"neuron": [0, 0, 10]}, META)
@example(GOOD | {"layer": [1, 1, 1]}, META)
@example(GOOD | {"layer": [0.0, 1.0, 1.0]}, META)
@example(GOOD | {"neuron": ["5", "5", "9"]}, META)
@example(GOOD | {"layer": [False, True, True]}, META)
@example(GOOD | {"culture": [1, 1, 2]}, META)
def test_masks(place: Path, table: dict[str, list[Any]], metadata: dict[str, Any]) -> None:
    path = place / "mask.parquet"
    written = pa.table({name: array(column) for name, column in table.items()})
    files.write_table(path, written, metadata)
    with law(place):
        masks, found = read_masks(path)
        # Whatever is accepted is what the file says, and no more.
        assert found == metadata
        rows = [(m.culture, int(la), int(n)) for m in masks for la, n in zip(m.layer, m.neuron, strict=True)]
        assert sorted(rows) == sorted(
            zip(*(written[c].to_pylist() for c in ("culture", "layer", "neuron")), strict=True)
        )
        assert all(type(v) is int and 0 <= v < 2**31 for row in rows for v in row[1:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer": [0, 0, -1]}, "row 3 is no neuron: 'b', 'act_fn', -1, 9; expected .* a layer below 2"),
        ({"neuron": [0, 10, 1]}, "row 2 .* a neuron below 10"),
        ({"layer": [0.5, 1.0, 1.0]}, "row 1 .* 0.5, 5"),
        ({"layer": [None, 1, 1]}, "row 1 .* nan, 5"),
        ({"neuron": ["5", "5", "9"]}, "row 1 .* '5'"),
        ({"culture": ["a", "x", "b"]}, "row 2 .* 'x'"),
        ({"site": ["mlp"] * 3}, "row 1 .* expected a culture of the metadata, act_fn"),
        ({"layer": [1, 1, 1]}, "mask of 'a': a neuron is listed twice"),
    ],
)
def test_what_is_wrong_with_a_mask(tmp_path: Path, change: dict[str, list[Any]], message: str) -> None:
    files.write_table(tmp_path / "m.parquet", pa.table(GOOD | change), META)
    with pytest.raises(FileError, match=rf"m\.parquet: {message}"):
        read_masks(tmp_path / "m.parquet")


@cases("csv")
@given(st.binary(max_size=80) | st.lists(texts).map(lambda parts: ",".join(parts).encode("utf-8", "surrogatepass")))
@example(b"a,b\n1,2,3\n")
@example(b"a\n" + b"9" * 5000)
@example(b"\xef\xbb\xbfculture,n\n")
def test_csv_of_any_bytes(place: Path, content: bytes) -> None:
    path = place / "t.csv"
    path.write_bytes(content)
    for reader in (lambda: files.read_csv(path, ["culture"], ["culture"]), lambda: files.read_table(path)):
        with law(place):
            reader()


def test_names_come_back_from_csv_and_parquet(tmp_path: Path) -> None:
    names = [
        name for name in NAMES if name.isprintable() or name in ("\n", "\r", "\t=1", "a\nb", "\x1b[31m", "\u202ea")
    ]
    table = pd.DataFrame({"culture": names, "n": np.arange(len(names)) - 3})
    files.write_csv(tmp_path / "t.csv", table)
    files.write_table(tmp_path / "t.parquet", table, {"cultures": names})
    assert files.read_csv(tmp_path / "t.csv", text=["culture"]).to_dict("list") == table.to_dict("list")
    found, metadata = files.read_table(tmp_path / "t.parquet")
    assert found.to_dict("list") == table.to_dict("list")
    assert metadata == {"cultures": names}
