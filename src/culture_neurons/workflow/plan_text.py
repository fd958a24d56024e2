"""A plan (`workflow.planning.plan`) as a page of plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def text(plan: Mapping[str, Any]) -> str:
    """A plan as a page of plain text."""
    questions = plan["questions"]
    lines = [
        f"What a run of {plan['dataset']} will cost",
        "",
        f"{questions['total']:,} questions of {plan['cultures']} cultures. {questions['identify']:,} are recorded, "
        f"and masks of {questions['cultures']} cultures are judged on {questions['evaluate']:,}.",
    ]
    for name, model in plan["models"].items():
        lines += ["", *_model(name, model)]
    for name, passes in plan.get("unmeasured", {}).items():
        lines += ["", f"{name}: not measured: its passes, about {passes:,}, take less time than its jobs take to start"]
    hours = " and ".join(f"{_range(hours)} {unit}" for unit, hours in plan["hours"].items())
    disk = f"Disk: {_bytes(plan['disk']['kept'])}, and up to {_bytes(plan['disk']['peak'])} before shards are merged"
    count = ", ".join(f"{rule} {number}" for rule, number in plan["jobs"].items())
    lines += [
        "",
        *([f"All {'measured ' if plan.get('unmeasured') else ''}models: {hours}", disk] if plan["models"] else []),
        f"Jobs: {sum(plan['jobs'].values()):,} ({count})",
        *(["", "What it will not tell:", *(f"- {line}" for line in plan["limits"])] if plan.get("limits") else []),
        "",
        "Assumed:",
        *(f"- {line}" for line in plan["assumptions"]),
    ]
    return "\n".join(lines) + "\n"


def _model(name: str, model: Mapping[str, Any]) -> list[str]:
    """The lines of one model."""
    calibration, devices = model["calibration"], model["devices_per_job"]
    tokens = calibration["tokens_per_question"]
    unit = model["unit"].removesuffix("-hours") + "s" * (devices > 1)
    fitted, requested = calibration["batch_size_fitted"], calibration["batch_size"]
    facts = [
        f"{calibration['device']}, {devices} {unit} per job",
        calibration["dtype"],
        f"batches of {fitted}" + (f" (memory is too short for {requested})" if fitted < requested else ""),
        f"{tokens['mean']:,.0f} tokens per question (at most {tokens['max']:,})",
    ]
    if calibration["peak_device_bytes"]:
        facts.append(f"{_bytes(calibration['peak_device_bytes'])} of device memory")
    row = "  {:15} {:>5} {:>9} {:>6} {:>12} {:>8} {:>9} {:>9}  {}".format
    rows = [row("", "jobs", "questions", "masks", "passes", "tokens", "start-up", "one job", model["unit"])]
    for kind, part in model["work"].items():
        counts = [f"{part[key]:,}" for key in ("jobs", "questions", "masks", "passes")]
        times = [_time(part["start_up"]), _time(part["job"][1]), _range(part["hours"])]
        rows.append(row(kind, *counts, _amount(part["tokens"]), *times))
    rows.append(row("all", *[""] * 7, _range(model["hours"])))
    files = ", ".join(f"{kind} {_bytes(size)}" for kind, size in model["disk"].items() if kind != "shards")
    run = f"calibrated on {calibration['questions_run']:,} questions, {calibration['repeats']} times"
    return [f"{name}: {', '.join(facts)}", f"  {run}", *rows, f"  disk: {files}"]


def _number(value: float) -> str:
    """Three significant digits, no exponent."""
    digits = 0 if value <= 0 else max(0, 2 - int(np.floor(np.log10(value))))
    return f"{value:,.{digits}f}"


def _range(values: Sequence[float]) -> str:
    """The median, and from lowest to highest."""
    low, middle, high = map(_number, values)
    return f"{middle} ({low} to {high})"


def _amount(value: float, units: Sequence[str] = ("", " k", " M", " G", " T")) -> str:
    """With a prefix of a thousand, a million ..., two digits at least."""
    step = 0 if value < 1000 else min(len(units) - 1, int(np.log10(value) // 3))
    return f"{_number(value / 1000**step) if step else round(value)}{units[step]}"


def _bytes(value: float) -> str:
    """The same of bytes."""
    return _amount(value, (" B", " kB", " MB", " GB", " TB"))


def _time(seconds: float) -> str:
    """Seconds, minutes or hours."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{_number(seconds / size)} {unit}"
    return f"{_number(seconds)} s"
