import json

import numpy as np
import pandas as pd
import pytest

from culture_neurons import files, store
from culture_neurons.analysis import stability
from culture_neurons.errors import ConfigError, FileError
from culture_neurons.steps import mask, score, tabulate_stability
from culture_neurons.steps import stability as step

SELECTORS = {"mine": {"method": "cas", "options": {}}, "lape": {"method": "lape", "options": {"bar_quantile": 0.9}}}


def run(module, *words):
    module.main(module.arguments().parse_args([str(word) for word in words]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model's statistics and masks, and the samples."""
    folder, rng = tmp_path_factory.mktemp("stability"), np.random.default_rng(0)
    ids = [f"s{i:02}" for i in range(24)]
    with store.statistics_writer(
        folder / "statistics.h5",
        ids,
        list("ab日") * 8,
        "act_fn",
        2,
        50,
        {"model": "m", "revision": "r", "token_rule": "all"},
    ) as writer:
        fired = rng.integers(0, 10, (24, 2, 50))
        writer.write(ids, np.full(24, 9), np.minimum(fired, 9), fired * 0.5)
    images = [None if i % 3 == 0 else f"i{i // 2}" for i in range(24)]
    files.write_table(
        folder / "samples.parquet",
        pd.DataFrame({"sample_id": ids, "culture": list("ab日") * 8, "image_id": images}),
        {},
    )
    for name, entry in SELECTORS.items():
        chosen = ["--selector", entry["method"], "--options", json.dumps(entry["options"])]
        run(score, *chosen, "--statistics", folder / "statistics.h5", "--out", folder / f"{name}.h5")
        run(mask, *chosen, "--scores", folder / f"{name}.h5", "--top-fraction", "0.05", "0.2",
            "--out", folder / f"{name}_0.05.parquet", folder / f"{name}_0.2.parquet")  # fmt: skip
    return folder


def judged(folder, out, *more, masks=None):
    if masks is None:
        masks = [f"{name}/{r}={folder}/{name}_{r}.parquet" for name in SELECTORS for r in ("0.05", "0.2")]
    run(step, "--statistics", folder / "statistics.h5", "--samples", folder / "samples.parquet", "--selectors",
        json.dumps(SELECTORS), "--masks", *masks, "--resamples", 9, "--split-halves", 2,
        "--neurons-out", out / "stability.parquet", "--cultures-out", out / "c.parquet", *more)  # fmt: skip
    return files.read_table(out / "stability.parquet"), files.read_table(out / "c.parquet")


def test_neurons_are_those_of_the_masks_and_the_table_is_per_culture(folder, tmp_path):
    (neurons, made), (table, _) = judged(folder, tmp_path)
    for (name, fraction), part in neurons.groupby(["selector", "top_fraction"], observed=True):
        expected, _ = files.read_table(folder / f"{name}_{fraction:g}.parquet")
        keys = ["culture", "layer", "neuron", "score"]
        assert sorted(part[keys].astype(str).values.tolist()) == sorted(expected[keys].astype(str).values.tolist())
    assert list(neurons.columns) == list(stability.NEURON_COLUMNS)
    assert list(table.columns) == list(stability.COLUMNS)
    assert len(table) == 2 * 2 * 3
    assert table["selected_again"].between(0, 1).all()
    assert (table["n_samples"] == 8).all()
    assert (table["n_images"] <= 8).all()
    assert (made["step"], made["model"], made["settings"]["resamples"]) == ("stability", "m", 9)
    assert "threads" not in made["settings"]


def test_cultures_of_one_image_are_named_and_their_cells_empty(folder, tmp_path, caplog):
    samples, made = files.read_table(folder / "samples.parquet")
    ids = list("ab日") * 8
    lonely = samples.assign(image_id=["one" if name == "a" else f"i{i}" for i, name in enumerate(ids)])
    files.write_table(tmp_path / "samples.parquet", lonely, made)
    caplog.set_level("INFO", "culture_neurons")
    (_, _), (table, _) = judged(folder, tmp_path, "--samples", tmp_path / "samples.parquet")
    assert table.loc[table["culture"] == "a", "selected_again"].isna().all()
    assert table.loc[table["culture"] != "a", "selected_again"].notna().all()
    assert "a: all recorded questions are about one image" in caplog.text
    assert "nan" not in caplog.text
    caplog.clear()
    files.write_table(tmp_path / "samples.parquet", samples.assign(image_id=ids), made)
    judged(folder, tmp_path, "--samples", tmp_path / "samples.parquet")
    assert "a, b, 日: all recorded questions are about one image" in caplog.text
    assert "nothing is known" in caplog.text
    assert "nan" not in caplog.text
    run(tabulate_stability, "--parts", f"m={tmp_path}/c.parquet", "--out", tmp_path / "stability.csv",
        "--provenance-out", tmp_path / "p.json")  # fmt: skip
    row = (tmp_path / "stability.csv").read_text().splitlines()[1]
    assert row.startswith("m,lape,0.05,a,8,1,")
    assert row.endswith(",,,,,,,,no")


def test_same_bytes_with_more_threads(folder, tmp_path):
    for name, threads in (("one", 1), ("two", 2)):
        (tmp_path / name).mkdir()
        judged(folder, tmp_path / name, "--threads", threads)
    for name in ("stability.parquet", "c.parquet"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_tables_of_models_are_put_together(folder, tmp_path):
    judged(folder, tmp_path)
    run(tabulate_stability, "--parts", f"b={tmp_path}/c.parquet", f"007={tmp_path}/c.parquet", "--planted", "b",
        "--out", tmp_path / "stability.csv", "--provenance-out", tmp_path / "p.json")  # fmt: skip
    table = files.read_csv(tmp_path / "stability.csv", text=["model"])
    assert table.groupby("model", sort=False)["planted"].first().to_dict() == {"007": "no", "b": "yes"}
    assert list(table.columns) == ["model", *stability.COLUMNS, "planted"]
    assert set(files.read_json(tmp_path / "p.json")["steps"]) == {"stability", "tabulate_stability"}


def test_mistakes(folder, tmp_path):
    with pytest.raises(ConfigError, match="none of selector 'lape'"):
        judged(folder, tmp_path, masks=[f"mine/0.05={folder}/mine_0.05.parquet"])
    with pytest.raises(ConfigError, match="'cas' is none of --selectors"):
        judged(folder, tmp_path, masks=[f"cas/0.05={folder}/mine_0.05.parquet"])
    for name, change in (("model", {"model": "other"}), ("cultures", {"cultures": ["a"]})):
        table, made = files.read_table(folder / "mine_0.05.parquet")
        files.write_table(tmp_path / f"{name}.parquet", table, made | change)
        masks = [f"mine/0.05={tmp_path}/{name}.parquet", f"lape/0.2={folder}/lape_0.2.parquet"]
        with pytest.raises(FileError, match=name):
            judged(folder, tmp_path, masks=masks)
