from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from culture_neurons.data import tabular
from culture_neurons.errors import ConfigError, DataError


def file(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_csv_keeps_texts_as_they_are(tmp_path: Path) -> None:
    path = file(tmp_path, "t.csv", '\ufeffid,culture,n\n007,NA,1\n008,"a, ""b""\nc",\n')
    assert tabular.read(path, ["n", "id", "culture"], "source.path") == {
        "n": ["1", None],
        "id": ["007", "008"],
        "culture": ["NA", 'a, "b"\nc'],
    }


def test_a_short_row_of_a_csv_has_missing_cells(tmp_path: Path) -> None:
    assert tabular.read(file(tmp_path, "t.csv", "a,b,c\n1,2\n"), ["b", "c"], "") == {"b": ["2"], "c": [None]}


def test_a_long_row_of_a_csv_is_an_error(tmp_path: Path) -> None:
    for text in ("a,b\n1,2,3\n", "a,b\n1,2\n1,2,3\n"):
        with pytest.raises(DataError, match=r"t\.csv: not readable as csv \(.*line"):
            tabular.read(file(tmp_path, "t.csv", text), ["a"], "")


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="two columns are called 'a'"):
        tabular.read(file(tmp_path, "t.csv", "a,b,a\n1,2,3\n"), ["a"], "")


def test_jsonl_keeps_types(tmp_path: Path) -> None:
    path = file(tmp_path, "t.jsonl", '{"a": 1, "b": [1, "x"]}\n\n{"a": "1", "c": true}\n')
    assert tabular.read(path, ["a", "b", "c"], "") == {"a": [1, "1"], "b": [[1, "x"], None], "c": [None, True]}
    assert tabular.column_names(path, "", scalar=True) == ["a", "c"]


@pytest.mark.parametrize("line", ["{'a': 1}", "[1]", "7", "[" * 5000])
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(DataError, match=r"t\.jsonl: line 2 is no JSON"):
        tabular.read(file(tmp_path, "t.jsonl", f'{{"a": 1}}\n{line}\n'), ["a"], "")


def test_parquet_keeps_whole_numbers_beside_gaps(tmp_path: Path) -> None:
    path = tmp_path / "country=fr" / "t.parquet"
    path.parent.mkdir()
    pq.write_table(pa.table({"a": pa.array([1, None], pa.int64()), "a.b": ["x", "y"], "raw": [b"1", b"2"]}), path)
    assert tabular.read(path, ["a", "a.b"], "") == {"a": [1, None], "a.b": ["x", "y"]}
    assert type(tabular.read(path, ["a"], "")["a"][0]) is int
    assert tabular.column_names(path, "") == ["a", "a.b", "raw"]
    assert tabular.column_names(path, "", scalar=True) == ["a", "a.b"]


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.jsonl"])
def test_a_missing_column_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    frame = pd.DataFrame({"question": ["q"], "label": [1]})
    {
        ".parquet": lambda: frame.to_parquet(path),
        ".csv": lambda: frame.to_csv(path, index=False),
        ".jsonl": lambda: frame.to_json(path, orient="records", lines=True),
    }[path.suffix]()
    with pytest.raises(DataError, match=r"no column 'qestion' \(did you mean 'question'\?\); it has"):
        tabular.read(path, ["qestion"], "source.path")


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.jsonl"])
def test_files_that_are_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"source.path: no such file: .*t\."):
        tabular.read(tmp_path / name, ["a"], "source.path")
    (tmp_path / name).write_bytes(b"\xff\xfe\x00broken")
    with pytest.raises(DataError, match=rf"{name}: not readable as {name[2:]}"):
        tabular.read(tmp_path / name, ["a"], "source.path")


def test_an_unknown_kind_of_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"source.path: 't.xlsx' is none of .parquet, .csv, .tsv, .json, .jsonl"):
        tabular.read("t.xlsx", ["a"], "source.path")


def test_tsv_and_a_list_of_records(tmp_path: Path) -> None:
    assert tabular.read(file(tmp_path, "t.tsv", "a\tb,c\n1\tNA\n"), ["b,c", "a"], "") == {"b,c": ["NA"], "a": ["1"]}
    lines = '{"a": 1}\n{"a": "1"}\n'
    for text in (lines, "[" + lines.strip().replace("\n", ",") + "]"):
        assert tabular.read(file(tmp_path, "t.json", text), ["a"], "") == {"a": [1, "1"]}
    for text, message in (("[{", "not readable as json"), ('[{"a": 1}, 2]', "record 2 is no JSON object: '2'")):
        with pytest.raises(DataError, match=message):
            tabular.read(file(tmp_path, "t.json", text), ["a"], "")


def test_literals_of_a_csv(tmp_path: Path) -> None:
    path = file(tmp_path, "t.csv", "a,b\n1,1\n-2,TRUE\nfalse,x\n1.0,\n")
    table = tabular.read(path, ["a", "b"], "", literal=["a"])
    assert [(type(v), v) for v in table["a"]] == [(int, 1), (int, -2), (bool, False), (str, "1.0")]
    assert table["b"] == ["1", "TRUE", "x", None]
    path = file(tmp_path, "t.jsonl", '{"a": "1"}\n')
    assert tabular.read(path, ["a"], "", literal=["a"]) == {"a": ["1"]}
