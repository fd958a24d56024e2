"""Shuffled labels and other strengths, from masks to tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from culture_neurons import files
from culture_neurons.errors import ConfigError
from culture_neurons.steps import ablate, gather_outcomes, permute, tabulate_robustness

pytestmark = pytest.mark.workflow

FACTORS = ("0.5", "-0.5")


@pytest.fixture(scope="module")
def results(base, step, tmp_path_factory):
    """Permuted masks and other strengths through ablation, gathering and tables: the folder of the model's results."""
    folder = tmp_path_factory.mktemp("run") / "m"
    permuted = folder / "robustness/masks/cas_permuted.parquet"
    statistics = step.recorded(base, folder / "statistics.h5")
    step.run(permute, "--statistics", statistics, "--samples", base / "samples.parquet", "--selector", "cas",
             "--top-fraction", "0.1", "--permutations", 3, "--seed", 1, "--out", permuted)  # fmt: skip
    table, metadata = files.read_table(permuted)
    plain = table[table["permutation"] == 0].drop(columns="permutation").reset_index(drop=True)
    mask, parts = folder / "masks/cas_top0.1.parquet", [folder / f"part{k}" for k in range(3)]
    files.write_table(mask, plain, {k: v for k, v in metadata.items() if k != "permutations"})
    words = [*step.shared(base), "--masks", mask]
    more = ["--factors", *FACTORS, "--permuted", permuted]
    for k, part in enumerate(parts[:2]):
        step.run(ablate, *words, *more, "--mask-shard", k, "--mask-shards", 2, "--outcomes-out", part)
    outs = [*(strength(folder, factor) for factor in FACTORS), folder / "robustness/ablation/cas_permuted.parquet"]
    for number, out in enumerate(outs):
        step.run(gather_outcomes, "--shards", *parts[:2], "--mask-file", number, "--out", out)
    step.run(ablate, *words, "--outcomes-out", parts[2])
    step.run(gather_outcomes, "--shards", parts[2], "--out", folder / "ablation/cas_top0.1.parquet")
    strengths = ["--strengths", *outs[:2], "--planted", "m", "--replicates", 200]
    tabulated(step, base, folder, outs[2], folder.parent / "tables", *strengths)
    return folder


def strength(folder, factor):
    return folder / f"robustness/ablation/cas_x{factor}.parquet"


def tabulated(step, base, folder, permuted, out, *more):
    step.run(
        tabulate_robustness, "--samples", base / "samples.parquet", "--predictions", base / "m/predictions.parquet",
        "--outcomes", folder / "ablation/cas_top0.1.parquet", "--permuted", permuted, "--out-dir", out, *more,
    )  # fmt: skip


def test_each_question_is_asked_under_its_own_permuted_mask(results):
    """The masks of permutation 0 are also the plain ones: the own culture's answers must agree."""
    permuted, metadata = files.read_table(results / "robustness/ablation/cas_permuted.parquet")
    plain, _ = files.read_table(results / "ablation/cas_top0.1.parquet")
    assert metadata["mask"]["permutations"] == 3
    assert sorted(set(permuted["permutation"])) == [0, 1, 2]
    assert (permuted["mask_culture"] == permuted["culture"]).all()
    first = permuted[permuted["permutation"] == 0].set_index("sample_id")
    own = plain[plain["mask_culture"] == plain["culture"]].set_index("sample_id").loc[first.index]
    np.testing.assert_allclose(np.stack(first["logprobs"]), np.stack(own["logprobs"]), atol=1e-5)
    second = permuted[permuted["permutation"] == 1].set_index("sample_id").loc[first.index]
    assert not np.allclose(np.stack(first["logprobs"]), np.stack(second["logprobs"]), atol=1e-5)


def test_strengths_reach_the_answers_and_the_table(results):
    half, metadata = files.read_table(strength(results, "0.5"))
    plain, _ = files.read_table(results / "ablation/cas_top0.1.parquet")
    assert "permutation" not in half
    assert metadata["mask"]["factor"] == 0.5
    assert not np.allclose(np.stack(half["logprobs"]), np.stack(plain["logprobs"]), atol=1e-5)
    table = pd.read_csv(results.parent / "tables/strengths.csv")
    assert sorted(set(table["strength"])) == [0.5, 1.0, 1.5]
    assert set(table["planted"]) == {"yes"}
    table = pd.read_csv(results.parent / "tables/permutations.csv")
    assert (table["permutations"] == 3).all()
    assert table["culture"].isna().sum() == 2  # the mean over cultures, per measure
    assert (
        "tabulate_robustness" in files.read_json(results.parent / "tables/provenance_tabulate_robustness.json")["steps"]
    )


def test_without_repeated_chains_the_tables_have_headers_alone(base, step, tmp_path):
    step.run(tabulate_robustness, "--samples", base / "samples.parquet", "--out-dir", tmp_path)
    for name in ("permutations", "strengths"):
        lines = (tmp_path / f"{name}.csv").read_text().splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("model,selector,top_fraction,")


def test_arguments_that_do_not_fit(base, step, tmp_path):
    with pytest.raises(ConfigError, match=r"m/cas: no --outcomes, or no --predictions of the model"):
        step.run(tabulate_robustness, "--samples", base / "samples.parquet", "--permuted",
                 "run/m/robustness/ablation/cas_permuted.parquet", "--out-dir", tmp_path)  # fmt: skip


def test_nothing_is_compared_with_labels_that_were_not_shuffled(results, base, step, tmp_path):
    permuted, metadata = files.read_table(results / "robustness/ablation/cas_permuted.parquet")
    first, *others = metadata["mask"]["cultures"]
    path = tmp_path / "run/m/robustness/ablation/cas_permuted.parquet"
    empty = {}
    for times in (3, 0):
        changed = {first: 0, **dict.fromkeys(others, times)}
        files.write_table(path, permuted, {**metadata, "mask": metadata["mask"] | {"changed": changed}})
        tabulated(step, base, results, path, tmp_path, "--replicates", 50)
        table = files.read_csv(tmp_path / "permutations.csv", text=["culture"])
        null = ["null", "null_low", "null_high", "p_value", "p_adjusted"]
        assert table["observed"].notna().all()
        assert table[null].isna().any(axis=1).equals(table[null].isna().all(axis=1))
        empty[times] = set(table.loc[table["null"].isna(), "culture"].fillna(""))
    assert empty == {3: {first}, 0: {"", first, *others}}
