"""Made-up tables in the layout of `steps.tabulate`, for the tests of figures and report."""

from __future__ import annotations

import itertools
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from culture_neurons.analysis import data_overlaps, finetuning, overlaps, stability, transfer
from culture_neurons.analysis.image_controls import SWAPPED_COLUMNS
from culture_neurons.files import write_csv
from culture_neurons.steps import tabulate_changed_answers

NAMES = ["Bhutan-Dzongkha", "Ελλάδα", "Россия $a$ & $b$", "日本", "مصر", "भारत-मराठी",
         "A very long name of a culture, 8th", '<script>alert("x")</script>']  # fmt: skip
SELECTORS = ["cas", "mad", "lape", "lap", "random-matched"]
EFFECT = {
    "cas": 29.0,
    "effect-size": 26.0,
    "mad": 12.0,
    "lape": 20.0,
    "lap": 6.0,
    "random-matched": 0.3,
    "culnig-general": 15.0,
    "culnig-specific": 10.0,
}
#: Of selectors by attribution: site, its units per layer, and what it has of the numbers of other selectors.
SITES = (("gate_proj", 256, 1.0), ("q_proj", 64, 0.2), ("k_proj", 32, 0.1), ("v_proj", 32, 0.15))
VERDICTS = ("culture-specific", "unspecific damage", "not distinguishable from random masks")


def build(folder: Path, cultures: list[str] = NAMES, n_layers: int = 4, width: int = 256, n: int = 60,
          models: tuple[str, ...] = ("demo-qwen2.5-vl", "planted-qwen2.5-vl"),
          fractions: tuple[float, ...] = (0.002, 0.005, 0.01, 0.02, 0.05),
          selectors: list[str] = SELECTORS) -> Path:  # fmt: skip
    """Write all tables to `folder`; a model whose name starts with "planted" has a strong effect."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in _made(tuple(cultures), n_layers, width, n, models, fractions, tuple(selectors)).items():
        (folder / name).write_bytes(content)
    return folder


@cache
def _made(*arguments) -> dict[str, bytes]:
    """Contents of the files: tests that ask for the same tables share them."""
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder), *(list(a) if isinstance(a, tuple) else a for a in arguments))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def _write(
    folder: Path, cultures: list[str], n_layers: int, width: int, n: int, models: list[str], fractions: list[float],
    selectors: list[str],
) -> None:  # fmt: skip
    """Write the tables."""
    rng = np.random.default_rng(7)
    effects, summary, layers, baseline, evidence, planted, images, benchmark = [], [], [], [], [], [], [], []
    for model in models:
        is_planted = model.startswith("planted")
        mark = "yes" if is_planted else "no"
        base = dict(zip(cultures, rng.uniform(0.88, 1.0, len(cultures)) if is_planted or "demo" in model else
                        rng.uniform(0.4, 0.8, len(cultures)), strict=True))  # fmt: skip
        for c in cultures:
            right = round(base[c] * n)
            baseline.append((model, c, n, right / n, 1.0, n, right, mark, 0.25))
        for control, share in (("shown", 1.0), ("blank", 0.4), ("none", 0.3)):
            every = [(c, n, base[c] * share) for c in cultures]
            for c, asked, accuracy in [*every, ("", n * len(cultures), float(np.mean([v for *_, v in every])))]:
                change = None if control == "shown" else 100 * accuracy * (1 - 1 / share)
                row = (model, c, control, asked, accuracy, accuracy - 0.05, accuracy + 0.05, change, 0.25, mark, "demo")
                images.append((*row, *[None] * len(SWAPPED_COLUMNS)))
        for selector in selectors:
            for r in fractions:
                strength = EFFECT.get(selector, 5.0) if is_planted else (1.2 if "random" not in selector else 0.3)
                strength *= min(1.6, (r / 0.01) ** 0.5)
                per = max(1, round(r * n_layers * width))
                own, cross = [], []
                for mask in cultures:
                    weights = rng.dirichlet(np.full(n_layers, 0.7))
                    for layer, count in enumerate(rng.multinomial(per, weights)):
                        for site, units, share in SITES if "culnig" in selector else [("act_fn", width, 1.0)]:
                            layers.append((model, selector, r, mask, site, layer, int(count * share), units, mark))
                    for other in cultures:
                        drop = -strength * rng.uniform(0.6, 1.4) if mask == other else rng.normal(0, 0.5)
                        drop = float(max(drop, -100 * base[other]))
                        (own if mask == other else cross).append(drop)
                        nats = drop * 0.05 + rng.normal(0, 0.01)
                        masked = base[other] + drop / 100
                        effects.append((model, selector, r, mask, other, n, base[other], masked, drop, nats,
                                        min(1.0, abs(drop) / 80), 0.999, mark))  # fmt: skip
                s, x = float(np.mean(own)), float(np.mean(cross or [np.nan]))
                summary.append(
                    (
                        model,
                        selector,
                        r,
                        s,
                        x,
                        s - x,
                        -0.2,
                        mark,
                        0.05 * s,
                        0.05 * x,
                        -0.01,
                        *(v + e for v, w in ((s, 2), (x, 0.3), (-0.2, 0.5)) for e in (-w, w)),
                        *(0.05 * (v + e) for v, w in ((s, 2), (x, 0.3), (-0.2, 0.5)) for e in (-w, w)),
                    )
                )
                if is_planted:
                    for number, noise in (("5", 0.0), ("all", 0.0), ("all", 0.25), ("all", 0.5)):
                        spread = np.nan if number == "all" and not noise else 0.03
                        for target in ("planted", "effective"):
                            values = np.repeat(rng.uniform(0, 1 - noise, 3), 2)
                            values[1::2] = spread
                            benchmark.append((model, selector, r, target, number, noise, 5, len(cultures), 64, 0.01,
                                              *values, mark))  # fmt: skip
                if selector.startswith("random"):
                    continue
                for measure, scale in (("accuracy", 1.0), ("logprob", 0.05)):
                    for comparison in ("self-vs-random", "self-vs-cross"):
                        d = (s + 0.2 if "random" in comparison else s - x) * scale
                        p = 0.0005 if is_planted else 0.3
                        verdict = VERDICTS[0] if is_planted else VERDICTS[2]
                        evidence.append((model, selector, r, measure, comparison, n * len(cultures), d, d - 2 * scale,
                                         d + 2 * scale, p, min(1.0, p * 2), verdict, mark))  # fmt: skip
                if is_planted:
                    for c in cultures:
                        hits = min(per, 30)
                        planted.append((model, selector, r, c, per, 32, hits, hits / per, hits / 32, mark))
    key = ["model", "selector", "top_fraction"]
    for name, rows, columns in (
        ("effects", effects, [*key, "mask_culture", "eval_culture", "n", "baseline_accuracy", "masked_accuracy", "drop",
                              "logprob_drop", "flip_rate", "well_formed_rate", "planted"]),
        ("summary", summary, [*key, "self_drop", "cross_drop", "specificity", "random_self_drop", "planted",
                              "self_logprob_drop", "cross_logprob_drop", "random_self_logprob_drop",
                              *(f"{kind}_{infix}drop_{end}" for infix in ("", "logprob_")
                                for kind in ("self", "cross", "random_self") for end in ("low", "high"))]),
        ("layers", layers, [*key, "culture", "site", "layer", "count", "units", "planted"]),
        ("baseline", baseline, ["model", "culture", "n", "accuracy", "well_formed_rate", "n_identify",
                                "n_identify_correct", "planted", "chance"]),
        ("evidence", evidence, [*key, "measure", "comparison", "n", "difference", "ci_low", "ci_high", "p_value",
                                "p_adjusted", "verdict", "planted"]),
        ("images", images, ["model", "culture", "control", "n", "accuracy", "accuracy_low", "accuracy_high", "change",
                            "chance", "planted", "set", *SWAPPED_COLUMNS]),
        ("benchmark", benchmark, [*key, "target", "samples_per_culture", "label_noise", "repeats", "n_cultures",
                                  "n_target", "chance", "precision", "precision_sd", "recall", "recall_sd",
                                  "average_precision", "average_precision_sd", "planted"]),
        ("planted", planted, [*key, "culture", "n_selected", "n_planted", "hits", "precision", "recall", "planted"]),
    ):  # fmt: skip
        write_csv(folder / f"{name}.csv", pd.DataFrame(rows, columns=columns))
    further(folder, models, cultures, selectors, n)
    stable(folder, models, cultures, selectors)
    finetuned(folder, models, cultures)
    overlapping(folder, models, cultures, selectors)
    judged_on_sets(folder, models, cultures, selectors, n)


def swap_images(table: pd.DataFrame, name: str = "") -> pd.DataFrame:
    """`images` with answers under images of other cultures, right as often as without; `name`: of one more data set."""
    if name:
        return pd.concat([table, swap_images(table).assign(set=name)], ignore_index=True)
    swapped = table[table["control"] == "none"].assign(control="swapped", followed_n=40, n_without_other_image=2)
    swapped = swapped.assign(followed=0.25, followed_low=0.125, followed_high=0.5)
    return pd.concat([table, swapped], ignore_index=True)


def further(folder: Path, models: tuple[str, ...], cultures: list[str], selectors: list[str], n: int) -> None:
    """Tables of each culture, of differences between selectors, of shuffled labels and of strengths, at 1 %."""
    rng = np.random.default_rng(8)
    each, differences, permutations, strengths = [], [], [], []
    shown = [s for s in selectors if not s.startswith("random")]
    for model in models:
        planted = "yes" if model.startswith("planted") else "no"
        for measure, scale, unit in (("accuracy", 1.0, "points"), ("logprob", 0.05, "nats")):
            for selector in shown:
                whole = -scale * (EFFECT[selector] if planted == "yes" else 0.5)
                for c in cultures:
                    own = whole * rng.uniform(0.6, 1.4)
                    each.append((model, selector, 0.01, c, measure, n, own, own - scale, own + scale, 0.1 * scale,
                                 own - 0.1 * scale, own - scale, own + scale, 0.01, 0.02, unit, planted))  # fmt: skip
                if selector != shown[0]:
                    continue
                for c in ("", *cultures):
                    permutations.append((model, selector, 0.01, c, measure, n, 99, whole, -0.2 * scale, -2 * scale,
                                         0.8 * scale, 0.01, 0.02, unit, planted))  # fmt: skip
                for s in (0.5, 1.0, 1.5):
                    own = (s * whole, s * whole - scale, s * whole + scale)
                    strengths.append((model, selector, 0.01, s, measure, n * len(cultures), *own, 0.0, -0.3 * scale,
                                      0.3 * scale, *own, unit, planted))  # fmt: skip
            for other in shown[1:]:
                differences.append((model, shown[0], other, 0.01, measure, "self", n, -scale, -2 * scale, 0.1, 0.2, 0.3,
                                    unit, planted))  # fmt: skip
    for name, rows in (("cultures", each), ("differences", differences), ("permutations", permutations),
                       ("strengths", strengths)):  # fmt: skip
        columns = again_columns(name)
        write_csv(folder / f"{name}.csv", pd.DataFrame(rows, columns=columns))


def stable(folder: Path, models: tuple[str, ...], cultures: list[str], selectors: list[str]) -> None:
    """Table of how stable masks are."""
    rng, rows = np.random.default_rng(9), []
    for model in models:
        for selector in (s for s in selectors if not s.startswith("random")):
            for r in (0.01, 0.03, 0.1):
                for c in cultures:
                    half = rng.uniform(0.1, 0.4)
                    rows.append((model, selector, r, c, 24, 20, 10, 0.7, half + 0.2, half, half - 0.08, half + 0.08,
                                 r / (2 - r), 0.5, "yes" if model.startswith("planted") else "no"))  # fmt: skip
    columns = ["model", *stability.COLUMNS, "planted"]
    write_csv(folder / "stability.csv", pd.DataFrame(rows, columns=columns))


def finetuned(folder: Path, models: tuple[str, ...], cultures: list[str]) -> None:
    """Tables of fine-tuning on two tasks: richer modules cost more."""
    rng, table, modules = np.random.default_rng(11), [], []
    cost = {"richest": -9.0, "poorest": -1.0, "random": -4.0}
    for model in models:
        planted = "yes" if model.startswith("planted") else "no"
        for task in ("mrpc", "a task with a very long name"):
            for at, name in enumerate(("demo", "culturalbench", "Ελλάδα $x$")):
                for choice, mean in cost.items():
                    for seed in ("1", "2", ""):
                        for culture in ("", *cultures[:2]):
                            change = float(mean / (1 + at) + rng.normal(0, 0.3))
                            against = [np.nan] * 5
                            if choice != "poorest":
                                against = [change + 1, change - 1, change + 3, 0.01, 0.02 if at == 0 else 0.3]
                            row = {
                                "model": model, "task": task, "set": name, "method": "lora", "choice": choice,
                                "seed": seed, "culture": culture, "n": 40 if culture else 40 * len(cultures),
                                "accuracy_before": 0.9, "accuracy_after": 0.9 + change / 100, "well_formed_rate": 1.0,
                                "task_n": 30, "task_accuracy_before": 0.5, "task_accuracy_after": 0.8 + 0.05 * at,
                                "task_loss_before": 1.0, "task_loss_after": 0.4, "planted": planted,
                            }  # fmt: skip
                            for measure, scale in (("change", 1.0), ("logprob_change", 0.05)):
                                ends = (scale * change, scale * (change - 2), scale * (change + 2))
                                row |= dict(zip((measure, f"{measure}_low", f"{measure}_high"), ends, strict=True))
                                for end, value in zip(("", "_low", "_high", "_p", "_p_adjusted"), against, strict=True):
                                    row[f"{measure}_vs_poorest{end}"] = value * (1 if "_p" in end else scale)
                            table.append(row)
            modules += [(model, task, choice, seed, "gate_proj", layer, 3, 256, 3 / 256, 512, planted)
                        for choice in cost for seed in ("1", "2") for layer in (0, 1)]  # fmt: skip
    columns = ["model", "task", "set", "method", *finetuning.COLUMNS, *tabulate_changed_answers.TASK, "planted"]
    write_csv(folder / "finetuning.csv", pd.DataFrame(table)[columns])
    write_csv(folder / "finetuning_modules.csv", pd.DataFrame(modules, columns=tabulate_changed_answers.MODULES))


def overlapping(folder: Path, models: tuple[str, ...], cultures: list[str], selectors: list[str]) -> None:
    """Tables of overlaps between cultures, which form two groups, and of what comes of them."""
    rng, rows, relations = np.random.default_rng(10), [], []
    for model in models:
        planted = "yes" if model.startswith("planted") else "no"
        for selector in (s for s in selectors if not s.startswith("random")):
            for i, a in enumerate(cultures):
                for j, b in enumerate(cultures[:i]):
                    shared = int(rng.integers(3, 6) if (i - j) % 2 == 0 else rng.integers(0, 2))
                    rows.append(("cultures", model, selector, 0.01, "", b, a, 10, 10, shared, shared / (20 - shared),
                                 0.005, planted))  # fmt: skip
            n, verdict = len(cultures), overlaps.HURT
            relations += [(model, selector, 0.01, measure, n, n * (n - 1), 0.7, -0.3, 0.01, 0.02, verdict, planted)
                          for measure in overlaps.MEASURES]  # fmt: skip
    write_csv(folder / "overlaps.csv", pd.DataFrame(rows, columns=[*overlaps.COLUMNS, "planted"]))
    other = [(model, 0.01, culture, "cas", "cas-words", "demo", "words", layer, 10, 10, 4, 0.25, 0.01,
              "yes" if model.startswith("planted") else "no")
             for model in models for culture in cultures for layer in (None, 0, 1)]  # fmt: skip
    columns = [*data_overlaps.COLUMNS, "planted"]
    write_csv(folder / "data_overlaps.csv", pd.DataFrame(other, columns=columns).astype({"layer": "Int64"}))
    write_csv(folder / "related.csv", pd.DataFrame(relations, columns=["model", *overlaps.RELATED, "planted"]))


def judged_on_sets(folder: Path, models: tuple[str, ...], cultures: list[str], selectors: list[str], n: int,
                   names: dict[str, int] | None = None) -> None:  # fmt: skip
    """Tables of several data sets, name -> how many of the cultures it has (0: one of its own), by factors 0 and 2."""
    rng, rows, each, agreement = np.random.default_rng(11), [], [], []
    names = names or {"demo": len(cultures), "quiz & more $x$": max(2, len(cultures) - 1), "reasoning": 0}
    groups = rng.integers(3, size=len(cultures))
    for model, (name, have), selector in itertools.product(models, names.items(), selectors):
        planted, control = "yes" if model.startswith("planted") else "no", selector.startswith("random")
        known = cultures[:have] or [name]
        total = n * len(known)
        base = 0.9 if planted == "yes" else 0.4 + 0.07 * list(names).index(name)
        for factor in (0, 2):
            strength = 0.2 if control else (EFFECT[selector] if planted == "yes" else 4.0) / (1 + 4 * (have == 0))
            change, sure = -strength if factor == 0 else 0.3 * strength, 0.02 if strength > 1 else 0.6
            row = dict.fromkeys(transfer.COLUMNS, np.nan) | {
                "n": total, "n_cultures": len(known), "n_masks": len(cultures), "n_own": n * have, "n_controls": 2,
                "shared": "yes" if selector == "culnig-general" else "no", "neurons": 10.0, "chance": 0.25,
                "baseline_accuracy": base, "masked_accuracy": base + change / 100, "own_rank": 1.5 if have else np.nan,
                "level": "above chance",
            }  # fmt: skip
            measured = {"change": change, "random_change": -0.2, "difference": change + 0.2}
            measured |= {"own_change": 2 * change, "other_change": 0.5 * change} if have else {}
            measured |= {"specificity": 1.5 * change} if have > 1 and row["shared"] == "no" else {}
            for column, value in measured.items() if not control else [("change", change)]:
                for prefix, scale in (("", 1.0), ("logprob_", 0.05)):
                    full = column.replace("change", f"{prefix}change") if "change" in column else prefix + column
                    row |= {full: scale * value, f"{full}_low": scale * (value - 1.5),
                            f"{full}_high": scale * (value + 1.5)}  # fmt: skip
                    if f"{full}_p" in row:
                        row |= {f"{full}_p": sure / 2, f"{full}_p_adjusted": sure}
            rows.append({"model": model, "set": name, "selector": selector, "top_fraction": 0.01, "factor": factor,
                         **row, "planted": planted})  # fmt: skip
            for i, mask in enumerate(cultures):
                own = groups == groups[i]
                nats = 0.05 * change * np.where(own[: len(known)] if have else 0.2, 1.0, 0.3) + rng.normal(
                    0, 0.02, len(known)
                )
                nats[i : i + 1] *= 2 if have else 1
                ranks = np.argsort(np.argsort(nats)) + 1
                each += [(model, name, selector, 0.01, factor, mask, c, n, base, base + d / 5, 20 * d, d, rank, planted)
                         for c, d, rank in zip(known, nats, ranks, strict=True)]  # fmt: skip
            for other in [] if control else list(names)[: list(names).index(name)]:
                if have and names[other]:
                    agreement.append((model, selector, 0.01, factor, other, name, have, 0.5, 0.01, 0.02, planted))
    write_csv(folder / "sets.csv", pd.DataFrame(rows))
    columns = ["model", "set", "selector", "top_fraction", "factor", "mask_culture", "eval_culture", "n",
               "baseline_accuracy", "masked_accuracy", "drop", "logprob_drop", "rank", "planted"]  # fmt: skip
    write_csv(folder / "sets_effects.csv", pd.DataFrame(each, columns=columns))
    columns = ["model", *transfer.TRANSFER, "planted"]
    write_csv(folder / "sets_transfer.csv", pd.DataFrame(agreement, columns=columns))


def again_columns(name: str) -> list[str]:
    """The columns that the steps write."""
    from culture_neurons.analysis import shuffled_labels, strengths
    from culture_neurons.steps import tabulate

    if name in tabulate.COLUMNS:
        return tabulate.COLUMNS[name]
    columns = {"permutations": shuffled_labels.PERMUTED, "strengths": strengths.COLUMNS}[name]
    return ["model", "selector", "top_fraction", *columns, "planted"]
