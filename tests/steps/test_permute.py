from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from culture_neurons import files, selectors, store
from culture_neurons.analysis import resampling
from culture_neurons.errors import ConfigError, FileError
from culture_neurons.selectors import selection
from culture_neurons.steps import ablate, gather, permute, tabulate_again


@pytest.fixture(scope="module")
def statistics(base, step, tmp_path_factory):
    return step.recorded(base, tmp_path_factory.mktemp("permute") / "statistics.h5")


def run(step, base, statistics, out, *more):
    step.run(permute, "--statistics", statistics, "--samples", base / "samples.parquet", "--selector", "cas",
             "--top-fraction", "0.1", "--permutations", 3, "--seed", 1, "--out", out, *more)  # fmt: skip
    return files.read_table(out)


def test_masks_are_those_of_the_chain_under_shuffled_labels(base, step, statistics, tmp_path):
    table, made = run(step, base, statistics, tmp_path / "permuted.parquet")
    samples, _ = files.read_table(base / "samples.parquet")
    unit = {row.sample_id: f"image {row.image_id}" for row in samples.itertuples()}
    masks = []
    for number in range(3):
        found, _ = store.read_statistics(
            statistics, lambda ids, c, k=number: resampling.shuffle_labels(c, [unit[i] for i in ids], 1, k)
        )
        masks.append(selection.select(selectors.score("cas", found), found.cultures, "0.1"))
        mine = table[table["permutation"] == number].drop(columns="permutation").reset_index(drop=True)
        pd.testing.assert_frame_equal(mine, masks[-1], check_dtype=False, check_categorical=False)
    assert not masks[0].equals(masks[1])
    assert (made["permutations"], made["selector"], made["top_fraction"]) == (3, "cas", "0.1")
    assert made["cultures"] == sorted(set(samples["culture"]))
    first = (tmp_path / "permuted.parquet").read_bytes()
    run(step, base, statistics, tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == first


def test_variants_of_a_question_are_shuffled_together(base, step, statistics, tmp_path, monkeypatch):
    samples, made = files.read_table(base / "samples.parquet")
    variants = samples.assign(image_id="", question_id=[f"v{i % 2}" for i in range(len(samples))])
    files.write_table(tmp_path / "samples.parquet", variants, made)
    seen = []
    real = resampling.shuffle_labels
    monkeypatch.setattr(
        resampling, "shuffle_labels", lambda c, units, *more: seen.append(units) or real(c, units, *more)
    )
    step.run(permute, "--statistics", statistics, "--samples", tmp_path / "samples.parquet", "--selector", "cas",
             "--top-fraction", "0.1", "--permutations", 1, "--out", tmp_path / "out.parquet")  # fmt: skip
    assert all(name.startswith("variants v") for name in seen[0])
    assert len(set(seen[0])) < len(seen[0])


def test_labels_that_cannot_be_shuffled_are_named(step, tmp_path, caplog):
    """Labels go among images with equally many questions: the one image of "a" has three, all others two."""
    image = ["a1"] * 3 + ["b1"] * 2 + ["b2"] * 2 + ["c1"] * 2 + ["c2"] * 2
    ids, cultures = [f"s{i:02}" for i in range(11)], [name[0] for name in image]
    path, fired = tmp_path / "statistics.h5", np.random.default_rng(0).integers(1, 9, (11, 2, 20))
    with store.statistics_writer(path, ids, cultures, "act_fn", 2, 20, {"model": "m", "revision": "r"}) as writer:
        writer.write(ids, np.full(11, 9), fired, fired * 0.5)
    samples = pd.DataFrame({"sample_id": ids, "culture": cultures, "image_id": image})
    for name, table, same in (("some", samples, ["a"]), ("all", samples.assign(image_id=cultures), ["a"]),
                              ("none", samples.assign(image_id=""), [])):  # fmt: skip
        files.write_table(tmp_path / "samples.parquet", table, {})
        caplog.clear()
        _, made = run(step, tmp_path, path, tmp_path / f"{name}.parquet", "--permutations", 8)
        assert [culture for culture, times in made["changed"].items() if not times] == same
        assert made["changed"].keys() == set("abc")
        assert max(made["changed"].values()) <= 8
        assert ("a: no permutation gives other samples these names" in caplog.text) == bool(same)


def test_nothing_is_compared_with_labels_that_were_not_shuffled(whole, base, step, tmp_path):
    permuted, made = files.read_table(whole / "permuted.parquet")
    first, *others = made["mask"]["cultures"]
    asked = ["--samples", base / "samples.parquet", "--predictions", f"m={base / 'predictions.parquet'}", "--plain",
             f"m/cas/0.1={whole / 'plain.parquet'}", "--permuted", f"m/cas/0.1={tmp_path / 'permuted.parquet'}",
             "--replicates", 50, "--out-dir", tmp_path]  # fmt: skip
    empty = {}
    for times in (3, 0):
        changed = {first: 0, **dict.fromkeys(others, times)}
        files.write_table(
            tmp_path / "permuted.parquet", permuted, {**made, "mask": made["mask"] | {"changed": changed}}
        )
        step.run(tabulate_again, *asked)
        table = files.read_csv(tmp_path / "permutations.csv", text=["culture"])
        null = ["null", "null_low", "null_high", "p_value", "p_adjusted"]
        assert table["observed"].notna().all()
        assert table[null].isna().any(axis=1).equals(table[null].isna().all(axis=1))
        empty[times] = set(table.loc[table["null"].isna(), "culture"].fillna(""))
    assert empty == {3: {first}, 0: {"", first, *others}}


def test_samples_of_another_run_are_refused(base, step, statistics, tmp_path):
    samples, made = files.read_table(base / "samples.parquet")
    files.write_table(tmp_path / "samples.parquet", samples.iloc[:5], made)
    with pytest.raises(FileError, match=r"sample '.*' is not in .*samples\.parquet"):
        step.run(permute, "--statistics", statistics, "--samples", tmp_path / "samples.parquet", "--selector", "cas",
                 "--top-fraction", "0.1", "--permutations", 1, "--out", tmp_path / "out.parquet")  # fmt: skip
    assert not (tmp_path / "out.parquet").exists()


@pytest.fixture(scope="module")
def whole(base, step, statistics, tmp_path_factory):
    """Permuted masks and other strengths through ablation, gathering and tables."""
    folder = tmp_path_factory.mktemp("again")
    permuted, _ = run(step, base, statistics, folder / "permuted_masks.parquet")
    _, made = files.read_table(folder / "permuted_masks.parquet")
    plain = permuted[permuted["permutation"] == 0].drop(columns="permutation").reset_index(drop=True)
    files.write_table(folder / "mask.parquet", plain, {k: v for k, v in made.items() if k != "permutations"})
    asked = [*step.shared(base), "--masks", folder / "mask.parquet"]
    more = ["--factors", 0.5, -0.5, "--permuted", folder / "permuted_masks.parquet"]
    for k in range(2):
        step.run(ablate, *asked, *more, "--mask-shard", k, "--mask-shards", 2, "--outcomes-out", folder / f"part{k}")
    outs = [folder / f"{name}.parquet" for name in ("strength0.5", "strength1.5", "permuted")]
    step.run(gather, "--parts", folder / "part0", folder / "part1", "--out", *outs)
    step.run(ablate, *asked, "--outcomes-out", folder / "part")
    step.run(gather, "--parts", folder / "part", "--out", folder / "plain.parquet")
    step.run(
        tabulate_again, "--samples", base / "samples.parquet", "--predictions", f"m={base / 'predictions.parquet'}",
        "--plain", f"m/cas/0.1={folder / 'plain.parquet'}", "--permuted", f"m/cas/0.1={outs[2]}",
        "--strengths", f"m/cas/0.1/0.5={outs[0]}", f"m/cas/0.1/1.5={outs[1]}", "--planted", "m",
        "--replicates", 200, "--out-dir", folder / "tables",
    )  # fmt: skip
    return folder


def test_each_question_is_asked_under_its_own_permuted_mask(whole):
    """The masks of permutation 0 are also the plain ones: the own culture's answers must agree."""
    permuted, made = files.read_table(whole / "permuted.parquet")
    plain, _ = files.read_table(whole / "plain.parquet")
    assert made["mask"]["permutations"] == 3
    assert sorted(set(permuted["permutation"])) == [0, 1, 2]
    assert (permuted["mask_culture"] == permuted["culture"]).all()
    first = permuted[permuted["permutation"] == 0].set_index("sample_id")
    own = plain[plain["mask_culture"] == plain["culture"]].set_index("sample_id").loc[first.index]
    np.testing.assert_allclose(np.stack(first["logprobs"]), np.stack(own["logprobs"]), atol=1e-5)
    second = permuted[permuted["permutation"] == 1].set_index("sample_id").loc[first.index]
    assert not np.allclose(np.stack(first["logprobs"]), np.stack(second["logprobs"]), atol=1e-5)


def test_strengths_reach_the_answers_and_the_table(whole):
    half, made = files.read_table(whole / "strength0.5.parquet")
    plain, _ = files.read_table(whole / "plain.parquet")
    assert "permutation" not in half
    assert made["mask"]["factor"] == 0.5
    assert not np.allclose(np.stack(half["logprobs"]), np.stack(plain["logprobs"]), atol=1e-5)
    table = pd.read_csv(whole / "tables" / "strengths.csv")
    assert sorted(set(table["strength"])) == [0.5, 1.0, 1.5]
    assert set(table["planted"]) == {"yes"}
    table = pd.read_csv(whole / "tables" / "permutations.csv")
    assert (table["permutations"] == 3).all()
    assert table["culture"].isna().sum() == 2  # the mean over cultures, per measure
    assert "tabulate_again" in (whole / "tables" / "provenance_again.json").read_text()


def test_without_repeated_chains_the_tables_have_headers_alone(base, step, tmp_path):
    step.run(tabulate_again, "--samples", base / "samples.parquet", "--out-dir", tmp_path)
    for name in ("permutations", "strengths"):
        lines = (tmp_path / f"{name}.csv").read_text().splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("model,selector,top_fraction,")


def test_arguments_that_do_not_fit(base, step, tmp_path):
    with pytest.raises(ConfigError, match=r"m/cas/0\.1: no --plain outcomes"):
        step.run(tabulate_again, "--samples", base / "samples.parquet", "--permuted", "m/cas/0.1=x",
                 "--out-dir", tmp_path)  # fmt: skip


def test_permutation_that_was_not_announced_is_refused(base, step, statistics, tmp_path):
    table, made = run(step, base, statistics, tmp_path / "permuted.parquet")
    files.write_table(tmp_path / "bad.parquet", table, made | {"permutations": 2})
    with pytest.raises(FileError, match=r"bad\.parquet: permutation 2; expected 0 to 1"):
        step.run(ablate, *step.shared(base), "--permuted", tmp_path / "bad.parquet", "--outcomes-out", tmp_path / "o")
