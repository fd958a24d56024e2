"""Shards of answers under masks become the files that one job would have written, byte for byte."""

import pytest

from culture_neurons import files
from culture_neurons.errors import FileError
from culture_neurons.models import batching
from culture_neurons.steps import ablate, gather_outcomes
from tests.conftest import slow
from tests.steps.test_ablate import mask_file

pytestmark = pytest.mark.workflow


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of questions that are few enough for several shards."""
    monkeypatch.setattr(batching, "BLOCK", 8)


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
    for number, out in enumerate(outs):
        step.run(gather_outcomes, "--shards", *parts[::-1], "--mask-file", number, "--out", out)
    return [out.read_bytes() for out in outs]


@pytest.fixture(scope="module")
def unsharded_outcomes(base, step, tmp_path_factory):
    """Outcomes of one job."""
    return outcomes(step, base, tmp_path_factory.mktemp("whole"), 1, 1)


@pytest.mark.parametrize(("shards", "mask_shards"), [slow(3, 1), slow(1, 7), (2, 2)])  # 7: more than there are masks
def test_outcomes_are_the_same_bytes_for_any_shards_of_masks_and_questions(
    base, unsharded_outcomes, tmp_path, shards, mask_shards, step
):
    assert outcomes(step, base, tmp_path, shards, mask_shards) == unsharded_outcomes


def test_outcomes_of_several_selectors_are_those_of_a_job_for_each(base, tmp_path, step):
    """One job asks two files, by two factors each; each file's outcomes are gathered apart."""
    cultures = sorted(set(files.read_table(base / "samples.parquet")[0]["culture"]))
    rows = [(name, "act_fn", i % 2, 7 * i) for i, name in enumerate(cultures)]
    masks = [mask_file(base, tmp_path / f"mask{n}.parquet", rows[: n + 1], cultures) for n in range(2)]

    def ask(masks, part):
        words = ["--masks", *masks, "--factors", 0, 2, "--outcomes-out", part]
        step.run(ablate, *step.shared(base), *words)
        return part

    together = ask(masks, tmp_path / "together.parquet")
    for number, mask in enumerate(masks):
        alone = ask([mask], tmp_path / f"alone{number}.parquet")
        contents = {}
        for factor in range(2):
            for part, first in ((together, 2 * number), (alone, 0)):
                out = tmp_path / f"{part.stem}-{number}-{factor}.parquet"
                step.run(gather_outcomes, "--shards", part, "--mask-file", first + factor, "--out", out)
                contents[part, factor] = out.read_bytes()
            assert contents[together, factor] == contents[alone, factor]
        assert contents[together, 0] != contents[together, 1]


@pytest.mark.parametrize("number", [-1, 1])
def test_a_mask_file_that_was_not_asked_is_refused(base, tmp_path, step, number):
    mask = mask_file(base, tmp_path / "mask.parquet", [("a", "act_fn", 0, 3)], ["a"])
    step.run(ablate, *step.shared(base), "--masks", mask, "--outcomes-out", tmp_path / "part.parquet")
    words = ["--shards", tmp_path / "part.parquet", "--mask-file", number, "--out", tmp_path / "out.parquet"]
    with pytest.raises(FileError, match=rf"part\.parquet: holds answers for 1 mask files, .*--mask-file {number}"):
        step.run(gather_outcomes, *words)
