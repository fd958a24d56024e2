"""Worked by hand: two cultures count, a third has too few questions."""

from __future__ import annotations

import json
from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from culture_neurons import files
from culture_neurons.selectors import selection
from culture_neurons.workflow import disk, plan_text, planning

RUN = {
    "dataset": "small",
    "selectors": ["cas", "mad", "random"],
    "attributed": [],
    "matched": [],
    "mentions": False,
    "choosing": [],
    "sets": {"further": 0, "masked": 0, "selectors": [], "factors": []},
    "finetuning": {"runs": 0, "questions": 0, "held_out": 0.2, "limits": {}},
    "top_fractions": ["0.05", "0.2"],
    "robustness": {"selectors": [], "strengths": [], "permutations": 0},
    "shards": {"infer": 1, "record": 4, "ablate": 1, "ablate_masks": 1, "ablate_selectors": None},
    "image_controls": [],
    "with_images": [""],
    "token_rules": [],
    "min_correct": 5,
    "negative_sum": False,
    "models": {
        "a": {"gpus": 2, "trained": False},
        "b": {"gpus": 0, "trained": True},
        "c": {"gpus": 0, "trained": True},
    },
}
SPLITS = {
    "Ona": {"identify": 10, "evaluate": 9},
    "Terra": {"identify": 6, "evaluate": 7},
    "Ulm": {"identify": 4, "evaluate": 4},
}
CALIBRATION = {
    "model": "a", "revision": "r", "dtype": "bfloat16", "device": "Card", "device_type": "cuda", "devices": 1,
    "threads": 4, "answer": "logprob", "prepares_ahead": True, "batch_size": 8, "batch_size_fitted": 4, "layers": 10,
    "neurons": 20, "tokens_per_question": {"mean": 100.5, "max": 150}, "repeats": 3, "questions_run": 12,
    "under_masks": True, "peak_device_bytes": 2e9, "start_up_seconds": 10.0, "statistics_bytes_per_question": 1000.4,
    "seconds_per_question": {
        "prepare": [3.0, 3.0, 3.0], "answer": [2.0, 4.0, 6.0], "record": [5.0, 1.0, 7.0], "write": [4.0, 4.0, 4.0],
        "ablate": [2.0, 2.0, 6.0], "ablate_mask": [1.0, 0.5, 0.5],
    },
}  # fmt: skip
#: Jobs by rule, as Snakemake counts them.
JOBS = {"prepare": 1, "train": 1, "infer": 3, "gather_answers": 3, "record": 12}


def calibrated(**changes) -> dict:
    return {**deepcopy(CALIBRATION), **changes}


def test_questions_are_an_upper_bound() -> None:
    # Ulm can't have 5 right answers of 4: it is not recorded and gets no mask, but its questions are asked.
    assert planning.questions(SPLITS, 5) == planning.Questions(total=40, identify=16, evaluate=20, cultures=2)
    assert planning.questions(SPLITS, 1) == planning.Questions(total=40, identify=20, evaluate=20, cultures=3)
    assert planning.questions({"Ona": {"evaluate": 3}}, 0) == planning.Questions(3, 0, 3, 0)


def test_work_beside_a_gpu_costs_what_is_slowest() -> None:
    assert_allclose(planning.seconds_per_question(CALIBRATION, "answers"), [3, 4, 6])
    assert_allclose(planning.seconds_per_question(CALIBRATION, "recording"), [5, 4, 7])
    assert_allclose(planning.seconds_per_question(CALIBRATION, "ablation", masks=4), [6, 4, 8])


def test_work_on_a_cpu_and_generation_add_up() -> None:
    found = calibrated(prepares_ahead=False)
    assert_allclose(planning.seconds_per_question(found, "answers"), [5, 7, 9])
    assert_allclose(planning.seconds_per_question(found, "recording"), [12, 8, 14])
    assert_allclose(planning.seconds_per_question(found, "ablation", masks=4), [9, 7, 11])


def test_work_of_a_model_by_hand() -> None:
    answers, recording, ablation = planning.work(RUN, planning.questions(SPLITS, 5), CALIBRATION)
    assert (answers.jobs, answers.questions, answers.masks, answers.passes, answers.tokens) == (1, 40, 0, 40, 4020)
    assert_allclose(answers.job, [10 + 40 * 3, 10 + 40 * 4, 10 + 40 * 6])
    assert_allclose(answers.hours, np.array([130, 170, 250]) * 2 / 3600)  # each job holds two GPUs
    # 16 questions in 4 shards.
    assert (recording.jobs, recording.questions, recording.passes, recording.start_up) == (4, 16, 16, 40)
    assert_allclose(recording.job, [10 + 4 * 4, 10 + 4 * 5, 10 + 4 * 7])
    assert_allclose(recording.hours, recording.job * 4 * 2 / 3600)
    # 3 selectors; 2 cultures x 2 fractions = 4 masks.
    assert (ablation.jobs, ablation.questions, ablation.masks, ablation.passes) == (3, 20, 4, 240)
    assert ablation.tokens == 24120
    assert_allclose(ablation.job, [10 + 20 * 4, 10 + 20 * 6, 10 + 20 * 8])
    assert_allclose(ablation.hours, ablation.job * 3 * 2 / 3600)


def test_shards_of_questions_and_masks_by_hand() -> None:
    run = {**RUN, "shards": {"infer": 2, "record": 1, "ablate": 5, "ablate_masks": 2, "ablate_selectors": None}}
    answers, _, ablation = planning.work(run, planning.questions(SPLITS, 5), CALIBRATION)
    assert (answers.jobs, answers.passes, answers.start_up) == (2, 40, 20)
    assert_allclose(answers.job, [10 + 20 * 3, 10 + 20 * 4, 10 + 20 * 6])
    # 3 selectors x 5 x 2 jobs, each with 4 of 20 questions and 2 of 4 masks; the passes are as many as in one job.
    assert (ablation.jobs, ablation.questions, ablation.masks, ablation.passes) == (30, 20, 4, 240)
    assert_allclose(ablation.job, [10 + 4 * 3, 10 + 4 * 4, 10 + 4 * 7])
    assert_allclose(ablation.hours, ablation.job * 30 * 2 / 3600)


def test_other_token_rules_are_recorded_once_each() -> None:
    run, asked = {**RUN, "token_rules": ["image", "text"]}, planning.questions(SPLITS, 5)
    one, more = (planning.work(r, asked, CALIBRATION)[1] for r in (RUN, run))
    assert (more.kind, more.jobs, more.passes, more.tokens) == (
        "recording",
        3 * one.jobs,
        3 * one.passes,
        3 * one.tokens,
    )
    assert_allclose(more.hours, 3 * one.hours)
    before, after = (disk.disk(r, asked, CALIBRATION) for r in (RUN, run))
    assert (after["statistics"], after["shards"]) == (3 * before["statistics"], 3 * before["shards"])


def test_data_sets_that_choose_neurons_are_asked_and_recorded() -> None:
    run, asked = {**RUN, "choosing": ["a", "b"]}, planning.questions(SPLITS, 5)
    further = {"choose/a": 10, "choose/b": 31, "b": 99}
    parts = {part.kind: part for part in planning.work(run, asked, CALIBRATION, further)}
    answers, recording = parts["choosing answers"], parts["choosing recording"]
    # 41 questions of two data sets, 20 in the mean (a half goes to the even number); recorded in 4 shards.
    assert (answers.jobs, answers.questions, answers.masks, answers.passes) == (2, 20, 0, 40)
    assert_allclose(answers.job, [10 + 20 * 3, 10 + 20 * 4, 10 + 20 * 6])
    assert (recording.jobs, recording.questions, recording.passes, recording.start_up) == (8, 20, 40, 80)
    assert_allclose(recording.job, [10 + 5 * 4, 10 + 5 * 5, 10 + 5 * 7])
    assert [p.kind for p in planning.work(RUN, asked, CALIBRATION, further)].count("set answers") == 1
    assert all("choosing" not in p.kind for p in planning.work(RUN, asked, CALIBRATION, further))
    before, after = (disk.disk(r, asked, CALIBRATION, further) for r in (RUN, run))
    assert after["shards"] - before["shards"] == 10004 + 31012
    assert after["statistics"] - before["statistics"] == 10004 + 31012 + 2 * 2 * 200 * 16
    assert after["outcomes"] - before["outcomes"] == 41 * 24 + 2 * 4000
    assert any("chooses neurons" in line for line in planning.assumptions(run, [CALIBRATION]))


def test_image_controls_ask_the_evaluate_questions_again() -> None:
    run, asked = {**RUN, "image_controls": ["blank", "none"]}, planning.questions(SPLITS, 5)
    *others, again = planning.work(run, asked, CALIBRATION)
    assert [part.kind for part in others] == [part.kind for part in planning.work(RUN, asked, CALIBRATION)]
    assert (again.kind, again.jobs, again.questions, again.masks, again.passes) == ("controls", 1, 40, 0, 40)
    assert_allclose(again.job, [10 + 40 * 3, 10 + 40 * 4, 10 + 40 * 6])
    more, before = (disk.disk(of, asked, CALIBRATION)["outcomes"] for of in (run, RUN))
    assert more - before == 2 * (20 * 24 + 4000)


def test_image_controls_ask_further_data_sets_that_have_images() -> None:
    run, asked = {**RUN, "image_controls": ["none", "swapped"]}, planning.questions(SPLITS, 5)
    further = {"pictures": 30, "texts": 99, "mentions": 7}
    for names, jobs, questions in ((["", "pictures"], 2, 50), (["pictures"], 1, 60), ([""], 1, 40)):
        *_, again = planning.work(run | {"with_images": names}, asked, CALIBRATION, further)
        assert (again.kind, again.jobs, again.questions) == ("controls", jobs, questions)
        assert again.passes == jobs * questions
        size = disk.disk(run | {"with_images": names}, asked, CALIBRATION, further)["outcomes"]
        assert size - disk.disk(RUN, asked, CALIBRATION, further)["outcomes"] == jobs * (questions * 24 + 2 * 4000)
    without = planning.work(run | {"with_images": []}, asked, CALIBRATION, further)
    assert all(part.kind != "controls" for part in without)


def test_repeated_chains_by_hand() -> None:
    run = {**RUN, "robustness": {"selectors": ["cas"], "strengths": ["0.5", "2"], "permutations": 7}}
    *_, again = planning.work(run, planning.questions(SPLITS, 5), CALIBRATION)
    # 2 cultures at 2 strengths, and one pass per permutation for all cultures together.
    assert (again.kind, again.jobs, again.masks, again.passes) == ("robustness", 1, 11, 220)
    assert_allclose(again.job, [10 + 20 * 7.5, 10 + 20 * 11.5, 10 + 20 * 13])
    size = disk.disk(run, planning.questions(SPLITS, 5), CALIBRATION)["robustness"]
    assert size == 7 * (2 * 25 * 10 + 20 * 24) + 2 * 20 * 2 * 24 + 4 * 4000


def test_attribution_and_masks_at_projections_by_hand() -> None:
    seconds = CALIBRATION["seconds_per_question"] | {"attribute": [5.0, 6.0, 7.0]}
    found = calibrated(seconds_per_question=seconds)
    run = {**RUN, "attributed": ["mad"], "matched": ["random"], "mentions": True}
    asked = planning.questions(SPLITS, 5)
    parts = {part.kind: part for part in planning.work(run, asked, found, {"mentions": 8})}
    # 16 questions, 16 controls and 8 mentions, 13 in the mean, each in 4 shards.
    attribution = parts["attribution"]
    assert (attribution.jobs, attribution.questions, attribution.passes) == (12, 13, 39)
    assert_allclose(attribution.job, [10 + 13 / 4 * 5, 10 + 13 / 4 * 6, 10 + 13 / 4 * 7])
    assert (parts["ablation"].jobs, parts["projections"].jobs, parts["projections"].passes) == (1, 2, 160)
    # Each of 4 masks takes as long as an answer.
    assert_allclose(parts["projections"].job, [10 + 20 * 8, 10 + 20 * 16, 10 + 20 * 24])
    assert "set answers" not in parts


def test_further_data_sets_by_hand() -> None:
    run = {
        **RUN,
        "attributed": ["mad"],
        "sets": {"further": 2, "masked": 3, "selectors": ["cas", "mad"], "factors": ["0", "2", "3"]},
    }
    parts = {p.kind: p for p in planning.work(run, planning.questions(SPLITS, 5), CALIBRATION, {"a": 10, "b": 30})}
    answers, ablation, whole = (parts[f"set {kind}"] for kind in ("answers", "ablation", "projections"))
    assert (answers.jobs, answers.passes, answers.questions) == (2, 40, 20)
    assert_allclose(answers.job, [10 + 20 * 3, 10 + 20 * 4, 10 + 20 * 6])
    # On 3 sets of 20 questions in the mean, 2 cultures' masks by 3 factors each.
    assert (ablation.jobs, ablation.masks, ablation.passes) == (3, 6, 360)
    assert_allclose(ablation.job, [10 + 20 * 5, 10 + 20 * 8, 10 + 20 * 9])
    assert (whole.jobs, whole.passes) == (3, 360)
    assert_allclose(whole.job, [10 + 20 * 12, 10 + 20 * 24, 10 + 20 * 36])
    # Where neurons are suppressed alone, the ablation has asked the run's own questions.
    alone = {**run, "sets": {**run["sets"], "masked": 2, "factors": ["0"]}}
    parts = {p.kind: p for p in planning.work(alone, planning.questions(SPLITS, 5), CALIBRATION, {"a": 10, "b": 20})}
    ablation = parts["set ablation"]
    assert (ablation.jobs, ablation.masks, ablation.questions, ablation.passes) == (2, 2, 15, 60)
    plan = planning.plan(run, SPLITS, [CALIBRATION], {"a": 10, "b": 30}, {})
    assert any("further data sets are taken to be as long" in line for line in plan["assumptions"])


def test_selectors_that_share_jobs_by_hand() -> None:
    """Three selectors in two jobs: as many passes, one start less."""
    run = {**RUN, "shards": {**RUN["shards"], "ablate_selectors": 2, "ablate": 5}}
    (alone,) = (p for p in planning.work(RUN, planning.questions(SPLITS, 5), CALIBRATION) if p.kind == "ablation")
    (shared,) = (p for p in planning.work(run, planning.questions(SPLITS, 5), CALIBRATION) if p.kind == "ablation")
    assert (alone.jobs, shared.jobs) == (3, 10)
    assert alone.passes == shared.passes == 3 * 20 * 4
    # 1.5 selectors of 4 masks in the mean, on a fifth of the questions.
    assert_allclose(shared.job, [10 + 4 * 5.0, 10 + 4 * 8.0, 10 + 4 * 9.0])
    more = {**run, "shards": {**run["shards"], "ablate_selectors": 7}}
    assert planning.groups(more, 3) == 3  # no more groups than selectors
    assert any("counted as two" in line for line in planning.assumptions(run, [CALIBRATION]))


def test_a_model_that_was_not_measured_under_masks_is_named():
    for under_masks in (True, False):
        lines = planning.assumptions(RUN, [calibrated(under_masks=under_masks)])
        assert any("not measured under masks (a)" in line for line in lines) == (not under_masks)


def test_fine_tuning_by_hand() -> None:
    found = calibrated(seconds_per_question=CALIBRATION["seconds_per_question"] | {"attribute": [5.0, 6.0, 7.0]})
    tuning = {"tasks": 2, "runs": 6, "questions": 320, "held_out": 0.2, "limits": {"a": 50, "b": None}}
    run = {**RUN, "attributed": ["mad"], "finetuning": tuning}
    further = {"tasks/a": 100, "tasks/b": 30, "set": 11}
    parts = {p.kind: p for p in planning.work(run, planning.questions(SPLITS, 5), found, further)}
    training, answers = parts["fine-tuning"], parts["tuned answers"]
    assert (training.jobs, training.questions, training.passes) == (6, 320, 1920)
    assert_allclose(training.job, [10 + 320 * 5, 10 + 320 * 6, 10 + 320 * 7])
    # 20 evaluate questions, 11 of the set, and twice 10 and 6 held out, 8 in the mean.
    assert (answers.jobs, answers.questions) == (6, 20 + 11 + 16)
    assert_allclose(answers.job, [10 + 47 * 3, 10 + 47 * 4, 10 + 47 * 6])
    assert (parts["set answers"].jobs, parts["set answers"].questions) == (1, 11)


def test_a_job_holds_its_gpus_or_its_cores() -> None:
    assert planning.devices_per_job(RUN, CALIBRATION) == 2
    assert planning.devices_per_job(RUN, calibrated(devices=3)) == 3  # the model was spread over all that were there
    assert planning.devices_per_job(RUN, calibrated(device_type="cpu")) == 4


def test_disk_by_hand() -> None:
    size = disk.disk(RUN, planning.questions(SPLITS, 5), CALIBRATION)
    assert size == {
        "statistics": 16006 + 2 * 200 * (8 + 8),
        "scores": 3 * (2 * 200 * 4 + 4000),
        "masks": 3 * (2 * (10 + 40) * 10 + 2 * 4000),
        "outcomes": 3 * (20 * 4 * 24 + 2 * 4000) + 40 * 24 + 4000,
        "shards": 16006,
    }


def test_disk_of_attributions_sets_and_fine_tuning_by_hand() -> None:
    run = {
        **RUN,
        "attributed": ["mad"],
        "mentions": True,
        "sets": {"further": 1, "masked": 2, "selectors": ["cas", "mad"], "factors": ["0", "2", "3"]},
        "finetuning": {"tasks": 1, "runs": 6, "questions": 1, "held_out": 0.2, "limits": {"a": None}},
    }
    further = {"mentions": 8, "set": 11, "tasks/a": 99}
    found = disk.disk(run, planning.questions(SPLITS, 5), calibrated(units_per_layer=50), further)
    assert found["attributions"] == 3 * 4 * (2 * 10 * 50 * 8 + 4000)
    assert found["sets"] == 2 * 3 * (2 * 31 * 24 + 2 * 4000)
    run["sets"] = run["sets"] | {"masked": 1}  # without the run's own
    less = disk.disk(run, planning.questions(SPLITS, 5), calibrated(units_per_layer=50), further)
    assert less["sets"] == 2 * 3 * (2 * 11 * 24 + 4000)
    assert found["tuned answers"] == 6 * (31 * 24 + 2 * 4000)


def test_negative_sums_and_moments_take_room_per_culture() -> None:
    asked = planning.questions(SPLITS, 5)
    more = disk.disk({**RUN, "negative_sum": True}, asked, CALIBRATION)["statistics"]
    assert more - disk.disk(RUN, asked, CALIBRATION)["statistics"] == 2 * 200 * 3 * 8


def test_bytes_per_row_are_those_of_real_files(tmp_path) -> None:
    """Masks and answers as the steps write them: what is assumed is between 3/4 and 3/2 of what is there."""
    rng, size, names = np.random.default_rng(0), 5000, [f"Country {i}" for i in range(5)]
    scores = rng.random((5, 28, size)).astype(np.float32)
    mask = selection.select(scores, names, 1 / 28)
    ids = sorted(f"{i:x}" for i in rng.integers(0, 1 << 40, 2000))
    rows = [
        (mask_culture, sample_id, names[i % 5], int(rng.integers(4)), bool(rng.integers(2)), True,
         np.log(rng.dirichlet(np.ones(4))).astype(np.float32))
        for mask_culture in names for i, sample_id in enumerate(ids)
    ]  # fmt: skip
    columns = ["mask_culture", "sample_id", "culture", "prediction", "correct", "well_formed", "logprobs"]
    answers = pd.DataFrame(rows, columns=columns)
    for table, per_row in ((mask, disk.MASK_ROW), (answers, disk.ANSWER_ROW)):
        files.write_table(tmp_path / "table.parquet", table, {})
        real = (tmp_path / "table.parquet").stat().st_size
        assert 0.75 < (len(table) * per_row + disk.FILE) / real < 1.5


@pytest.fixture
def plan() -> dict:
    calibrations = [CALIBRATION, calibrated(model="b", device_type="cpu", peak_device_bytes=None)]
    return planning.plan(RUN, SPLITS, calibrations, {}, JOBS)


def test_plan_adds_up_and_is_json(plan) -> None:
    assert json.loads(json.dumps(plan)) == plan
    a, b = plan["models"]["a"], plan["models"]["b"]
    for model in (a, b):
        parts = [part["hours"] for part in model["work"].values()]
        assert_allclose(model["hours"], np.sum(parts, axis=0))
    # Different devices are not added to each other.
    assert plan["hours"] == {"GPU-hours": a["hours"], "core-hours": b["hours"]}
    kept = sum(size for model in (a, b) for kind, size in model["disk"].items() if kind != "shards")
    assert plan["disk"] == {"kept": kept, "peak": kept + 2 * 16006}
    both = planning.plan(RUN, SPLITS, [CALIBRATION, calibrated(model="b")], {}, JOBS)
    assert_allclose(both["hours"]["GPU-hours"][1], both["models"]["a"]["hours"][1] + both["models"]["b"]["hours"][1])


def test_text_has_every_figure(plan) -> None:
    page = plan_text.text(plan)
    lines = page.splitlines()
    assert "40 questions of 3 cultures. 16 are recorded, and masks of 2 cultures are judged on 20." in lines
    assert lines[4] == (
        "a: Card, 2 GPUs per job, bfloat16, batches of 4 (memory is too short for 8), 100 tokens per question "
        "(at most 150), 2.00 GB of device memory"
    )
    ablation = next(line for line in lines if line.startswith("  ablation"))
    assert " ".join(ablation.split()) == "ablation 3 20 4 240 24.1 k 30.0 s 2.17 min 0.217 (0.150 to 0.283)"
    assert "b: Card, 4 cores per job, bfloat16" in page
    assert "Jobs: 20 (prepare 1, train 1, infer 3, gather_answers 3, record 12)" in page
    assert "GPU-hours and" in page
    assert "training, prepare, merge" in page
    assert "generated" not in page


def test_text_warns_of_another_device_and_of_generation() -> None:
    page = plan_text.text(planning.plan(RUN, SPLITS, [calibrated(device_type="cpu", answer="generate")], {}, JOBS))
    assert "a asks for a GPU and was calibrated without one" in page
    assert "generated is counted as one pass" in page


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        (plan_text._number, 0.0012345, "0.00123"),
        (plan_text._number, 0, "0"),
        (plan_text._number, 1234567, "1,234,567"),
        (plan_text._amount, 999, "999"),
        (plan_text._amount, 1_509_216, "1.51 M"),
        (plan_text._amount, 2.5e16, "25,000 T"),
        (plan_text._bytes, 8_400_000_000, "8.40 GB"),
        (plan_text._time, 89, "89.0 s"),
        (plan_text._time, 90, "1.50 min"),
        (plan_text._time, 5400, "1.50 h"),
    ],
)
def test_numbers_are_short(function, value, text) -> None:
    assert function(value) == text


def test_a_plan_says_which_verdicts_are_out_of_reach():
    plan = planning.plan(RUN | {"controls_of": {"cas": 1}}, SPLITS, [calibrated()], {}, JOBS)
    assert plan["limits"] == [
        "no verdict is possible on cas: with 1 random control, p < 0.05 needs at least 6 groups, and there are 2; add "
        "groups or controls of other seeds"
    ]
    assert plan["limits"][0] in plan_text.text(plan)
    enough = {name: {"identify": 10, "evaluate": 9} for name in "ABCDEF"}
    assert "What it will not tell" not in plan_text.text(planning.plan(RUN | {"controls_of": {"cas": 1}}, enough,
                                                                   [calibrated()], {}, JOBS))  # fmt: skip
