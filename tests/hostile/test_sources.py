"""Broken and hostile tables and CVQA files, through the whole step `prepare`."""

from __future__ import annotations

import argparse
import csv
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from culture_neurons import files
from culture_neurons.data import hub_rows, reasons, tabular
from culture_neurons.data.samples import read_samples
from culture_neurons.errors import DataError
from culture_neurons.steps import prepare
from tests.conftest import slow
from tests.data.conftest import BROKEN, png, record
from tests.hostile.conftest import cases, cells, large, law, texts

OUTPUTS = {"samples_out": "samples.parquet", "dropped_out": "dropped.csv", "counts_out": "counts.csv"}
ROLES = {"sample_id": "id", "question": "q", "options": "o", "label": "l", "category": "topic"}
PATHS = ["a.png", "no.png", "broken.png", "out.png", "loop.png", "folder", "../secret.png", "/etc/passwd", "/dev/zero",
         "a.png\0", "", ".", "\ud800.png", "x" * 5000]  # fmt: skip


def rows() -> list[dict[str, Any]]:
    return [
        {"id": f"q{i}", "q": f"Which, {i}?", "o": ["a", "b", "c"], "l": i % 3, "topic": "food", "land": "AB"[i % 2],
         "picture": "a.png"}
        for i in range(8)
    ]  # fmt: skip


@st.composite
def changed_rows(draw: Any) -> list[dict[str, Any]]:
    """Good rows with some cells that are not."""
    good, names = rows(), [*rows()[0], "other"]
    for _ in range(draw(st.integers(0, 6))):
        row, name = draw(st.integers(0, len(good) - 1)), draw(st.sampled_from(names) | texts)
        rare = draw(st.integers(0, 12)) == 0
        good[row][name] = draw(large if rare else cells | st.binary(max_size=8) | st.sampled_from(PATHS))
        if draw(st.integers(0, 9)) == 0 and good[row]:
            del good[row][draw(st.sampled_from(sorted(good[row])))]
    return good


def as_jsonl(records: list[dict[str, Any]]) -> bytes:
    lines = [json.dumps(r, default=repr, ensure_ascii=i % 2 == 0) + "\n" for i, r in enumerate(records)]
    return "".join(lines).encode("utf-8", "surrogatepass")


def as_csv(records: list[dict[str, Any]]) -> bytes:
    buffer = io.StringIO(newline="")
    names = list(dict.fromkeys(name for r in records for name in r))
    writer = csv.DictWriter(buffer, names, escapechar="\\")
    writer.writeheader()
    for r in records:
        writer.writerow({k: json.dumps(v) if isinstance(v, list) else v for k, v in r.items()})
    return buffer.getvalue().encode("utf-8", "surrogatepass")


def as_parquet(records: list[dict[str, Any]]) -> bytes:
    """Each column in the type that its cells agree on, else as text."""
    arrays = {}
    for name in dict.fromkeys(name for r in records for name in r):
        column = [r.get(name) for r in records]
        try:
            array = pa.array(column)
            pq.write_table(pa.table([array], names=["x"]), io.BytesIO())
        except (pa.ArrowException, ValueError, OverflowError, TypeError):
            array = pa.array([str(v)[:100].encode("utf-8", "replace").decode() for v in column])
        arrays[name.encode("utf-8", "replace").decode()] = array
    buffer = io.BytesIO()
    pq.write_table(pa.table(arrays), buffer)
    return buffer.getvalue()


@st.composite
def mangled(draw: Any, content: bytes) -> bytes:
    """A file as it is, or cut short, with bytes that do not belong there, or another file altogether."""
    kind = draw(st.sampled_from(["", "", "", "cut", "junk", "bytes", "bom", "twice", "ragged", "utf-16", "empty"]))
    at = draw(st.integers(0, len(content)))
    if kind == "cut":
        return content[:at]
    if kind in ("junk", "bytes"):
        junk = draw(st.binary(min_size=1, max_size=6) | st.sampled_from([b"\0", b"\xff", b'"', b"\r", b"\n,,,,\n"]))
        return content[:at] + junk + content[at + (len(junk) if kind == "bytes" else 0) :]
    return {
        "": content, "bom": b"\xef\xbb\xbf" + content, "twice": content + content, "ragged": content + b"a,b,c\n" * 3,
        "utf-16": content.decode("latin-1").encode("utf-16"), "empty": b"",
    }[kind]  # fmt: skip


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    log = logging.getLogger("culture_neurons")
    level = log.level
    log.setLevel("ERROR")
    yield
    log.setLevel(level)


def prepared(folder: Path, source: Any, filtered: dict[str, Any]) -> None:
    """Run the step under the law; where it worked, its files can be read and account for each row."""
    out = folder / "out"
    o = argparse.Namespace(
        source=source, filter=filtered, split={}, judging=[], threads=1, log=None,
        **{key: out / name for key, name in OUTPUTS.items()},
    )  # fmt: skip
    with law(folder, "out", *(f"out/{name}" for name in OUTPUTS.values())):
        prepare.main(o)
        found, opener = read_samples(out / "samples.parquet")
        dropped = files.read_csv(out / "dropped.csv", ["sample_id", "culture", "reason"], ["sample_id", "culture"])
        counts = files.read_csv(out / "counts.csv", ["n"], ["culture", "category"])
        assert counts["n"].sum() == len(found)
        assert set(dropped["reason"]) <= set(reasons.ALL)
        assert set(counts["culture"]) == {sample.culture for sample in found}
        for sample in found:
            assert 2 <= len(sample.options) <= 26
            assert 0 <= sample.label < len(sample.options)
            assert max(map(len, (sample.question, *sample.options))) <= 20_000
            if filtered.get("check_images", True):
                opener(sample.image)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for all cases. In it images: a good one, a broken one, links that lead out and in circles, a folder."""
    folder = tmp_path_factory.mktemp("place")
    inside = folder / "in"
    (inside / "folder").mkdir(parents=True)
    (inside / "labels.csv").write_text("id,l\n" + "".join(f"q{i},1\n" for i in range(9)), encoding="utf-8")
    (inside / "a.png").write_bytes(png())
    (inside / "broken.png").write_bytes(BROKEN)
    (folder / "secret.png").write_bytes(png())
    (inside / "out.png").symlink_to(folder / "secret.png")
    (inside / "loop.png").symlink_to(inside / "loop.png")
    return folder


LABELS = {"path": "labels.csv", "id": "id", "label": "l"}
specs = st.fixed_dictionaries(
    {"images": st.sampled_from(["none", "path", "path", "bytes"])},
    optional={
        "label_kind": st.sampled_from(["index", "letter", "text"]) | cells,
        "label_base": st.sampled_from([0, 1]) | cells,
        "image_root": texts | cells,
        "labels": cells | st.just(LABELS),
        "columns": st.dictionaries(st.sampled_from([*ROLES, "culture", "image_id"]), texts | cells),
        "path": texts | cells,
        "more": cells,
    },
)
filters = st.fixed_dictionaries(
    {"group_by": st.sampled_from(["land", "land", "land", "topic", "culture", "q", "id", "picture"]) | cells},
    optional={
        "min_samples": st.integers(0, 3) | cells,
        "top_cultures": st.integers(0, 3) | cells,
        "cultures": st.lists(texts, max_size=3) | cells,
        "categories": cells,
        "check_images": st.booleans() | cells,
        "max_aspect_ratio": st.sampled_from([1, 1.5, 200, None]) | cells,
    },
)
#: True now and then.
odd = st.integers(0, 3).map(lambda n: n == 0)
FORMATS = {"t.jsonl": as_jsonl, "t.csv": as_csv, "t.parquet": as_parquet}


def table(place: Path, content: bytes, name: str, spec: dict[str, Any], filtered: dict[str, Any]) -> None:
    """Prepare a table from a file of this content, with settings that differ from good ones by `spec`."""
    path = place / "in" / name
    path.write_bytes(content)
    roles = ROLES | ({"image": "picture"} if spec.get("images", "none") != "none" else {})
    good = {"type": "table", "path": str(path), "columns": roles, "image_root": str(path.parent)}
    if isinstance(spec.get("columns"), dict):
        spec = spec | {"columns": roles | spec["columns"]}
    if spec.get("labels") == LABELS:
        spec = spec | {"labels": LABELS | {"path": str(place / "in" / "labels.csv")}}
    prepared(place, good | spec, filtered)


@cases("table")
@given(changed_rows(), st.sampled_from(sorted(FORMATS)), odd, specs, odd, filters)
@example([r | {"l": 10**400} for r in rows()], "t.jsonl", False, {}, False, {})
@example([r | {"q": "e" + "\u0301" * 300_000 + "\u0316" * 300_000} for r in rows()], "t.jsonl", False, {}, False, {})
@example([r | {f"c{i}": i for i in range(1000)} for r in rows()], "t.csv", False, {}, False, {})
@example([r | {"id": "x" * 10**6, "land": "y" * 10**6} for r in rows()], "t.csv", False, {}, True, {"cultures": ["y"]})
def test_table(
    place: Path, records: list[dict], name: str, other: bool, spec: dict[str, Any], chosen: bool, filtered: dict
) -> None:
    spec = spec if other else {"images": spec.get("images", "none")}
    table(place, FORMATS[name](records), name, spec, filtered if chosen else {"group_by": "land"})


@cases("raw table")
@given(st.sampled_from(sorted(FORMATS)).flatmap(lambda name: st.tuples(st.just(name), mangled(FORMATS[name](rows())))))
@example(("t.jsonl", b"[" * 90_000))
@example(("t.jsonl", as_jsonl(rows()).replace(b'"l": 1', b'"l": ' + b"1" * 5000)))
@example(("t.csv", b"id,id\n1,2\n"))
@example(("t.csv", b"," * 20_000))
@example(("t.csv", b'"' + b"x" * 10**7))
def test_file_of_a_table(place: Path, file: tuple[str, bytes]) -> None:
    table(place, file[1], file[0], {}, {"group_by": "land"})


@pytest.mark.parametrize("depth", [700, *map(slow, range(707, 994, 7)), 994, 5000])
def test_lists_in_lists(place: Path, depth: int) -> None:
    deep = '{"id": "a", "q": %s, "o": %s, "l": 0}' % (("[" * depth + "]" * depth,) * 2)
    table(place, f"{deep}\n".encode() + as_jsonl(rows()), "t.jsonl", {}, {"group_by": "land"})


def test_parquet_with_two_columns_of_one_name(tmp_path: Path) -> None:
    two = pa.Table.from_arrays([pa.array(["1"]), pa.array(["2"])], names=["id", "id"])
    pq.write_table(two, tmp_path / "t.parquet")
    with pytest.raises(DataError, match="two columns are called 'id'"):
        tabular.read(tmp_path / "t.parquet", ["id"], "source.path")
    with pytest.raises(DataError, match="two columns are called 'id'"):
        hub_rows.open_rows(str(tmp_path / "t.parquet"), None, "test")


def test_parquet_with_text_that_is_none(tmp_path: Path) -> None:
    bad = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe"))
    pq.write_table(pa.table({"id": bad, "image": [None]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="not readable as parquet"):
        tabular.read(tmp_path / "t.parquet", ["id"], "source.path")


cvqa_specs = st.fixed_dictionaries(
    {},
    optional={
        "language": st.sampled_from(["english", "native"]) | cells,
        "one_language_per_country": st.booleans() | cells,
        "label_kind": st.sampled_from(["index", "letter", "text"]) | cells,
        "label_base": st.sampled_from([0, 1]) | cells,
        "labels": cells,
        "split": st.sampled_from(["test", "train"]) | cells,
        "revision": cells,
        "path": st.none() | st.integers() | st.just("in\0"),
        "more": cells,
    },
)
SUBSETS = [
    "('Japanese', 'Japan')", "('a',)", "(1, 2)", "{[]: 1}", "(" * 400, "-" * 900 + "1", "('\\d', '\\w')", "f''",
    "'" * 3, "('\ud800', 'x')", "['a', 'b']", "('<b>', '../x')", "('\0', 'x')", "(" + "1," * 300 + ")",
]  # fmt: skip


@st.composite
def cvqa_files(draw: Any) -> bytes:
    good = [record(i) for i in range(9)]
    for _ in range(draw(st.integers(0, 5))):
        row, name = draw(st.integers(0, len(good) - 1)), draw(st.sampled_from(sorted(good[0])))
        value = draw(st.sampled_from(SUBSETS) | cells | st.binary(max_size=8))
        good[row][name] = {"bytes": value, "path": None} if name == "image" and draw(st.booleans()) else value
    content = as_parquet(good)
    return draw(mangled(content)) if draw(odd) else content


@cases("cvqa")
@given(cvqa_files(), odd, cvqa_specs)
@example(as_parquet([record(i) | {"Subset": SUBSETS[i % len(SUBSETS)]} for i in range(20)]), False, {})
def test_cvqa(place: Path, content: bytes, other: bool, spec: dict[str, Any]) -> None:
    (place / "in" / "test.parquet").write_bytes(content)
    good = {"type": "cvqa", "path": str(place / "in" / "test.parquet"), "split": "test"}
    prepared(place, good | (spec if other else {}), {})
