import json

import numpy as np
import pandas as pd
import pytest

from culture_neurons import files, store
from culture_neurons.analysis import stability
from culture_neurons.errors import ConfigError, FileError
from culture_neurons.steps import select, tabulate_overlaps
from culture_neurons.steps import stability as step

OUTPUTS = ("stability.parquet", "stability_cultures.parquet")
SELECTORS = {"mine": {"method": "cas", "options": {}}, "lape": {"method": "lape", "options": {"bar_quantile": 0.9}}}


def run(module, *words):
    module.main(module.arguments().parse_args([str(word) for word in words]))


def masks(folder, name, fractions=("0.05", "0.2")):
    return [folder / f"masks/{name}_top{fraction}.parquet" for fraction in fractions]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model's statistics and masks, and the samples."""
    folder, rng = tmp_path_factory.mktemp("stability") / "m", np.random.default_rng(0)
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
        run(select, *chosen, "--statistics", folder / "statistics.h5", "--top-fraction", "0.05", "0.2",
            "--scores-out", folder / f"scores/{name}.h5", "--masks-out", *masks(folder, name))  # fmt: skip
    return folder


def measure(folder, out, *more):
    """Run the step; what it writes into the folder of a model."""
    chosen = [path for name in SELECTORS for path in masks(folder, name)]
    names = [out / name for name in OUTPUTS]
    run(step, "--statistics", folder / "statistics.h5", "--samples", folder / "samples.parquet", "--selectors",
        json.dumps(SELECTORS), "--masks", *chosen, "--resamples", 9, "--split-halves", 2,
        "--neurons-out", names[0], "--cultures-out", names[1], *more)  # fmt: skip
    return [files.read_table(name) for name in names]


def test_neurons_are_those_of_the_masks_and_the_table_is_per_culture(folder, tmp_path):
    (neurons, metadata), (table, _) = measure(folder, tmp_path)
    for (name, fraction), part in neurons.groupby(["selector", "top_fraction"], observed=True):
        expected, _ = files.read_table(folder / f"masks/{name}_top{fraction:g}.parquet")
        keys = ["culture", "layer", "neuron", "score"]
        assert sorted(part[keys].astype(str).values.tolist()) == sorted(expected[keys].astype(str).values.tolist())
    assert list(neurons.columns) == list(stability.NEURON_COLUMNS)
    assert list(table.columns) == list(stability.COLUMNS)
    assert len(table) == 2 * 2 * 3
    assert table["selected_again"].between(0, 1).all()
    assert (table["n_samples"] == 8).all()
    assert (table["n_images"] <= 8).all()
    assert (metadata["step"], metadata["model"], metadata["settings"]["resamples"]) == ("stability", "m", 9)
    assert "threads" not in metadata["settings"]


def test_cultures_of_one_image_are_named_and_their_cells_empty(folder, tmp_path, caplog):
    samples, metadata = files.read_table(folder / "samples.parquet")
    ids = list("ab日") * 8
    lonely = samples.assign(image_id=["one" if name == "a" else f"i{i}" for i, name in enumerate(ids)])
    files.write_table(tmp_path / "samples.parquet", lonely, metadata)
    caplog.set_level("INFO", "culture_neurons")
    (_, _), (table, _) = measure(folder, tmp_path, "--samples", tmp_path / "samples.parquet")
    assert table.loc[table["culture"] == "a", "selected_again"].isna().all()
    assert table.loc[table["culture"] != "a", "selected_again"].notna().all()
    assert "a: all recorded questions are about one image" in caplog.text
    assert "nan" not in caplog.text
    caplog.clear()
    files.write_table(tmp_path / "samples.parquet", samples.assign(image_id=ids), metadata)
    measure(folder, tmp_path / "m", "--samples", tmp_path / "samples.parquet")
    assert "a, b, 日: all recorded questions are about one image" in caplog.text
    assert "nothing is known" in caplog.text
    assert "nan" not in caplog.text
    run(tabulate_overlaps, "--stability", tmp_path / "m" / OUTPUTS[1], "--out-dir", tmp_path)
    row = (tmp_path / "stability.csv").read_text().splitlines()[1]
    assert row.startswith("m,lape,0.05,a,8,1,")
    assert row.endswith(",,,,,,,,no")


def test_same_bytes_with_more_threads(folder, tmp_path):
    for name, threads in (("one", 1), ("two", 2)):
        measure(folder, tmp_path / name, "--threads", threads)
    for name in OUTPUTS:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_tables_of_models_are_put_together(folder, tmp_path):
    for name in ("b", "007"):
        measure(folder, tmp_path / name)
    cultures = (tmp_path / name / OUTPUTS[1] for name in ("b", "007"))
    run(tabulate_overlaps, "--stability", *cultures, "--planted", "b", "--out-dir", tmp_path)
    table = files.read_csv(tmp_path / "stability.csv", text=["model"])
    assert table.groupby("model", sort=False)["planted"].first().to_dict() == {"007": "no", "b": "yes"}
    assert list(table.columns) == ["model", *stability.COLUMNS, "planted"]
    steps = files.read_json(tmp_path / "provenance_tabulate_overlaps.json")["steps"]
    assert set(steps) == {"stability", "tabulate_overlaps"}


def test_mistakes(folder, tmp_path):
    with pytest.raises(ConfigError, match="none of selector 'lape'"):
        measure(folder, tmp_path, "--masks", *masks(folder, "mine"))
    with pytest.raises(ConfigError, match="'cas' is none of --selectors"):
        measure(folder, tmp_path, "--masks", *masks(folder, "cas"))
    for name, change in (("model", {"model": "other"}), ("cultures", {"cultures": ["a"]})):
        table, metadata = files.read_table(folder / "masks/mine_top0.05.parquet")
        path = tmp_path / name / "m/masks/mine_top0.05.parquet"
        files.write_table(path, table, metadata | change)
        with pytest.raises(FileError, match=name):
            measure(folder, tmp_path, "--masks", path, *masks(folder, "lape"))
