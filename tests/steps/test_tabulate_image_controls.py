import numpy as np
import pandas as pd
import pytest

from culture_neurons import files
from culture_neurons.errors import ConfigError, FileError
from culture_neurons.steps import infer_image_controls, tabulate_image_controls

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def controls(base, tmp_path_factory, step):
    folder = tmp_path_factory.mktemp("controls") / "m/controls"
    paths = {name: folder / f"{name}.parquet" for name in ("blank", "none")}
    step.run(infer_image_controls, *step.shared(base), "--answers-out", *paths.values())
    return paths


def tabulated(step, base, folder, controls, *more):
    step.run(
        tabulate_image_controls, "--samples", base / "samples.parquet", "--predictions",
        base / "m/predictions.parquet", "--controls", *controls, "--replicates", 50, "--out-dir", folder, *more,
    )  # fmt: skip
    return folder / "images.csv"


def test_table_holds_what_the_answers_say(base, controls, tmp_path, step):
    path = tabulated(step, base, tmp_path, controls.values(), "--planted", "m")
    table = files.read_csv(path, text=["model", "culture", "control", "planted"])
    every = table[table["culture"].isna()].set_index("control")
    assert list(every.index) == ["shown", "blank", "none"]
    assert (table["planted"] == "yes").all()
    for control, path in {"shown": base / "m/predictions.parquet", **controls}.items():
        answers, _ = files.read_table(path)
        answers = answers[answers["split"] == "evaluate"]
        assert every.loc[control, "accuracy"] == pytest.approx(answers.groupby("culture")["correct"].mean().mean())
        assert every.loc[control, "n"] == len(answers)
    control_rows = table[table["control"] != "shown"]
    assert control_rows["mcnemar_p_adjusted"].notna().all()
    assert np.allclose(every["chance"], 0.25)
    history = files.read_json(tmp_path / "provenance_tabulate_image_controls.json")
    assert {"infer", "gather_answers", "infer_image_controls", "tabulate_image_controls"} <= set(history["steps"])
    assert set(history["models"]) == {"m"}


def test_without_controls_there_is_only_the_heading(base, tmp_path, step):
    table = pd.read_csv(tabulated(step, base, tmp_path, []))
    assert len(table) == 0
    assert list(table.columns[:3]) == ["model", "culture", "control"]
    assert table.columns[-1] == "planted"


def test_mistakes_and_files_of_another_revision(base, controls, tmp_path, step):
    with pytest.raises(ConfigError, match=r"--controls: no --predictions of other"):
        tabulated(step, base, tmp_path, ["run/other/controls/blank.parquet"])
    table, metadata = files.read_table(controls["blank"])
    path = tmp_path / "m/controls/blank.parquet"
    files.write_table(path, table, {**metadata, "revision": "older"})
    with pytest.raises(FileError, match=r"blank\.parquet: revision 'older'"):
        tabulated(step, base, tmp_path, [path])
    files.write_table(path, table.iloc[1:], metadata)
    with pytest.raises(FileError, match=r"blank\.parquet: 35 answers, expected 36 less those without an image"):
        tabulated(step, base, tmp_path, [path])
    assert not (tmp_path / "images.csv").exists()
