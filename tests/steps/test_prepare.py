from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from culture_neurons import files
from culture_neurons.data import registry
from culture_neurons.data.samples import read_samples
from culture_neurons.errors import DataError
from culture_neurons.steps import prepare
from tests.data.conftest import BROKEN, png

OUTPUTS = ("samples.parquet", "dropped.csv", "counts.csv")


def rows(n: int = 40) -> list[dict[str, Any]]:
    """Questions of two countries; each image is shared by two, one image is broken, one path leads out."""
    result = [
        {
            "id": f"q{i:02d}",
            "text": f"Which, {i}?",
            "choices": ["a", "b", "c", "d"],
            "answer": i % 4,
            "topic": f"t{i // 4 % 2}",
            "country": "NA" if i % 4 < 2 else "Côte d'Ivoire / ..",
            "picture": f"{i // 2}.png",
        }
        for i in range(n)
    ]
    result[3]["answer"] = 4
    result[4]["picture"] = "broken.png"
    result[5]["picture"] = "../questions.jsonl"
    result[6]["id"] = result[7]["id"]
    return result


def source(folder: Path, records: list[dict[str, Any]]) -> dict[str, Any]:
    pictures = folder / "pictures"
    pictures.mkdir(parents=True)
    for i in range(20):
        (pictures / f"{i}.png").write_bytes(png((i, i, 0)))
    (pictures / "broken.png").write_bytes(BROKEN)
    text = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "questions.jsonl").write_text(text, encoding="utf-8")
    columns = {"sample_id": "id", "question": "text", "options": "choices", "label": "answer"}
    columns |= {"category": "topic", "image": "picture"}
    path = str(folder / "questions.jsonl")
    return {"type": "table", "path": path, "columns": columns, "images": "path", "image_root": str(pictures)}


def arguments(spec: dict[str, Any], out: Path, *more: str, **stanza: Any) -> list[str]:
    stanza = {"group_by": "country"} | stanza
    names = zip(("--samples-out", "--dropped-out", "--counts-out"), OUTPUTS, strict=True)
    paths = [word for option, name in names for word in (option, str(out / name))]
    return ["--source", json.dumps(spec), "--filter", json.dumps(stanza), *paths, *more]


def prepared(spec: dict[str, Any], out: Path, *more: str, **stanza: Any) -> Path:
    prepare.main(prepare.arguments().parse_args(arguments(spec, out, *more, **stanza)))
    return out


def test_whose_options_are_comes_through(tmp_path: Path) -> None:
    records = [row | {"whose": [row["country"], "Peru", "Ghana", "Ghana"]} for row in rows()]
    records[8]["whose"] = ["Peru"]
    spec = source(tmp_path / "in", records)
    spec["columns"]["option_cultures"] = "whose"
    out = prepared(spec, tmp_path / "out")
    samples, _ = read_samples(out / "samples.parquet")
    assert [s.sample_id for s in samples] == [f"q{i:02d}" for i in range(40) if i not in (3, 4, 5, 6, 8)]
    assert {(s.culture, s.option_cultures) for s in samples} == {
        (name, (name, "Peru", "Ghana", "Ghana")) for name in ("NA", "Côte d'Ivoire / ..")
    }
    assert "q08,NA,cultures of options do not fit them\n" in (out / "dropped.csv").read_text(encoding="utf-8")


def test_the_three_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "culture_neurons")
    out = prepared(source(tmp_path / "in", rows()), tmp_path / "out")
    samples, open_image = read_samples(out / "samples.parquet")
    assert [s.sample_id for s in samples] == [f"q{i:02d}" for i in range(40) if i not in (3, 4, 5, 6)]
    assert {s.culture for s in samples} == {"NA", "Côte d'Ivoire / .."}
    assert open_image(samples[0].image).getpixel((0, 0)) == (0, 0, 0)
    side = {s.image_id: s.split for s in samples}
    assert all(side[s.image_id] == s.split for s in samples)

    dropped = files.read_csv(out / "dropped.csv", ["sample_id", "culture", "reason"])
    assert dropped.values.tolist() == [
        ["q03", "Côte d'Ivoire / ..", "label outside its options"],
        ["q04", "NA", "unreadable image"],
        ["q05", "NA", "image outside image_root"],
        ["q07", "Côte d'Ivoire / ..", "duplicate id"],
    ]
    counts = files.read_csv(out / "counts.csv", ["culture", "category", "split", "n"])
    table = pd.DataFrame([(s.culture, s.category, s.split) for s in samples], columns=["culture", "category", "split"])
    assert counts["n"].tolist() == table.groupby(["culture", "category", "split"]).size().tolist()
    assert counts["n"].sum() == 36
    sums = counts.groupby(["culture", "split"])["n"].sum()
    assert sums.between(8, 10).all()

    log = caplog.text
    assert "left out, unreadable image: 1 (NA 1)" in log
    assert "kept 36 samples of 2 cultures, 4 rows left out" in log
    metadata = files.read_table(out / "samples.parquet")[1]
    assert metadata["images"] == {"type": "files", "root": str(tmp_path / "in" / "pictures")}
    assert metadata["step"] == "prepare"
    assert metadata["settings"]["filter"] == {"group_by": "country"}


def test_what_the_user_should_know_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Marks of their own in options, labels outside, images that are wide or long: right, or said; never silent."""
    records = [record for record in rows() if record["id"] not in ("q04", "q05", "q07")]
    for record in records[20:]:
        record["choices"] = ["A. rice", "B. bread", "C. soup", "D. figs"]
    spec = source(tmp_path / "in", records)
    pictures = tmp_path / "in" / "pictures"
    Image.fromarray(np.full((4, 4), 257 * 30, np.uint16)).save(pictures / "0.png")
    (pictures / "1.png").write_bytes(png(size=(1093, 5)))
    out = prepared(spec, tmp_path / "out")
    samples, open_image = read_samples(out / "samples.parquet")
    assert open_image(samples[0].image).getpixel((0, 0)) == (30, 30, 30)
    dropped = files.read_csv(out / "dropped.csv", ["sample_id", "culture", "reason"])
    assert dropped.values.tolist() == [
        ["q02", "Côte d'Ivoire / ..", "aspect ratio of the image too large"],
        ["q03", "Côte d'Ivoire / ..", "label outside its options"],
    ]
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [text for text in warnings if "column 'answer': 1 of 36 labels are the number of options: outside" in text]
    assert [text for text in warnings if "options of 16 of 34 questions bring letters or numbers of their own" in text]
    assert len(warnings) == 2


def test_same_bytes_whatever_the_order_of_rows(tmp_path: Path) -> None:
    records = [record for i, record in enumerate(rows()) if i != 6]
    spec = source(tmp_path / "in", records)
    first = prepared(spec, tmp_path / "a")
    text = "".join(json.dumps(record) + "\n" for record in reversed(records))
    Path(spec["path"]).write_text(text, encoding="utf-8")
    second = prepared(spec, tmp_path / "b", "--threads", "3")
    for name in OUTPUTS:
        assert (first / name).read_bytes() == (second / name).read_bytes()
    other = prepared(spec, tmp_path / "c", "--split", '{"seed": 2}')
    assert (first / "dropped.csv").read_bytes() == (other / "dropped.csv").read_bytes()
    assert (first / "samples.parquet").read_bytes() != (other / "samples.parquet").read_bytes()


def test_a_share_for_identify(tmp_path: Path) -> None:
    out = prepared({"type": "synthetic", "cultures": 2}, tmp_path, "--split", '{"identify": 0.25}', group_by="culture")
    samples, _ = read_samples(out / "samples.parquet")
    identify, _ = read_samples(out / "samples.parquet", "identify")
    assert abs(len(identify) / len(samples) - 0.25) < 0.02


def test_halves_by_category(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "culture_neurons")
    records = [record | {"topic": f"t{i % 3}", "picture": None} for i, record in enumerate(rows())]
    halves = json.dumps({"by": "category", "identify": ["t2"], "evaluate": ["t0"]})
    out = prepared(source(tmp_path / "in", records), tmp_path / "out", "--split", halves)
    samples, _ = read_samples(out / "samples.parquet")
    assert {(s.category, s.split) for s in samples} == {("t2", "identify"), ("t0", "evaluate")}
    dropped = files.read_csv(out / "dropped.csv", ["sample_id", "reason"])
    assert (dropped["reason"] == "category in neither half").sum() == 12  # of 13; one repeats an id
    assert "left out, category in neither half: 12 (" in caplog.text
    halves = json.dumps({"by": "category", "identify": ["t2"], "evaluate": ["t3"]})
    with pytest.raises(DataError, match="split: no row has 't3'"):
        prepared(source(tmp_path / "again", records), tmp_path / "out2", "--split", halves)


def test_a_whole_data_set_of_one_culture(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    records = [record | {"country": "all", "picture": None} for record in rows()]
    out = prepared(source(tmp_path / "in", records), tmp_path / "out", "--split", '{"by": "whole"}')
    samples, _ = read_samples(out / "samples.parquet")
    assert {(s.culture, s.split) for s in samples} == {("all", "evaluate")}
    assert "fall into" not in caplog.text
    with pytest.raises(DataError, match="fewer than two cultures are left"):
        prepared(source(tmp_path / "again", records), tmp_path / "out2")


def test_warnings_of_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    records = rows() + [dict(rows()[0], id=f"x{i}", country=f"X{i}", picture=None, answer=i * 9) for i in range(2)]
    names = ["NA", "Côte d'Ivoire / ..", "X0", "X1"]
    prepared(source(tmp_path / "in", records), tmp_path / "out", cultures=names)
    assert "no sample of 'X1' is left" in caplog.text
    assert "all samples of 'X0' fall into" in caplog.text


def test_what_the_rows_were_made_from_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO", "culture_neurons")
    table = registry.read(source(tmp_path / "in", rows()))
    origin = {"package": "faker", "version": "1.2", "licence": "MIT", "kind": "family name", "used": 40}
    monkeypatch.setattr(registry, "read", lambda spec: replace(table, origins=[origin]))
    out = prepared({"type": "facts"}, tmp_path / "out")
    assert files.read_table(out / "samples.parquet", ["sample_id"])[1]["origins"] == [origin]
    assert "package faker, version 1.2, licence MIT, kind family name, used 40" in caplog.text
    monkeypatch.setattr(registry, "read", lambda spec: table)
    out = prepared({"type": "table"}, tmp_path / "other")
    assert "origins" not in files.read_table(out / "samples.parquet", ["sample_id"])[1]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "culture_neurons.steps.prepare", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_an_error_is_short_and_leaves_no_file(tmp_path: Path) -> None:
    spec = source(tmp_path / "in", rows())
    done = run(*arguments(spec, tmp_path / "out", cultures=["Cote d'Ivoire", "NA"], check_images=False))
    assert done.returncode == 1
    assert 'error: filter.cultures: no row has "Cote d\'Ivoire"' in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.workflow
@pytest.mark.parametrize("kind", ["table", "synthetic"])
def test_neither_torch_nor_datasets_is_imported(tmp_path: Path, kind: str) -> None:
    spec = source(tmp_path / "in", rows()) if kind == "table" else {"type": "synthetic", "cultures": 2}
    words = arguments(spec, tmp_path / "out", group_by="country")
    code = (
        "import sys; from culture_neurons.steps import prepare\n"
        "prepare.main(prepare.arguments().parse_args(sys.argv[1:]))\n"
        "print(sorted({'torch', 'datasets', 'transformers', 'h5py', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_questions_that_judge_neurons_elsewhere_choose_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "culture_neurons")
    spec = source(tmp_path / "in", rows())
    own = prepared(spec, tmp_path / "own")
    judges = {s.sample_id for s in read_samples(own / "samples.parquet", "evaluate")[0]}
    chooses = ["--split", '{"by": "whole", "half": "identify"}', "--judging", str(own / "samples.parquet")]
    out = prepared(spec, tmp_path / "out", *chooses)
    kept = {s.sample_id for s in read_samples(out / "samples.parquet")[0]}
    assert kept == {s.sample_id for s in read_samples(own / "samples.parquet", "identify")[0]}
    dropped = files.read_csv(out / "dropped.csv", ["sample_id", "culture", "reason"])
    assert set(dropped.query("reason == 'judges neurons in another data set'")["sample_id"]) == judges
    assert dropped["sample_id"].is_monotonic_increasing
    assert len(dropped) == len(judges) + 4
    assert files.read_csv(out / "counts.csv", ["n"])["n"].sum() == len(kept)
    assert "left out, judges neurons in another data set" in caplog.text

    whole = prepared(spec, tmp_path / "whole", "--split", '{"by": "whole", "half": "evaluate"}')
    with pytest.raises(DataError, match=r"all 36 questions that would choose .*whole/samples.parquet"):
        prepared(spec, tmp_path / "none", *chooses[:-1], str(whole / "samples.parquet"))
    assert not (tmp_path / "none" / "samples.parquet").exists()
