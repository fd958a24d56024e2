"""Two results folders side by side: what is compared, what is not, and why."""

import shutil

import numpy as np
import pandas as pd
import pytest

from culture_neurons import files
from culture_neurons.analysis import compare_runs, p_values
from culture_neurons.analysis.compare_runs import TABLES
from culture_neurons.analysis.finished_run import FinishedRun
from culture_neurons.errors import ConfigError
from tests import finished_runs
from tests.finished_runs import CULTURES, questions


def compared(first, second, **options):
    return compare_runs.compare(FinishedRun(first), FinishedRun(second), **{"replicates": 50} | options)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    base = tmp_path_factory.mktemp("results")
    return finished_runs.write(base / "one"), finished_runs.write(base / "two", seed=1)


@pytest.fixture(scope="module")
def tables(folders):
    return compared(*folders)


def reasons(tables, what):
    rows = tables["compared"]
    return list(rows[(rows["what"] == what) & (rows["compared"] == "no")]["reason"])


def test_tables_are_those_of_the_registry(tables):
    assert list(tables) == ["compared", "paired_effects", "shared_neurons"]
    for name, table in tables.items():
        assert tuple(table.columns) == TABLES[name].columns
    assert (tables["compared"]["compared"] == "yes").all()
    assert tables["compared"]["reason"].eq("").all()


def test_masks_of_one_culture_are_matched_and_others_are_listed(tables):
    rows = tables["shared_neurons"]
    whole = rows[rows["layer"].isna() & (rows["selector"] == "cas")]
    assert len(whole) == 9
    assert set(whole[whole["matched"] == "name"]["culture"]) == set(CULTURES)
    assert rows[rows["layer"].notna()].groupby(["selector", "culture"]).size().tolist() == [2] * 6
    assert set(rows["same_model"]) == {"yes"}
    assert dict(zip(rows["selector"], rows["control"], strict=True)) == {"cas": "no", "random-matched": "yes"}
    # Families: matched masks of all layers, apart from all else, and random controls apart from the others.
    family = whole[whole["matched"] == "name"]
    assert family["p_adjusted"].tolist() == pytest.approx(
        p_values.benjamini_hochberg(family["p_value"].to_numpy(float)).tolist()
    )


def test_effects_are_paired_by_question(tables):
    rows = tables["paired_effects"]
    whole = rows[rows["culture"].isna() & (rows["measure"] == "logprob")]
    own = whole[(whole["what"] == "self") & (whole["selector"] == "cas")].iloc[0]
    assert (own["n"], own["averaged_over"]) == (24, "cultures")
    assert own["value"] < -0.5 > own["other_value"]
    assert own["difference"] == pytest.approx(own["value"] - own["other_value"])
    assert own["value_p"] < 0.05 < own["p_value"]
    random = whole[(whole["what"] == "self") & (whole["selector"] == "random-matched")].iloc[0]
    assert abs(random["value"]) < 0.1
    assert whole[whole["what"] == "baseline"]["selector"].isna().all()
    assert set(whole["what"]) == {"baseline", "self", "cross", "specificity"}
    assert set(rows["culture"].dropna()) == set(CULTURES)


def test_runs_of_other_models_compare_depths(folders, tmp_path):
    other = finished_runs.write(tmp_path / "wide", seed=2, models={"w": "r9"}, shape=(3, 40))
    tables = compared(folders[0], other)
    rows = tables["shared_neurons"]
    assert set(zip(rows["model"], rows["other_model"], rows["same_model"], strict=True)) == {("m", "w", "no")}
    assert rows["n_shared"].isna().all()
    assert rows["depth_overlap"].between(0, 1).all()
    assert set(reasons(tables, "masks")) == {
        "2 layers of 30 neurons and 3 layers of 40 neurons: they share no neurons; depths are compared"
    }
    assert len(tables["paired_effects"])  # the questions are the same


def test_other_questions_leave_the_masks(folders, tmp_path):
    other = finished_runs.write(tmp_path / "other", seed=3, samples=questions(start=500))
    tables = compared(folders[0], other)
    assert reasons(tables, "questions") == ["no sample id is in both samples.parquet: effects can't be paired"]
    assert reasons(tables, "answers") == ["no question is in the evaluate half of both runs"]
    assert len(tables["paired_effects"]) == 0
    assert list(tables["paired_effects"].columns) == list(TABLES["paired_effects"].columns)
    assert len(tables["shared_neurons"])


def test_two_groupings_of_the_same_questions(folders, tmp_path):
    samples = questions()
    languages = {"NA": "x", "b": "x", "c": "y"}
    regrouped = samples.assign(culture=samples["culture"].map(languages))
    tables = compared(folders[0], finished_runs.write(tmp_path / "language", seed=4, samples=regrouped))
    rows = tables["shared_neurons"]
    matched = rows[(rows["matched"] == "questions") & rows["layer"].isna() & (rows["selector"] == "cas")]
    assert dict(zip(matched["culture"], matched["other_culture"], strict=True)) == languages
    effects = tables["paired_effects"]
    assert set(effects[effects["culture"].isna()]["averaged_over"]) == {"questions"}
    pairs = effects.dropna(subset="culture")[["culture", "other_culture"]].drop_duplicates()
    assert dict(pairs.to_numpy().tolist()) == languages


def test_what_is_missing_or_damaged_is_said_and_all_else_goes_on(folders, tmp_path):
    copy = shutil.copytree(folders[1], tmp_path / "two")
    (copy / "m/masks/random-matched_top0.1.parquet").unlink()
    (copy / "m/ablation/cas_top0.1.parquet").write_bytes(b"nothing")
    tables = compared(folders[0], copy)
    assert reasons(tables, "masks") == ["two has no masks of this selector and top fraction"]
    (reason,) = reasons(tables, "effects")
    assert "ablation/cas_top0.1.parquet: damaged" in reason
    assert "\n" not in reason
    assert set(tables["shared_neurons"]["selector"]) == {"cas"}
    assert set(tables["paired_effects"]["what"]) == {"baseline"}
    back = compared(copy, folders[0])
    assert reasons(back, "masks") == ["two has no masks of this selector and top fraction"]


def test_models_that_one_run_has_are_named(folders, tmp_path):
    other = finished_runs.write(tmp_path / "both", models={"m": "r2", "n": "r1"})
    tables = compared(folders[0], other)
    rows = tables["compared"]
    assert rows[rows["what"] == "models"][["model", "reason"]].to_numpy().tolist() == [
        ["n", "only both has this model"]
    ]
    assert set(tables["shared_neurons"]["same_model"]) == {"no"}  # m is of another revision there


def test_planted_models_have_families_of_their_own(folders, tmp_path):
    copy = shutil.copytree(folders[1], tmp_path / "planted")
    (copy / "m/planted.csv").write_text("culture\n")
    assert set(compared(folders[0], copy)["shared_neurons"]["planted"]) == {"yes"}


def test_one_folder_twice_is_refused(folders):
    with pytest.raises(ConfigError, match="one is given twice; expected two results folders"):
        compared(folders[0], folders[0])


def test_two_folders_of_one_name_are_refused(folders, tmp_path):
    """Tables and figures could not tell them apart, and answers under the masks of one would be those of the other."""
    copy = tmp_path / "copy" / folders[1].name
    shutil.copytree(folders[1], copy)
    with pytest.raises(ConfigError, match=r"two.* have one name, 'two'; expected folders of two names"):
        compared(folders[1], copy)


def transferred(source, target, path, **metadata):
    """A file of `steps.transfer`, which asked the questions of `target` under the masks of `source`: they do nothing to
    answers, but for the score of the right option, which goes down by 1 under the question's own mask."""
    run = FinishedRun(target)
    rows = pd.read_parquet(run.answers["m"])
    rows = rows[rows["split"] == "evaluate"]
    parts, described = [], []
    for number, key in enumerate(FinishedRun(source).masks):
        masks = FinishedRun(source).mask_file(key)
        for culture in masks.sizes:
            scores = np.stack(rows["logprobs"])
            scores[:, 1] -= (rows["culture"] == culture).to_numpy()
            parts.append(rows.assign(mask_file=number, mask_culture=culture, logprobs=list(scores)))
        described.append({"selector_name": key[1], "top_fraction": key[2]})
    about = {"model": "m", "revision": "r1", "masks": described, "masks_of": source.name, "questions_of": target.name}
    files.write_table(path, pd.concat(parts, ignore_index=True), about | metadata)
    return path


def test_masks_on_the_questions_of_the_other_run(folders, tmp_path):
    path = transferred(*folders, tmp_path / "t.parquet")
    tables = compared(*folders, transfers=[path])
    rows = tables["transferred_masks"]
    assert tuple(rows.columns) == TABLES["transferred_masks"].columns
    assert set(zip(rows["masks_of"], rows["questions_of"], strict=True)) == {("one", "two")}
    whole = rows[rows["culture"].isna() & (rows["measure"] == "logprob") & (rows["selector"] == "cas")]
    whole = whole.set_index("what")
    native = tables["paired_effects"]
    native = native[native["culture"].isna() & (native["measure"] == "logprob") & (native["selector"] == "cas")]
    # The other value is what the run's own masks do there, which stands in the other table too.
    assert whole["other_value"].to_dict() == pytest.approx(
        native[native["what"] != "baseline"].set_index("what")["other_value"].to_dict()
    )
    assert whole.loc["cross", "value"] == pytest.approx(0, abs=1e-12)
    assert -1 < whole.loc["self", "value"] < -0.1
    assert whole.loc["self", "difference"] > 0  # they harm less than the run's own masks, which take 2
    accuracy = rows[rows["culture"].isna() & (rows["measure"] == "accuracy") & (rows["selector"] == "cas")]
    assert (accuracy["value"] == 0).all()


def test_masks_are_moved_to_the_cultures_that_stand_for_theirs(folders, tmp_path):
    """Questions of x, y and z, which stand for NA, b and c, whose masks they are asked under."""
    samples = questions()
    target = finished_runs.write(
        tmp_path / "language", seed=4,
        samples=samples.assign(culture=samples["culture"].map({"NA": "x", "b": "y", "c": "z"})),
    )  # fmt: skip
    path = transferred(folders[0], target, tmp_path / "t.parquet")
    table, metadata = files.read_table(path)
    own = table["culture"].map({"x": "NA", "y": "b", "z": "c"}) == table["mask_culture"]
    lower = np.outer(own, [0, 1, 0])
    table["logprobs"] = list(np.stack(table["logprobs"]) - lower)
    files.write_table(path, table, metadata)
    rows = compared(folders[0], target, transfers=[path])["transferred_masks"]
    whole = rows[rows["culture"].isna() & (rows["measure"] == "logprob") & (rows["selector"] == "cas")]
    assert whole.set_index("what")["value"]["self"] < -0.1
    assert whole.set_index("what")["value"]["cross"] == pytest.approx(0, abs=1e-12)
    pairs = rows.dropna(subset="culture")[["culture", "other_culture"]].drop_duplicates()
    assert pairs.to_numpy().tolist() == [["NA", "x"], ["b", "y"], ["c", "z"]]


def test_answers_of_other_runs_are_left_out(folders, tmp_path):
    strange = transferred(*folders, tmp_path / "t.parquet", masks_of="three")
    tables = compared(*folders, transfers=[strange, tmp_path / "missing.parquet"])
    first, second = reasons(tables, "transfer")
    assert "it is of other runs" in first
    assert "missing.parquet: no such file" in second
    assert len(tables["transferred_masks"]) == 0
