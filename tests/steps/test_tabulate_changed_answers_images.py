import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from culture_neurons import files
from culture_neurons.errors import ConfigError, FileError
from culture_neurons.steps import infer_image_controls, tabulate_changed_answers

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def controls(base, tmp_path_factory, step):
    folder = tmp_path_factory.mktemp("controls") / "m/controls"
    paths = {name: folder / f"{name}.parquet" for name in ("blank", "none", "swapped")}
    step.run(infer_image_controls, *step.shared(base), "--answers-out", *paths.values())
    return paths


def tabulated(step, base, folder, controls, *more):
    step.run(
        tabulate_changed_answers, "--samples", base / "samples.parquet", "--predictions",
        base / "m/predictions.parquet", "--controls", *controls, "--replicates", 50, "--out-dir", folder, *more,
    )  # fmt: skip
    return folder / "images.csv"


def test_table_holds_what_the_answers_say(base, controls, tmp_path, step):
    path = tabulated(step, base, tmp_path, controls.values(), "--planted", "m")
    table = files.read_csv(path, text=["model", "culture", "control", "planted"])
    every = table[table["culture"].isna()].set_index("control")
    assert list(every.index) == ["shown", "blank", "none", "swapped"]
    assert (table["planted"] == "yes").all()
    assert set(table["set"]) == {base.name}
    for control, path in {"shown": base / "m/predictions.parquet", **controls}.items():
        answers, _ = files.read_table(path)
        answers = answers[answers["split"] == "evaluate"]
        assert every.loc[control, "accuracy"] == pytest.approx(answers.groupby("culture")["correct"].mean().mean())
        assert every.loc[control, "n"] == len(answers)
    control_rows = table[table["control"] != "shown"]
    assert control_rows["mcnemar_p_adjusted"].notna().all()
    assert np.allclose(every["chance"], 0.25)
    history = files.read_json(tmp_path / "provenance_tabulate_changed_answers.json")
    assert {"infer", "gather_answers", "infer_image_controls", "tabulate_changed_answers"} <= set(history["steps"])
    assert set(history["models"]) == {"m"}


def test_without_controls_there_is_only_the_heading(base, tmp_path, step):
    table = pd.read_csv(tabulated(step, base, tmp_path, []))
    assert len(table) == 0
    assert list(table.columns[:3]) == ["model", "culture", "control"]
    assert table.columns[-1] == "followed_n"


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


def with_owners(base, path):
    """samples.parquet whose options belong to all three cultures in turns, the right one to the question's own."""
    table = pq.read_table(base / "samples.parquet")
    cultures = sorted(set(table["culture"].to_pylist()))
    owners = []
    for culture, label in zip(table["culture"].to_pylist(), table["label"].to_pylist(), strict=True):
        others = [name for name in cultures if name != culture]
        names = [others[0], others[1], "nowhere"]
        owners.append([*names[:label], culture, *names[label:]])
    column = pa.array(owners, type=pa.list_(pa.string()))
    _, metadata = files.read_table(base / "samples.parquet")
    files.write_table(path, table.append_column("option_cultures", column), metadata)
    return dict(zip(table["sample_id"].to_pylist(), owners, strict=True))


def test_answers_that_follow_the_image_are_counted(base, tmp_path, step):
    owners = with_owners(base, tmp_path / "samples.parquet")
    path = tmp_path / "m/controls/swapped.parquet"
    step.run(infer_image_controls, *step.shared(base), "--samples", tmp_path / "samples.parquet", "--answers-out", path)
    found = tabulated(step, base, tmp_path, [path], "--samples", tmp_path / "samples.parquet")
    table = files.read_csv(found, text=["culture"]).query("control == 'swapped'")
    swapped, _ = files.read_table(path)
    shown, _ = files.read_table(base / "m/predictions.parquet")
    right = swapped[swapped["sample_id"].isin(shown.loc[shown["correct"], "sample_id"])]
    assert 3 < len(right) < len(swapped)
    became = [owners[name][p] for name, p in zip(right["sample_id"], right["prediction"], strict=True)]
    followed = (right["shown_culture"] == became).groupby(right["culture"]).agg(["mean", "size"])
    single = table[table["culture"].notna()].set_index("culture").loc[followed.index]
    assert single["followed_n"].tolist() == followed["size"].tolist()
    assert np.allclose(single["followed"], followed["mean"])
    every = table[table["culture"].isna()].iloc[0]
    assert (every["followed_n"], every["n_without_other_image"]) == (len(right), 0)
    assert every["followed"] == pytest.approx(followed["mean"].mean())
    assert every["followed_low"] <= every["followed"] <= every["followed_high"]


def placed(base, controls, folder, of, leave_out=0):
    """The questions, answers and controls of a data set below a folder, without the last so many of them; its files."""
    ids = sorted(files.read_table(base / "m/predictions.parquet")[0]["sample_id"])
    kept = ids[: len(ids) - leave_out]
    paths = {"samples": folder / of / "samples.parquet", "predictions": folder / "m" / of / "predictions.parquet"}
    paths |= {name: folder / "m" / of / f"controls/{name}.parquet" for name in ("none", "swapped")}
    origins = {"samples": base / "samples.parquet", "predictions": base / "m/predictions.parquet"} | controls
    for name, path in paths.items():
        table, metadata = pq.read_table(origins[name]), files.read_table(origins[name])[1]
        table = table.filter(pc.is_in(table["sample_id"], pa.array(kept)))
        files.write_table(path, table, metadata | ({"rows": len(table)} if "rows" in metadata else {}))
    return paths


def words(*sets):
    """The arguments for the files of `placed`."""
    options = {"--samples": ["samples"], "--predictions": ["predictions"], "--controls": ["swapped", "none"]}
    return [w for option, names in options.items() for w in (option, *(paths[n] for paths in sets for n in names))]


def test_each_data_set_has_rows_of_its_own(base, controls, tmp_path, step):
    own = placed(base, controls, tmp_path / "run", "")
    more = placed(base, controls, tmp_path / "run", "sets/more", leave_out=20)
    alone = placed(base, controls, tmp_path / "more", "", leave_out=20)
    tables = {}
    for name, sets in (("both", (own, more)), ("own", (own,)), ("more", (alone,))):
        step.run(tabulate_changed_answers, *words(*sets), "--replicates", 50, "--out-dir", tmp_path / name)
        tables[name] = pd.read_csv(tmp_path / name / "images.csv")
    both = tables["both"]
    assert list(dict.fromkeys(both["set"])) == ["run", "more"]
    assert set(both["control"]) == {"shown", "none", "swapped"}
    # Neither set changes anything of the other, adjusted p-values neither.
    for name, alone in (("run", tables["own"]), ("more", tables["more"])):
        pd.testing.assert_frame_equal(both[both["set"] == name].reset_index(drop=True), alone)
    assert both.groupby("set")["n"].max().tolist() == [26, 36]


def test_a_data_set_that_lacks_files_is_named(base, controls, tmp_path, step):
    own = placed(base, controls, tmp_path / "run", "")
    more = placed(base, controls, tmp_path / "run", "sets/more")
    samples, predictions = ([paths[name] for paths in (own, more)] for name in ("samples", "predictions"))
    for given, said in (
        (["--samples", samples[0], "--predictions", *predictions], "no --samples of sets/more$"),
        (["--samples", *samples, "--predictions", predictions[0]], "no --predictions of m/sets/more$"),
        (["--predictions", *predictions], "no --samples of sets/more, the run itself$"),
    ):
        with pytest.raises(ConfigError, match=f"--controls: {said}"):
            step.run(tabulate_changed_answers, *given, "--controls", own["none"], more["none"], "--out-dir", tmp_path)


def test_questions_without_another_image_are_counted(base, controls, tmp_path, step):
    paths = placed(base, controls, tmp_path / "run", "")
    table, metadata = files.read_table(paths["swapped"])
    left_out = table["sample_id"].iloc[:5].tolist()
    files.write_table(paths["swapped"], table.iloc[5:], metadata | {"rows": 31, "without_other_image": left_out})
    step.run(tabulate_changed_answers, *words(paths), "--replicates", 50, "--out-dir", tmp_path)
    every = pd.read_csv(tmp_path / "images.csv").query("culture.isna()").set_index("control")
    assert every["n"].to_dict() == {"shown": 36, "swapped": 31, "none": 36}
    assert every.loc["swapped", ["n_without_other_image", "n_without_image"]].tolist() == [5, 0]
