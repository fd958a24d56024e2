from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from culture_neurons import files
from culture_neurons.data import hub_rows, images, reasons, registry
from culture_neurons.data.readers import cvqa
from culture_neurons.data.samples import read_samples
from culture_neurons.errors import ConfigError, DataError
from culture_neurons.steps import prepare
from tests.data.conftest import BROKEN, record

Write = Callable[..., str]


def test_english(cvqa_parquet: Write) -> None:
    table = registry.read({"type": "cvqa", "path": cvqa_parquet([record(i) for i in range(12)])})
    row = table.rows.iloc[4].to_dict()
    assert row.pop("image_id") == images.content_id(record(4)["image"]["bytes"])
    assert row == {
        "sample_id": "004_0",
        "question": "Question 4?",
        "options": ["one", "two ", "three", "four"],
        "label": 0,
        "category": "Plants",
        "image": {"row": 4},
        "culture": "India-Hindi",
        "subset": "India-Hindi",
        "language": "Hindi",
        "country": "India",
        "excluded": None,
    }
    assert table.images == {
        "type": "datasets",
        "path": table.images["path"],
        "revision": None,
        "split": "test",
        "column": "image",
    }


def test_native(cvqa_parquet: Write) -> None:
    rows = cvqa.read({"type": "cvqa", "path": cvqa_parquet([record(0)]), "language": "native"}).rows
    assert rows["question"].tolist() == ["質問 0?"]
    assert rows["options"].tolist() == [["い", "ろ", "は", "に"]]


def test_questions_about_one_image_share_its_id(cvqa_parquet: Write) -> None:
    rows = cvqa.read({"type": "cvqa", "path": cvqa_parquet([record(i) for i in range(12)])}).rows
    assert rows["image_id"][0] == rows["image_id"][3]
    assert rows["image_id"].nunique() == 6


@pytest.mark.parametrize("saved", [True, False])
def test_reading_neither_decodes_nor_copies_images(
    saved: bool, cvqa_data: Any, cvqa_parquet: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [record(0), record(1, image={"bytes": BROKEN, "path": "x.png"})]
    path = cvqa_parquet(rows)
    if saved:
        path = str(tmp_path / "saved")
        cvqa_data(rows).save_to_disk(path)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("an image was decoded")

    with monkeypatch.context() as patch:
        patch.setattr(Image, "open", refuse)
        table = cvqa.read({"type": "cvqa", "path": path})
    assert table.rows["image"].tolist() == [{"row": 0}, {"row": 1}]
    open_image = images.opener(table.images)
    assert open_image({"row": 0}).size == (6, 4)
    with pytest.raises(DataError, match="image of row 1: unreadable image"):
        open_image({"row": 1})
    inspected = list(images.inspect([{"row": 1}, {"row": 0}], table.images, threads=2))
    assert inspected == [(reasons.BAD_IMAGE, None), ("", (6, 4))]


def test_an_image_without_bytes_is_not_a_question_without_an_image(cvqa_parquet: Write) -> None:
    path = cvqa_parquet([record(0, image=None), record(1, image={"bytes": None, "path": "gone.png"})])
    table = cvqa.read({"type": "cvqa", "path": path})
    assert table.rows["image"].tolist() == [None, {"row": 1}]
    assert table.rows["image_id"].tolist() == ["", "row:1"]
    assert list(images.inspect([{"row": 1}], table.images)) == [(reasons.BAD_IMAGE, None)]


def test_hidden_labels_are_refused(cvqa_parquet: Write) -> None:
    path = cvqa_parquet([record(i, Label=-1) for i in range(3)])
    with pytest.raises(DataError, match=r"split test\): every Label is -1: .*\n  set source.labels to {path, id"):
        cvqa.read({"type": "cvqa", "path": path})


def test_labels_of_a_second_table(cvqa_parquet: Write, tmp_path: Path) -> None:
    path = cvqa_parquet([record(i, Label=-1) for i in range(3)])
    (tmp_path / "labels.csv").write_text("ID,answer\n000_0,D\n002_0,B\n", encoding="utf-8")
    labels = {"path": str(tmp_path / "labels.csv"), "id": "ID", "label": "answer"}
    rows = cvqa.read({"type": "cvqa", "path": path, "labels": labels, "label_kind": "letter"}).rows
    assert rows["label"].tolist() == [3, None, 1]
    mirror = cvqa_parquet([record(i) for i in range(3)], "mirror.parquet")
    rows = cvqa.read({"type": "cvqa", "path": path, "labels": {"path": mirror, "id": "ID", "label": "Label"}}).rows
    assert rows["label"].tolist() == [0, 1, 2]


def test_labels_from_one_are_refused(cvqa_parquet: Write, tmp_path: Path) -> None:
    spec = {"type": "cvqa", "path": cvqa_parquet([record(i, Label=1 + i % 4) for i in range(8)])}
    with pytest.raises(DataError, match=r"\(split test\): column 'Label': none of 8 labels is 0 .* set label_base: 1$"):
        cvqa.read(spec)
    assert cvqa.read(spec | {"label_base": 1}).rows["label"].tolist() == [0, 1, 2, 3] * 2
    text = "ID,answer\n" + "".join(f"{i:03d}_0,{1 + i % 4}\n" for i in range(8))
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    spec |= {"labels": {"path": str(tmp_path / "labels.csv"), "id": "ID", "label": "answer"}}
    with pytest.raises(DataError, match=r"labels\.csv: column 'answer': none of 8 labels is 0 .* set label_base: 1$"):
        cvqa.read(spec)
    assert cvqa.read(spec | {"label_base": 1}).rows["label"].tolist() == [0, 1, 2, 3] * 2
    with pytest.raises(ConfigError, match=r"source\.label_base: goes with label_kind: index"):
        cvqa.read(spec | {"label_base": 1, "label_kind": "letter"})


def test_a_label_outside_among_good_ones_is_said(cvqa_parquet: Write) -> None:
    table = cvqa.read({"type": "cvqa", "path": cvqa_parquet([record(i, Label=i % 5 % 5) for i in range(9)])})
    (warning,) = table.warnings
    assert "column 'Label': 1 of 9 labels are the number of options: outside" in warning


def test_a_table_of_labels_that_is_not_there_is_noticed_before_the_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the data set was opened")

    monkeypatch.setattr(hub_rows, "open_rows", refuse)
    labels = {"path": str(tmp_path / "labels.csv"), "id": "ID", "label": "Label"}
    with pytest.raises(DataError, match=r"source\.labels\.path: no such file: .*labels\.csv\n  .*ask its authors"):
        cvqa.read({"type": "cvqa", "labels": labels})
    with pytest.raises(ConfigError, match=r"source\.labels\.id: expected a text"):
        cvqa.read({"type": "cvqa", "labels": labels | {"id": None}})


def test_one_language_per_country(cvqa_parquet: Write) -> None:
    path = cvqa_parquet([record(i) for i in range(8)])  # 3 Japanese, 3 Hindi, 2 Marathi
    spec = {"type": "cvqa", "path": path}
    assert cvqa.read(spec).rows["excluded"].tolist() == [None] * 8
    excluded = cvqa.read(spec | {"one_language_per_country": True}).rows["excluded"].tolist()
    assert excluded == [reasons.OTHER_LANGUAGE if i % 3 == 2 else None for i in range(8)]


def test_the_first_name_wins_among_equally_many(cvqa_parquet: Write) -> None:
    rows = cvqa.read({
        "type": "cvqa", "path": cvqa_parquet([record(2), record(1)]), "one_language_per_country": True,
        "label_base": 0,
    }).rows  # fmt: skip
    assert rows["excluded"].tolist() == [reasons.OTHER_LANGUAGE, None]  # Marathi, Hindi


@pytest.mark.parametrize(("value", "pair"), [
    ("('Japanese', 'Japan')", ("Japanese", "Japan")), ('("Côte", "d\'Ivoire")', ("Côte", "d'Ivoire")),
    (["a ", "b"], ("a", "b")), ("('a',)", None), ("('a', '')", None), ("('a', 1)", None), ("Japan", None),
    ("__import__('os').getcwd()", None), ("(" * 400, None), (None, None), (("a", "b", "c"), None), ("'ab'", None),
])  # fmt: skip
def test_subsets(value: Any, pair: tuple[str, str] | None) -> None:
    assert cvqa.parse_subset(value) == pair


def test_a_subset_that_is_none_is_left_out(cvqa_parquet: Write) -> None:
    rows = cvqa.read({"type": "cvqa", "path": cvqa_parquet([record(0, Subset="Japan"), record(1)])}).rows
    assert rows["excluded"].tolist() == [reasons.SUBSET, None]
    assert rows["culture"].tolist() == [None, "India-Hindi"]


@pytest.mark.parametrize(("change", "message"), [
    ({"lang": "x"}, r"source: unknown key 'lang' \(did you mean 'language'\?\)"),
    ({"language": "German"}, r"source\.language: 'German'; expected english"),
    ({"one_language_per_country": "yes"}, r"source\.one_language_per_country: expected true or false, found 'yes'"),
    ({"label_kind": 1}, r"source\.label_kind: 1"),
])  # fmt: skip
def test_wrong_settings(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        cvqa.read({"type": "cvqa", "path": "x"} | change)


def test_a_column_that_is_not_there(cvqa_data: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "x.parquet")
    cvqa_data([record(0)]).rename_column("Subset", "Subsets").to_parquet(path)
    with pytest.raises(DataError, match=r"x\.parquet: no column 'Subset' \(did you mean 'Subsets'\?\); it has"):
        cvqa.read({"type": "cvqa", "path": path})


def test_from_the_data_set_to_samples(cvqa_parquet: Write, tmp_path: Path) -> None:
    path = cvqa_parquet([record(i) for i in range(23)] + [record(23, image={"bytes": BROKEN})])
    spec = {"type": "cvqa", "path": path, "one_language_per_country": True}
    words = ["--source", json.dumps(spec), "--filter", json.dumps({"group_by": "country"})]
    for name in ("samples.parquet", "dropped.csv", "counts.csv"):
        words += [f"--{name.partition('.')[0]}-out", str(tmp_path / "out" / name)]
    prepare.main(prepare.arguments().parse_args(words))
    samples, open_image = read_samples(tmp_path / "out" / "samples.parquet")
    assert {s.culture for s in samples} == {"India", "Japan"}
    assert [s.sample_id for s in samples] == [f"{i:03d}_0" for i in range(23) if i % 3 != 2]
    for row, colour in ((s.image["row"], open_image(s.image).getpixel((0, 0))) for s in samples):
        assert colour == (row // 6 * 20, 0, row % 3)
    sides: dict[str, set[str]] = {}
    for sample in samples:
        sides.setdefault(sample.image_id, set()).add(sample.split)
    assert [len(side) for side in sides.values()] == [1] * 8
    # Nothing of the images is in the file, and it carries the columns to group by.
    table, _ = files.read_table(tmp_path / "out" / "samples.parquet", ["language", "country", "subset"])
    assert all(reference["bytes"] is None for reference in table["image"])
