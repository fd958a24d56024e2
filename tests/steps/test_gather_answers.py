"""Shards of answers become the file that one job would have written, byte for byte, or an error says why not."""

import pytest

from culture_neurons import files
from culture_neurons.errors import FileError
from culture_neurons.models import batching
from culture_neurons.steps import gather_answers, infer

pytestmark = pytest.mark.workflow


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of questions that are few enough for several shards."""
    monkeypatch.setattr(batching, "BLOCK", 8)


def gathered(step, base, folder, shards, batch_size=8):
    parts = [folder / f"{shard}.parquet" for shard in range(shards)]
    for shard, part in enumerate(parts):
        step.run(infer, *step.shared(base, batch_size), "--shard", shard, "--shards", shards, "--answers-out", part)
    # In another order than they were made.
    step.run(gather_answers, "--shards", *parts[::-1], "--out", folder / "p.parquet")
    return folder / "p.parquet"


def test_answers_are_the_same_bytes_for_any_number_of_shards(base, tmp_path, step):
    one, *others = (gathered(step, base, tmp_path / str(n), n).read_bytes() for n in (1, 3, 4))
    assert others == [one, one]
    assert all(len(files.read_table(tmp_path / "4" / f"{k}.parquet")[0]) for k in range(4))


@pytest.mark.parametrize(("formed", "expected"), [(0.4, True), (0.5, False)])
def test_answers_without_form_are_said(base, tmp_path, step, caplog, formed, expected):
    table, metadata = files.read_table(base / "answers.parquet")
    table["well_formed"] = [i < formed * len(table) for i in range(len(table))]
    files.write_table(tmp_path / "answers.parquet", table, metadata)
    step.run(gather_answers, "--shards", tmp_path / "answers.parquet", "--out", tmp_path / "predictions.parquet")
    warned = "warning: predictions.parquet: less than half of m's answers are well formed"
    assert any(text.startswith(warned) for text in caplog.messages) == expected


def test_batch_size_may_change_between_the_shards_of_a_run(base, tmp_path, step):
    parts = [tmp_path / f"{shard}.parquet" for shard in range(3)]
    for shard, part in enumerate(parts):
        size = step.shared(base, batch_size=(8, 3, 16)[shard])
        step.run(infer, *size, "--shard", shard, "--shards", 3, "--answers-out", part)
    step.run(gather_answers, "--shards", *parts, "--out", tmp_path / "p.parquet")
    answers, _ = files.read_table(tmp_path / "p.parquet")
    expected, _ = files.read_table(base / "m/predictions.parquet")
    assert answers[["sample_id", "prediction"]].equals(expected[["sample_id", "prediction"]])


def test_shards_that_make_no_whole_are_named(base, tmp_path, step):
    gathered(step, base, tmp_path, 3)
    parts = [tmp_path / f"{shard}.parquet" for shard in range(3)]
    out = tmp_path / "out" / "p.parquet"
    with pytest.raises(FileError, match=r"the shards hold \d+ rows, expected 72 rows, each once\n.*run again"):
        step.run(gather_answers, "--shards", *parts[:2], "--out", out)
    with pytest.raises(FileError, match=r"the shards hold sample '.*' twice, expected 72 rows"):
        step.run(gather_answers, "--shards", *parts, parts[0], "--out", out)
    table, metadata = files.read_table(parts[1])
    files.write_table(parts[1], table, {**metadata, "revision": "older"})
    with pytest.raises(FileError, match=r"1\.parquet: made with another revision than .*0\.parquet\n"):
        step.run(gather_answers, "--shards", *parts, "--out", out)
    assert not out.exists()
