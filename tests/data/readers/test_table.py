from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from culture_neurons.data import filtering, images, reasons
from culture_neurons.data.readers import table
from culture_neurons.errors import ConfigError, DataError
from tests.data.conftest import png

ROLES = {"sample_id": "id", "question": "q", "options": "o", "label": "l"}
ROWS = [
    {"id": "1", "q": "Who?", "o": ["a", "b"], "l": 0, "land": "NA", "topic": "food"},
    {"id": "2", "q": "Why?", "o": ["c", "d", "e"], "l": 2, "land": "日本", "topic": None},
]


def write(path: Path, rows: list[dict[str, Any]] = ROWS) -> str:
    """Write rows in the format that the name of the file asks for."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        cells = [{k: json.dumps(v) if isinstance(v, list) else v for k, v in row.items()} for row in rows]
        pd.DataFrame(cells, dtype=object).to_csv(path, index=False)
    return str(path)


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.jsonl"])
def test_every_format_gives_the_same(tmp_path: Path, name: str) -> None:
    spec = {"type": "table", "path": write(tmp_path / name), "columns": ROLES | {"category": "topic"}}
    source = table.read(spec)
    rows = source.rows
    assert rows["sample_id"].tolist() == ["1", "2"]
    assert rows["question"].tolist() == ["Who?", "Why?"]
    assert rows["options"].tolist() == [["a", "b"], ["c", "d", "e"]]
    assert [int(label) for label in rows["label"]] == [0, 2]
    assert rows["category"].tolist() == ["food", None]
    assert rows["land"].tolist() == ["NA", "日本"]
    assert rows["image"].tolist() == [None, None]
    assert rows["image_id"].tolist() == ["", ""]
    assert source.images == {"type": "none"}


def test_a_column_per_option(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,q,a,b,c,d,l\n1,x,p,q,r,s,D\n2,x,p,q,,,b\n3,x,p,,r,,A\n", encoding="utf-8")
    spec = {"type": "table", "path": str(path), "columns": ROLES | {"options": ["a", "b", "c", "d"]}}
    rows = table.read(spec | {"label_kind": "letter"}).rows
    assert rows["options"].tolist() == [["p", "q", "r", "s"], ["p", "q"], ["p", None, "r"]]
    assert rows["label"].tolist() == [3, 1, 0]
    assert "a" not in rows.columns


def test_options_that_are_no_list(tmp_path: Path) -> None:
    rows = [dict(ROWS[0], o=value) for value in ("a, b", '{"a": 1}', "3", '["a"', '["a", ["b"]]', '["a", 2]')]
    options = table.read({"type": "table", "path": write(tmp_path / "t.jsonl", rows), "columns": ROLES}).rows["options"]
    assert options.tolist() == [None, None, None, None, None, ["a", 2]]


def test_the_text_of_the_right_option(tmp_path: Path) -> None:
    rows = [dict(ROWS[1], l="e "), dict(ROWS[1], l="x")]
    spec = {"type": "table", "path": write(tmp_path / "t.jsonl", rows), "columns": ROLES, "label_kind": "text"}
    assert table.read(spec).rows["label"].tolist() == [2, 3]


def test_whose_options_are(tmp_path: Path) -> None:
    cells = [["NA", "日本"], None, "NA", ["NA"], [["NA"], "x"]]
    rows = [dict(ROWS[0], id=i, whose=cell) for i, cell in enumerate(cells)]
    spec = {"type": "table", "path": write(tmp_path / "t.jsonl", rows), "columns": ROLES | {"option_cultures": "whose"}}
    source = table.read(spec)
    # What is no list stays what it is, so that the filter leaves the row out.
    assert source.rows["option_cultures"].tolist() == cells
    grouped = source.rows.assign(culture=["NA", "NA", "日本", "日本", "日本"])
    filtered = filtering.apply(grouped, filtering.Settings(), at_least=1)
    assert filtered.kept["option_cultures"].tolist() == [cells[0], []]
    assert filtered.dropped["reason"].tolist() == [reasons.OPTION_CULTURES] * 3
    assert "option_cultures" not in table.read(spec | {"columns": ROLES}).rows


def test_a_column_for_whose_each_option_is(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,q,a,b,c,x,y,z,l\n1,x,p,q,r,A,B,C,0\n2,x,p,q,,A,B,,1\n3,x,p,q,r,,,,2\n", encoding="utf-8")
    roles = ROLES | {"options": ["a", "b", "c"], "option_cultures": ["x", "y", "z"]}
    rows = table.read({"type": "table", "path": str(path), "columns": roles}).rows
    assert rows["option_cultures"].tolist() == [["A", "B", "C"], ["A", "B"], []]
    assert rows["options"].tolist() == [["p", "q", "r"], ["p", "q"], ["p", "q", "r"]]
    assert not {"x", "y", "z"} & set(rows)


def numbered(path: Path, labels: str = "1234") -> dict[str, Any]:
    """A CSV of 40 questions, whose options carry letters of their own, and its source."""
    lines = [f"{i},{('Peru', 'Ghana')[i % 2]},Which?,A. rice,B. bread,C. soup,D. figs,{labels[i % 4]}\n"
             for i in range(40)]  # fmt: skip
    path.write_text("id,land,q,a,b,c,d,l\n" + "".join(lines), encoding="utf-8")
    return {"type": "table", "path": str(path), "columns": ROLES | {"options": list("abcd")}}


def test_labels_from_one_are_refused_by_name(tmp_path: Path) -> None:
    spec = numbered(tmp_path / "t.csv")
    with pytest.raises(DataError, match=r"t\.csv: column 'l': none of 40 labels is 0 and 10 .*; set label_base: 1$"):
        table.read(spec)
    source = table.read(spec | {"label_base": 1})
    assert source.rows["label"].tolist() == [i % 4 for i in range(40)]
    assert source.warnings == ()
    with pytest.raises(DataError, match=r"t\.csv: column 'l': 10 of 40 labels are 0 .*; remove label_base: 1$"):
        table.read(numbered(tmp_path / "t.csv", "0123") | {"label_base": 1})


def test_labels_from_one_in_a_second_table_are_refused_by_its_name(tmp_path: Path) -> None:
    spec = numbered(tmp_path / "t.csv")
    text = "key,right\n" + "".join(f"{i},{1 + i % 4}\n" for i in range(40))
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    spec["labels"] = {"path": str(tmp_path / "labels.csv"), "id": "key", "label": "right"}
    with pytest.raises(DataError, match=r"labels\.csv: column 'right': none of 40 labels is 0"):
        table.read(spec)
    assert table.read(spec | {"label_base": 1}).rows["label"].tolist() == [i % 4 for i in range(40)]


def test_a_label_outside_among_good_ones_is_said(tmp_path: Path) -> None:
    spec = numbered(tmp_path / "t.csv", "0123")
    with open(spec["path"], "a", encoding="utf-8") as file:
        file.write("40,Peru,Which?,a,b,c,d,4\n")
    source = table.read(spec)
    assert source.rows["label"].tolist()[-1] == "4"
    (warning,) = source.warnings
    assert warning.startswith(f"{spec['path']}: column 'l': 1 of 41 labels are the number of options: outside")


def test_labels_of_a_second_table(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("key,right\n2,B\n", encoding="utf-8")
    roles = {role: name for role, name in ROLES.items() if role != "label"}
    labels = {"path": str(tmp_path / "labels.csv"), "id": "key", "label": "right"}
    spec = {"type": "table", "path": write(tmp_path / "t.parquet"), "columns": roles, "labels": labels}
    assert table.read(spec | {"label_kind": "letter"}).rows["label"].tolist() == [None, 1]


def test_images_by_path(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "x.png").write_bytes(png())
    (folder / "copy.png").write_bytes(png())
    (folder / "y.png").write_bytes(png((0, 0, 0)))
    names = ["x.png", "copy.png", "y.png", "none.png", "", "../t.jsonl"]
    rows = [dict(ROWS[0], id=i, image=name) for i, name in enumerate(names)]
    spec = {"type": "table", "path": write(tmp_path / "t.jsonl", rows), "columns": ROLES | {"image": "image"}}
    source = table.read(spec | {"images": "path", "image_root": str(folder)})
    references = source.rows["image"].tolist()
    assert references == [{"path": n} if n else None for n in names]
    one, copy, other, *rest = source.rows["image_id"]
    assert one == copy != other
    assert rest == ["path:none.png", "", "path:../t.jsonl"]
    assert images.opener(source.images)(references[0]).size == (6, 4)


def test_the_root_of_images_is_the_folder_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(png())
    rows = [dict(ROWS[0], image="x.png")]
    spec = {"type": "table", "path": write(tmp_path / "t.csv", rows), "columns": ROLES | {"image": "image"}}
    source = table.read(spec | {"images": "path"})
    assert source.images == {"type": "files", "root": str(tmp_path)}
    with pytest.raises(DataError, match=r"source.image_root: no such folder: .*nowhere"):
        table.read(spec | {"images": "path", "image_root": str(tmp_path / "nowhere")})


def test_images_by_bytes(tmp_path: Path) -> None:
    cells = [png(), {"bytes": png(), "path": "x"}, None, {"bytes": None, "path": "x"}]
    for cell in (cells[:1] + cells[2:3], cells[1:2] + cells[3:]):
        rows = [dict(ROWS[0], id=i, image=value) for i, value in enumerate(cell)]
        spec = {"type": "table", "path": write(tmp_path / "t.parquet", rows), "columns": ROLES | {"image": "image"}}
        source = table.read(spec | {"images": "bytes"})
        assert source.rows["image"].tolist() == [{"bytes": png()}, None]
        assert source.rows["image_id"].tolist() == [images.content_id(png()), ""]
        assert source.images == {"type": "embedded"}


def test_text_is_no_bytes(tmp_path: Path) -> None:
    spec = {"type": "table", "path": write(tmp_path / "t.csv", [dict(ROWS[0], image="x.png")]), "images": "bytes"}
    with pytest.raises(DataError, match=r"t.csv: row 1: the image is a str; `images: bytes` takes bytes"):
        table.read(spec | {"columns": ROLES | {"image": "image"}})


def test_a_given_image_id(tmp_path: Path) -> None:
    rows = [dict(ROWS[0], id=i, picture=value) for i, value in enumerate([7, 7, None])]
    spec = {"type": "table", "path": write(tmp_path / "t.parquet", rows), "columns": ROLES | {"image_id": "picture"}}
    assert table.read(spec).rows["image_id"].tolist() == ["7", "7", ""]


def test_names_that_samples_use_are_not_carried_along(tmp_path: Path) -> None:
    rows = [dict(ROWS[0], split="test", label="x", image_id="i", raw=[1], culture="own", option_cultures="a")]
    carried = table.read({"type": "table", "path": write(tmp_path / "t.parquet", rows), "columns": ROLES}).rows
    assert carried["label"].tolist() == [0]
    assert carried["image_id"].tolist() == [""]
    assert carried["culture"].tolist() == ["own"]
    assert not {"split", "raw", "option_cultures"} & set(carried.columns)
    mapped = {"type": "table", "path": write(tmp_path / "t.parquet", rows), "columns": ROLES | {"culture": "land"}}
    assert table.read(mapped).rows["culture"].tolist() == ["NA"]


@pytest.mark.parametrize(("change", "message"), [
    ({"colums": {}}, r"source: unknown key 'colums' \(did you mean 'columns'\?\)"),
    ({"path": None}, "source.path: expected a file, found None"),
    ({"columns": None}, "source.columns: expected a mapping"),
    ({"columns": ROLES | {"lable": "l"}}, r"source.columns: unknown key 'lable' \(did you mean 'label'\?\)"),
    ({"columns": {**ROLES, "label": None}}, "source.columns.label: missing"),
    ({"columns": {**ROLES, "question": ["q"]}}, "source.columns.question: expected the name of a column"),
    ({"columns": {**ROLES, "options": 3}}, "source.columns.options: expected the name of a column"),
    ({"columns": {**ROLES, "option_cultures": [1]}}, "source.columns.option_cultures: expected the name of a column"),
    ({"images": "url"}, "source.images: 'url'; expected one of none, path, bytes"),
    ({"images": "path"}, "columns.image and images .* go together"),
    ({"columns": ROLES | {"image": "q"}}, "columns.image and images .* go together"),
    ({"label_base": 2}, "source.label_base: 2; expected 0 or 1"),
    ({"label_kind": "word"}, "source.label_kind: 'word'; expected one of"),
])  # fmt: skip
def test_wrong_settings(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    spec = {"type": "table", "path": write(tmp_path / "t.csv"), "columns": ROLES} | change
    with pytest.raises(ConfigError, match=message):
        table.read(spec)


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    spec = {"type": "table", "path": write(tmp_path / "t.csv"), "columns": ROLES | {"category": "topics"}}
    with pytest.raises(DataError, match=r"no column 'topics' \(did you mean 'topic'\?\); it has id, q, o, l, land"):
        table.read(spec)
