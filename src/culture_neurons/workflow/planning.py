"""What a run will cost: passes, device hours and disk, from the config, the samples and a calibration per model.

How many jobs it has, Snakemake says (`jobs`).

`run` is what the config says of the amount of work: `run.Run.amount_of_work`.

A calibration is what `steps.calibrate` writes (docs/outputs.md). Everything here is arithmetic. A range is float64
[3]: the lowest, the median and the highest that the calibration's repeats give.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from culture_neurons.analysis import design_limits
from culture_neurons.workflow import disk


@dataclass(frozen=True)
class Questions:
    """How much is asked: numbers of questions, and the cultures that can get a mask.

    identify holds those of these cultures alone, since no other is recorded.
    """

    total: int
    identify: int
    evaluate: int
    cultures: int


@dataclass(frozen=True)
class Work:
    """One kind of work of one model.

    questions    of all shards together
    masks        of one selector, 0 where none is in force
    passes       of all jobs: questions x masks x selectors
    tokens       that these passes read
    start_up     seconds that all jobs spend before their first batch
    job          seconds of one job, start-up included (range)
    hours        of all jobs (range)
    """

    kind: str
    jobs: int
    questions: int
    masks: int
    passes: int
    tokens: int
    start_up: float
    job: np.ndarray
    hours: np.ndarray


def groups(run: Mapping[str, Any], selectors: int) -> int:
    """Among how many jobs of a model so many selectors are dealt, other shards aside."""
    return min(run["shards"]["ablate_selectors"] or selectors, selectors)


def questions(splits: Mapping[str, Mapping[str, int]], min_correct: int) -> Questions:
    """Count the questions as if every identify question were answered correctly: an upper bound.

    splits   culture -> split -> number of questions
    """
    identify = [n for n in (part.get("identify", 0) for part in splits.values()) if n >= max(1, min_correct)]
    total = sum(sum(part.values()) for part in splits.values())
    return Questions(total, sum(identify), sum(part.get("evaluate", 0) for part in splits.values()), len(identify))


def seconds_per_question(calibration: Mapping[str, Any], kind: str, masks: float = 0) -> np.ndarray:
    """Wall-clock seconds per question, float64 [repeat]. Under a mask at projections a question takes a whole pass.

    Beside a GPU, the next batch is prepared and sums are written while it works, so the slowest of these counts. On
    a CPU they share the cores with the model, and beside a generation nothing is prepared: there they add up.
    """
    of = {name: np.array(values, float) for name, values in calibration["seconds_per_question"].items()}
    model = {
        "recording": of["record"],
        "attribution": of.get("attribute", of["answer"]),
        "ablation": of["ablate"] + masks * of["ablate_mask"],
        "projections": masks * of["answer"],
    }
    parts = [model.get(kind, of["answer"]), of["prepare"], *([of["write"]] if kind == "recording" else [])]
    return np.max(parts, axis=0) if calibration["prepares_ahead"] else np.sum(parts, axis=0)


def work(
    run: Mapping[str, Any], counts: Questions, calibration: Mapping[str, Any], further: Mapping[str, int] | None = None
) -> list[Work]:
    """Answers, recording and ablation of one model, and what its config asks of it beside these.

    That is ablation again, under other strengths and shuffled labels, and answers under image controls. A question
    counts once for each image control, as if it had an image and as many tokens as with it; so does one of a further
    data set that may have images. `further` has the number of questions of each further data set, of mentions under
    that name, and of tasks and data sets that choose neurons under `tasks/` and `choose/` and their names; all count as
    if they were as long as the run's own. All questions of a data set that chooses neurons are asked, and recorded as
    if each were answered correctly. Masks at projections are counted apart: `projections`, and on all sets
    `set projections`. A question to train on costs what an attribution costs: both go forward and back.
    """
    repeated_work = run["robustness"]
    # Under shuffled labels, each question is asked under its own culture's mask alone.
    repeated = counts.cultures * len(repeated_work["strengths"]) + repeated_work["permutations"]
    masks, shards = counts.cultures * len(run["top_fractions"]), run["shards"]
    rules = len(run["token_rules"])
    sets = {name: n for name, n in (further or {}).items() if "/" not in name}
    mentions = sets.pop("mentions", 0)
    choosing = disk.chosen_from(run, further)
    asked_to_choose = round(sum(choosing) / max(1, len(choosing)))  # the mean: each of them is a job of its own
    tuning = run["finetuning"]
    judging = held_out(tuning, further or {})
    attributed = (2 + run["mentions"]) * bool(run["attributed"])
    # The mean over questions, controls and mentions, of which each is a job of its own.
    attributions = round((2 * counts.identify + mentions) / max(1, attributed))
    at_projections = {*run["attributed"], *run["matched"]}
    evaluated, on_sets = run["sets"]["selectors"], counts.cultures * len(run["sets"]["factors"])
    # The mean over data sets, of which each is a job of its own; the run's own evaluate half may be one of them.
    n_sets = run["sets"]["masked"] if sets else 0
    own = counts.evaluate * (n_sets > len(sets))
    each = round((sum(sets.values()) + own) / max(1, n_sets))
    masked = shards["ablate"], shards["ablate_masks"]

    def group_jobs(kind: str, selectors: set[str], times: int, n: int, masks: int) -> tuple:
        """Work of selectors that share jobs, `times` on each of them."""
        number = groups(run, len(selectors))
        return kind, number * times, *masked, n, masks, len(selectors) / max(1, number)

    kinds = [
        ("answers", 1, shards["infer"], 1, counts.total, 0),
        ("recording", 1 + rules, shards["record"], 1, counts.identify, 0),
        ("choosing answers", len(choosing), shards["infer"], 1, asked_to_choose, 0),
        ("choosing recording", len(choosing), shards["record"], 1, asked_to_choose, 0),
        ("attribution", attributed, shards["record"], 1, attributions, 0),
        group_jobs("ablation", set(run["selectors"]) - at_projections, 1, counts.evaluate, masks),
        group_jobs("projections", at_projections, 1, counts.evaluate, masks),
        ("robustness", len(repeated_work["selectors"]), *masked, counts.evaluate, repeated),
        ("set answers", len(sets), shards["infer"], 1, round(sum(sets.values()) / max(1, len(sets))), 0),
        group_jobs("set ablation", set(evaluated) - at_projections, n_sets, each, on_sets),
        group_jobs("set projections", set(evaluated) & at_projections, n_sets, each, on_sets),
        ("fine-tuning", tuning["runs"], 1, 1, tuning["questions"], 0),
        # Of the trained models: every data set, and before and after that a part of the task.
        ("tuned answers", tuning["runs"], 1, 1, counts.evaluate + sum(sets.values()) + 2 * judging, 0),
    ]
    kinds = [kind for kind in kinds if kind[1]]
    if controls := disk.controlled(run, counts, further):
        # The mean over data sets, of which each is a job of its own.
        kinds.append(("controls", len(controls), 1, 1, round(sum(controls) / len(controls)), 0))
    start, devices = calibration["start_up_seconds"], devices_per_job(run, calibration)
    result = []
    rates = {"robustness": "ablation", "fine-tuning": "attribution"}
    for kind, times, by_questions, by_masks, n, masks, *more in kinds:
        number = times * by_questions * by_masks
        together = more[0] if more else 1  # selectors of one job
        rate = rates.get(kind, kind.removeprefix("set ").removeprefix("choosing "))
        per_question = seconds_per_question(calibration, rate, masks * together / by_masks)
        job = start + n / by_questions * np.quantile(per_question, [0, 0.5, 1])
        passes = round(times * together) * n * max(1, masks)
        tokens = round(passes * calibration["tokens_per_question"]["mean"])
        hours = number * job * devices / 3600
        result.append(Work(kind, number, n, masks, passes, tokens, number * start, job, hours))
    return result


def held_out(tuning: Mapping[str, Any], further: Mapping[str, int]) -> int:
    """Questions of a task that judge a training, the mean over tasks: see `selectors.module_choice.split_held_out`."""
    sizes = {name.removeprefix("tasks/"): n for name, n in further.items() if name.startswith("tasks/")}
    shares = [tuning["held_out"] * min(n, tuning["limits"][name] or n) for name, n in sizes.items()]
    return round(sum(shares) / max(1, len(shares)))


def devices_per_job(run: Mapping[str, Any], calibration: Mapping[str, Any]) -> int:
    """What a job holds for as long as it runs: GPUs, or cores where there are none."""
    if calibration["device_type"] == "cpu":
        return calibration["threads"]
    return max(run["models"][calibration["model"]]["gpus"], calibration["devices"])


def plan(
    run: Mapping[str, Any],
    splits: Mapping[str, Mapping[str, int]],
    calibrations: Sequence[Mapping[str, Any]],
    further: Mapping[str, int],
    jobs: Mapping[str, int],
) -> dict[str, Any]:
    """All figures, ready for JSON; see docs/outputs.md for the keys, and `work` for `further`. `jobs` is by rule."""
    counts = questions(splits, run["min_correct"])
    models, totals = {}, {}
    for calibration in calibrations:
        unit = "core-hours" if calibration["device_type"] == "cpu" else "GPU-hours"
        parts = work(run, counts, calibration, further)
        hours = np.sum([part.hours for part in parts], axis=0)
        totals[unit] = totals.get(unit, 0) + hours
        models[calibration["model"]] = {
            "calibration": {key: calibration[key] for key in SHOWN},
            "devices_per_job": devices_per_job(run, calibration),
            "unit": unit,
            "work": {
                part.kind: {key: value for key, value in vars(part).items() if key != "kind"}
                | {"job": part.job.tolist(), "hours": part.hours.tolist()}
                for part in parts
            },
            "hours": hours.tolist(),
            "disk": disk.disk(run, counts, calibration, further),
        }
    kept = sum(size for model in models.values() for name, size in model["disk"].items() if name != "shards")
    return {
        "dataset": run["dataset"],
        "questions": vars(counts),
        "cultures": len(splits),
        "jobs": dict(jobs),
        "models": models,
        "hours": {unit: hours.tolist() for unit, hours in totals.items()},
        "disk": {"kept": kept, "peak": kept + sum(model["disk"]["shards"] for model in models.values())},
        "assumptions": assumptions(run, calibrations),
        "limits": design_limits.notes(run.get("controls_of", {}), counts.cultures),
    }


#: What a plan repeats of a calibration.
SHOWN = (
    "revision", "dtype", "device", "device_type", "devices", "threads", "answer", "batch_size", "batch_size_fitted",
    "layers", "neurons", "tokens_per_question", "repeats", "questions_run", "peak_device_bytes",
)  # fmt: skip


def assumptions(run: Mapping[str, Any], calibrations: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the figures take for granted, a sentence each."""
    trained = any(model["trained"] for model in run["models"].values())
    others = f"{'training, ' if trained else ''}prepare, merge, select, tables, figures and report"
    result = [
        "Every identify question is answered correctly, so that it is recorded, and every culture with at least "
        f"{max(1, run['min_correct'])} of them gets masks: an upper bound.",
        "Each culture has one mask per selector and top fraction, of the whole budget of neurons, anywhere in the "
        "model. Masks that are empty, equal, or touch no early layer cost less.",
        "A range is how much the calibration's repeats differed. Not in it: start-up, which was timed once, the end of "
        "a process, other jobs on the same machine, and pictures that come from a slow disk.",
        f"Jobs without a model are counted and not timed: {others}.",
        "Scores and sums per culture are counted as plain arrays; all models' shards are taken to lie on disk at once.",
    ]
    if run["choosing"]:
        result.append(
            "Every question of a data set that chooses neurons is answered correctly and recorded, and is as long as "
            "the run's own questions; as many cultures get masks there."
        )
    if run["attributed"] or run["sets"]["further"]:
        result.append(
            "Questions of controls, mentions and further data sets are taken to be as long as the run's own. Selectors "
            "by attribution and their random controls cost a whole pass per mask and culture; equal masks cost less. "
            "Sums of attributions are counted as plain arrays."
        )
    if run["finetuning"]["runs"]:
        result.append(
            "A question to fine-tune on costs what an attribution costs, and is as long as the run's own questions. "
            "What fine-tuning writes of the trained modules is not in the disk space."
        )
    if run["shards"]["ablate_selectors"]:
        result.append("A job that asks masks at projections beside masks of statistics is counted as two.")
    if unmeasured := [of["model"] for of in calibrations if not of["under_masks"]]:
        result.append(
            f"So small a run was not measured under masks ({', '.join(unmeasured)}): each mask counts as a whole pass, "
            "an upper bound, and start-up is most of the time."
        )
    for calibration in calibrations:
        if calibration["device_type"] == "cpu" and run["models"][calibration["model"]]["gpus"]:
            result.append(
                f"{calibration['model']} asks for a GPU and was calibrated without one: these are not its costs there."
            )
    if any(calibration["answer"] == "generate" for calibration in calibrations):
        result.append("An answer that is generated is counted as one pass; its time is that of the whole generation.")
    return result
