import json

import numpy as np
import pandas as pd
import pytest

from culture_neurons import files, selectors, store
from culture_neurons.analysis import overlaps
from culture_neurons.errors import ConfigError, FileError
from culture_neurons.selectors import selection
from culture_neurons.steps import select, tabulate_overlaps

CULTURES = ["a", "b", "c", "日"]


def run(module, *words):
    module.main(module.arguments().parse_args([str(word) for word in words]))


def statistics(path, seed, rule):
    rng, ids = np.random.default_rng(seed), [f"s{i:02}" for i in range(24)]
    metadata = {"model": "m", "revision": "r", "token_rule": rule}
    with store.statistics_writer(path, ids, CULTURES * 6, "act_fn", 2, 50, metadata) as writer:
        fired = rng.integers(0, 10, (24, 2, 50))
        writer.write(ids, np.full(24, 9), np.minimum(fired, 9), fired * 0.5)
    return path


def masks(folder, name):
    return [folder / f"masks/{name}_top{fraction}.parquet" for fraction in ("0.05", "0.2")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("overlaps") / "m"
    statistics(folder / "statistics.h5", 0, "all")
    statistics(folder / "tokens/image/statistics.h5", 1, "image")
    for name in ("cas", "lap"):
        run(select, "--selector", name, "--statistics", folder / "statistics.h5", "--top-fraction", "0.05", "0.2",
            "--scores-out", folder / f"scores/{name}.h5", "--masks-out", *masks(folder, name))  # fmt: skip
    rng = np.random.default_rng(2)
    rows = [("m", s, r, a, b, rng.normal(), rng.normal()) for s in ("cas", "lap") for r in (0.05, 0.2)
            for a in CULTURES for b in CULTURES]  # fmt: skip
    columns = ["model", "selector", "top_fraction", "mask_culture", "eval_culture", "drop", "logprob_drop"]
    files.write_csv(folder / "effects.csv", pd.DataFrame(rows, columns=columns))
    return folder


def tables(folder, out, *more, rule="image"):
    given = json.dumps({name: {"method": name, "options": {}} for name in ("cas", "lap")})
    run(tabulate_overlaps, "--masks", *masks(folder, "cas"), *masks(folder, "lap"), "--effects", folder / "effects.csv",
        "--tokens", folder / f"tokens/{rule}/statistics.h5", "--selectors", given, "--out-dir", out, *more)  # fmt: skip
    read = {"text": ["model", "kind", "a", "b", "culture"]}
    return files.read_csv(out / "overlaps.csv", **read), files.read_csv(out / "related.csv", **read)


def test_a_model_at_chance_gets_no_verdict(folder, tmp_path):
    for word, has_verdict in (("at chance", False), ("below chance", True)):
        files.write_csv(tmp_path / "baseline.csv", pd.DataFrame({"model": ["m", "m"], "level": word}))
        _, related = tables(folder, tmp_path, "--baseline", tmp_path / "baseline.csv")
        assert (set(related["verdict"]) == {"not judged: the model answers at chance"}) != has_verdict


def test_tables_of_overlaps(folder, tmp_path):
    table, related = tables(folder, tmp_path, "--planted", "m")
    assert list(table.columns) == [*overlaps.COLUMNS, "planted"]
    assert list(related.columns) == ["model", *overlaps.RELATED, "planted"]
    assert table["kind"].value_counts().to_dict() == {"cultures": 24, "selectors": 8, "fractions": 8, "tokens": 16}
    assert set(table["planted"]) == set(related["planted"]) == {"yes"}
    assert len(related) == 2 * 2 * 2
    assert "tabulate_overlaps" in files.read_json(tmp_path / "provenance_tabulate_overlaps.json")["steps"]
    (tmp_path / "again").mkdir()
    unplanted, _ = tables(folder, tmp_path / "again")
    pd.testing.assert_frame_equal(table.drop(columns="planted"), unplanted.drop(columns="planted"))


def test_masks_of_another_token_rule_are_those_that_the_pipeline_would_choose(folder, tmp_path):
    table, _ = tables(folder, tmp_path)
    image_statistics, _ = store.read_statistics(folder / "tokens/image/statistics.h5")
    for name in ("cas", "lap"):
        other = selection.select(selectors.score(name, image_statistics), image_statistics.cultures, 0.2)
        mine, _ = files.read_table(folder / f"masks/{name}_top0.2.parquet")
        part = table[(table["kind"] == "tokens") & (table["selector"] == name) & (table["top_fraction"] == 0.2)]
        for row in part.itertuples():
            a, b = (set(zip(t["layer"], t["neuron"], strict=True)) for t in
                    (one[one["culture"] == row.culture] for one in (mine, other)))  # fmt: skip
            assert (row.a, row.b, row.n_shared) == ("all", "image", len(a & b))
            assert row.overlap == pytest.approx(len(a & b) / len(a | b))


def test_statistics_of_another_rule_than_asked_for_are_refused(folder, tmp_path):
    statistics(folder / "tokens/text/statistics.h5", 1, "image")
    with pytest.raises(FileError, match="token rule 'image', expected 'text'"):
        tables(folder, tmp_path, rule="text")


def write(folder, selector, rows, fraction="0.1", model="m", **metadata):
    """A mask file of (culture, layer, neuron)."""
    path = folder / f"run/{model}/masks/{selector}_top{fraction}.parquet"
    metadata = {"cultures": ["NA", "b"], "layers": 2, "neurons": 10, "step": "select", "code": selector} | metadata
    files.write_table(path, pd.DataFrame(rows, columns=["culture", "layer", "neuron"]), metadata)
    return path


@pytest.fixture
def paths(tmp_path):
    """Masks chosen on different data. Rows are not in the order of neurons, as in the masks of `select`."""
    columns = ["model", "selector", "top_fraction", "mask_culture", "eval_culture", "drop", "logprob_drop"]
    files.write_csv(tmp_path / "effects.csv", pd.DataFrame([("m", "other", 0.1, "b", "b", 1, 1)], columns=columns))
    return [
        write(tmp_path, "lap", [("NA", 1, 3)]),
        write(tmp_path, "cas-words", [("NA", 1, 3), ("NA", 0, 5)], cultures=["NA", "c"], chosen_on="words"),
        write(tmp_path, "cas", [("NA", 1, 3), ("NA", 0, 4), ("b", 0, 0)]),
        write(tmp_path, "imported", [("NA", 1, 3)]),
    ]


def across_data(tmp_path, paths, *more):
    """data_overlaps.csv of these masks, but for the selector that is left out."""
    run(tabulate_overlaps, "--masks", *paths, "--effects", tmp_path / "effects.csv", "--across-data", "cas", "lap",
        "cas-words", "--out-dir", tmp_path / "tables", *more)  # fmt: skip
    return files.read_csv(tmp_path / "tables/data_overlaps.csv", text=["culture", "a", "b", "chosen_on_a"])


def test_masks_of_the_run_stand_against_those_of_the_other_data_set(tmp_path, paths):
    made = across_data(tmp_path, paths, "--planted", "m")
    whole = made[made["layer"].isna()].set_index("a")
    assert list(whole.index) == ["cas", "lap"]  # in the order that was asked for, not that of the files
    assert set(made["culture"]) == {"NA"}
    assert set(made["b"]) == {"cas-words"}
    assert (set(made["chosen_on_a"]), set(made["chosen_on_b"]), set(made["planted"])) == ({"run"}, {"words"}, {"yes"})
    assert whole["overlap"].tolist() == pytest.approx([1 / 3, 1 / 2])
    assert whole["expected"].tolist() == pytest.approx([0.2 / 3.8, 0.1 / 2.9])
    layers = made[(made["a"] == "cas") & made["layer"].notna()].set_index("layer")
    assert layers["n_shared"].to_dict() == {0: 0, 1: 1}
    noted = (tmp_path / "tables/provenance_tabulate_overlaps.json").read_text(encoding="utf-8")
    assert '"cas-words"' in noted  # the code that made the masks
    assert set(across_data(tmp_path, paths)["planted"]) == {"no"}


def test_masks_that_do_not_fit_are_refused_in_one_line(tmp_path, paths):
    other = write(tmp_path, "cas-words", [("NA", 1, 3)], "0.2", chosen_on="speech")
    with pytest.raises(
        FileError, match=r"cas-words_top0\.2.*: chosen on speech, but other masks of cas-words on words"
    ):
        across_data(tmp_path, [*paths, other])
    wide = write(tmp_path, "cas", [("NA", 1, 3)], "0.2", neurons=11)
    with pytest.raises(FileError, match=r"cas_top0\.2.*: of other layers or neurons than other masks of m"):
        across_data(tmp_path, [*paths, wide])


def test_a_table_is_made_of_what_is_given(tmp_path, paths):
    run(tabulate_overlaps, "--masks", *paths, "--effects", tmp_path / "effects.csv", "--out-dir", tmp_path / "tables")
    assert {path.name for path in (tmp_path / "tables").iterdir()} == {
        "overlaps.csv", "related.csv", "provenance_tabulate_overlaps.json"
    }  # fmt: skip
    with pytest.raises(ConfigError, match="--masks: no --effects"):
        run(tabulate_overlaps, "--masks", *paths, "--out-dir", tmp_path)
