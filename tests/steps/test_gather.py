"""Shards of answers become the files that one job would have written, byte for byte, or an error says why not."""

import pytest

from culture_neurons import files
from culture_neurons.errors import FileError
from culture_neurons.models import batching
from culture_neurons.steps import ablate, gather, infer
from tests.conftest import slow
from tests.steps.test_ablate import mask_file


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of questions that are few enough for several shards."""
    monkeypatch.setattr(batching, "BLOCK", 8)


def gathered(step, base, folder, shards, batch_size=8):
    parts = [folder / f"{shard}.parquet" for shard in range(shards)]
    for shard, part in enumerate(parts):
        step.run(infer, *step.shared(base, batch_size), "--shard", shard, "--shards", shards, "--answers-out", part)
    # In another order than they were made.
    step.run(gather, "--parts", *parts[::-1], "--out", folder / "p.parquet")
    return folder / "p.parquet"


def test_answers_are_the_same_bytes_for_any_number_of_shards(base, tmp_path, step):
    one, *others = (gathered(step, base, tmp_path / str(n), n).read_bytes() for n in (1, 3, 4))
    assert others == [one, one]
    assert len({len(files.read_table(tmp_path / "4" / f"{k}.parquet")[0]) for k in range(4)} - {0}) > 0
    assert all(len(files.read_table(tmp_path / "4" / f"{k}.parquet")[0]) for k in range(4))


@pytest.mark.parametrize(("formed", "said"), [(0.4, True), (0.5, False)])
def test_answers_without_form_are_said(base, tmp_path, step, caplog, formed, said):
    table, metadata = files.read_table(base / "answers.parquet")
    table["well_formed"] = [i < formed * len(table) for i in range(len(table))]
    files.write_table(tmp_path / "answers.parquet", table, metadata)
    step.run(gather, "--parts", tmp_path / "answers.parquet", "--out", tmp_path / "predictions.parquet")
    warned = "warning: predictions.parquet: less than half of m's answers are well formed"
    assert any(text.startswith(warned) for text in caplog.messages) == said


def test_batch_size_may_change_between_the_shards_of_a_run(base, tmp_path, step):
    parts = [tmp_path / f"{shard}.parquet" for shard in range(3)]
    for shard, part in enumerate(parts):
        size = step.shared(base, batch_size=(8, 3, 16)[shard])
        step.run(infer, *size, "--shard", shard, "--shards", 3, "--answers-out", part)
    step.run(gather, "--parts", *parts, "--out", tmp_path / "p.parquet")
    found, _ = files.read_table(tmp_path / "p.parquet")
    expected, _ = files.read_table(base / "predictions.parquet")
    assert found[["sample_id", "prediction"]].equals(expected[["sample_id", "prediction"]])


def outcomes(step, base, folder, shards, mask_shards):
    cultures = sorted(set(files.read_table(base / "samples.parquet")[0]["culture"]))
    rows = [(name, "act_fn", i % 2, 7 * i) for i, name in enumerate(cultures)]
    masks = [mask_file(base, folder / f"mask{n}.parquet", rows[: n + 2], cultures) for n in range(2)]
    parts = []
    for m in range(mask_shards):
        for q in range(shards):
            parts.append(folder / f"{m}-{q}.parquet")
            which = ["--mask-shard", m, "--mask-shards", mask_shards, "--shard", q, "--shards", shards]
            step.run(ablate, *step.shared(base), *which, "--masks", *masks, "--outcomes-out", parts[-1])
    outs = [folder / "out0.parquet", folder / "out1.parquet"]
    step.run(gather, "--parts", *parts[::-1], "--out", *outs)
    return [out.read_bytes() for out in outs]


@pytest.mark.parametrize(("shards", "mask_shards"), [slow(3, 1), slow(1, 2), (2, 7)])  # 7: more than there are masks
def test_outcomes_are_the_same_bytes_for_any_shards_of_masks_and_questions(base, tmp_path, shards, mask_shards, step):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert outcomes(step, base, whole, 1, 1) == outcomes(step, base, parts, shards, mask_shards)


def test_outcomes_of_several_selectors_are_those_of_a_job_for_each(base, tmp_path, step):
    """One job asks two files, by two factors each; each file's outcomes are gathered apart."""
    cultures = sorted(set(files.read_table(base / "samples.parquet")[0]["culture"]))
    rows = [(name, "act_fn", i % 2, 7 * i) for i, name in enumerate(cultures)]
    masks = [mask_file(base, tmp_path / f"mask{n}.parquet", rows[: n + 1], cultures) for n in range(2)]

    def asked(masks, part):
        words = ["--masks", *masks, "--factors", 0, 2, "--outcomes-out", part]
        step.run(ablate, *step.shared(base), *words)
        return part

    together = asked(masks, tmp_path / "together.parquet")
    for number, mask in enumerate(masks):
        alone = asked([mask], tmp_path / f"alone{number}.parquet")
        outs = {
            part: [tmp_path / f"{part.stem}-{number}-{factor}.parquet" for factor in (0, 2)]
            for part in (together, alone)
        }
        step.run(gather, "--parts", together, "--before", 2 * number, "--out", *outs[together])
        step.run(gather, "--parts", alone, "--out", *outs[alone])
        found, expected = ([out.read_bytes() for out in outs[part]] for part in (together, alone))
        assert found == expected
        assert found[0] != found[1]
    with pytest.raises(FileError, match=r"together\.parquet: holds answers for 4 files; expected at least 3 \+ 2"):
        step.run(gather, "--parts", together, "--before", 3, "--out", *outs[together])


def test_shards_that_make_no_whole_are_named(base, tmp_path, step):
    gathered(step, base, tmp_path, 3)
    parts = [tmp_path / f"{shard}.parquet" for shard in range(3)]
    out = tmp_path / "out" / "p.parquet"
    with pytest.raises(FileError, match=r"the shards hold \d+ rows, expected 72 rows, each once\n.*run again"):
        step.run(gather, "--parts", *parts[:2], "--out", out)
    with pytest.raises(FileError, match=r"the shards hold sample '.*' twice, expected 72 rows"):
        step.run(gather, "--parts", *parts, parts[0], "--out", out)
    table, metadata = files.read_table(parts[1])
    files.write_table(parts[1], table, {**metadata, "revision": "older"})
    with pytest.raises(FileError, match=r"1\.parquet: made with another revision than .*0\.parquet\n"):
        step.run(gather, "--parts", *parts, "--out", out)
    assert not out.exists()
