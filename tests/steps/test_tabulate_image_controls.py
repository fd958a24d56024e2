import numpy as np
import pandas as pd
import pytest

from culture_neurons import files
from culture_neurons.errors import ConfigError, FileError
from culture_neurons.steps import infer_controls, tabulate_images


@pytest.fixture(scope="module")
def controls(base, tmp_path_factory, step):
    folder = tmp_path_factory.mktemp("controls")
    paths = {name: folder / f"{name}.parquet" for name in ("blank", "none")}
    step.run(infer_controls, *step.shared(base), "--controls", *paths, "--answers-out", *paths.values())
    return paths


def arguments(base, folder, controls, *more):
    return [
        "--samples", base / "samples.parquet", "--predictions", f"m={base / 'predictions.parquet'}",
        "--controls", *(f"m/{name}={path}" for name, path in controls.items()), "--replicates", 50,
        "--out", folder / "images.csv", "--provenance-out", folder / "provenance_images.json", *more,
    ]  # fmt: skip


def test_table_holds_what_the_answers_say(base, controls, tmp_path, step):
    step.run(tabulate_images, *arguments(base, tmp_path, controls, "--planted", "m", ""))
    table = files.read_csv(tmp_path / "images.csv", text=["model", "culture", "control", "planted"])
    every = table[table["culture"].isna()].set_index("control")
    assert list(every.index) == ["shown", "blank", "none"]
    assert (table["planted"] == "yes").all()
    for control, path in {"shown": base / "m/predictions.parquet", **controls}.items():
        answers, _ = files.read_table(path)
        answers = answers[answers["split"] == "evaluate"]
        assert every.loc[control, "accuracy"] == pytest.approx(answers.groupby("culture")["correct"].mean().mean())
        assert every.loc[control, "n"] == len(answers)
    asked = table[table["control"] != "shown"]
    assert asked["mcnemar_p_adjusted"].notna().all()
    assert np.allclose(every["chance"], 0.25)
    made = files.read_json(tmp_path / "provenance_images.json")
    assert {"infer", "gather", "infer_controls", "tabulate_images"} <= set(made["steps"])
    assert set(made["models"]) == {"m"}


def test_without_controls_there_is_only_the_heading(base, tmp_path, step):
    step.run(tabulate_images, *arguments(base, tmp_path, {}))
    table = pd.read_csv(tmp_path / "images.csv")
    assert len(table) == 0
    assert list(table.columns[:3]) == ["model", "culture", "control"]
    assert table.columns[-1] == "planted"


def test_mistakes_and_files_of_another_revision(base, controls, tmp_path, step):
    with pytest.raises(ConfigError, match=r"--controls: expected model/control=path"):
        step.run(tabulate_images, *arguments(base, tmp_path, controls, "--controls", "blank=a"))
    with pytest.raises(ConfigError, match=r"--controls: no --predictions of other"):
        step.run(tabulate_images, *arguments(base, tmp_path, controls, "--controls", "other/blank=a"))
    table, made = files.read_table(controls["blank"])
    files.write_table(tmp_path / "blank.parquet", table, {**made, "revision": "older"})
    with pytest.raises(FileError, match=r"blank\.parquet: revision 'older'"):
        step.run(tabulate_images, *arguments(base, tmp_path, {"blank": tmp_path / "blank.parquet"}))
    files.write_table(tmp_path / "blank.parquet", table.iloc[1:], made)
    with pytest.raises(FileError, match=r"blank\.parquet: 35 answers, expected 36 less those without an image"):
        step.run(tabulate_images, *arguments(base, tmp_path, {"blank": tmp_path / "blank.parquet"}))
    assert not (tmp_path / "images.csv").exists()
