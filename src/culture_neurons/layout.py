"""Every path of a results folder, once: `path` makes one of a name and its parts, `key` reads the parts from it again.

A rule or a step names a file by its entry in `PATHS`; what a file is about (model, selector, top fraction ...) stands
in its path alone, so that steps are given plain paths.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from string import Formatter

from culture_neurons.errors import FileError

#: Folder of all results of a run.
ROOT = "results/{dataset}/"

#: Name -> path below `ROOT`. {of} is a folder, or nothing for the run's own questions: "sets/{name}/" (a further data
#: set), "tasks/{name}/" (to fine-tune on), "mentions/", "choose/{name}/" (that chooses neurons), "tokens/{rule}/"
#: (another token rule), "robustness/".
PATHS = {
    # Questions: of the run, of further data sets that judge or choose, of tasks to train on, of mere mentions.
    "samples": "{of}samples.parquet",
    "dropped": "{of}dropped.csv",
    "counts": "{of}counts.csv",
    # Of a model that is made here. A GGUF file is converted into it, or into `decoder` where it then gets an eye.
    "model": "{model}/model",
    "converted": "{model}/{folder}",
    "training": "{model}/model/training.json",
    "gguf": "{model}/model/gguf.json",
    "planted": "{model}/planted.csv",
    # Answers without masks.
    "answers": "{model}/{of}answers/{shard}.parquet",
    "predictions": "{model}/{of}predictions.parquet",
    "image_control": "{model}/{of}controls/{control}.parquet",
    # Activations, and what they say of neurons.
    "statistics_shard": "{model}/{of}statistics/{shard}.h5",
    "statistics": "{model}/{of}statistics.h5",
    "attributions": "{model}/attributions/{kind}_{shard}.h5",
    "scores": "{model}/scores/{selector}.h5",
    "masks": "{model}/masks/{selector}_top{fraction}.parquet",
    "permuted_masks": "{model}/robustness/masks/{selector}_permuted.parquet",
    "stability": "{model}/stability.parquet",
    "stability_cultures": "{model}/stability_cultures.parquet",
    "cards": "{model}/cards.json",
    # Answers under masks. {variant}: "top{fraction}"; "x{factor}", where masked neurons are multiplied by a factor; or
    # "permuted", the masks of shuffled labels.
    "outcomes_shard": "{model}/{of}ablation/{group}/{mask_shard}-{shard}.parquet",
    "outcomes": "{model}/{of}ablation/{selector}_{variant}.parquet",
    # Fine-tuned models.
    "update": "{model}/finetuned/{task}_{choice}_{seed}/update.safetensors",
    "finetuning": "{model}/finetuned/{task}_{choice}_{seed}/training.json",
    "finetuned_answers": "{model}/finetuned/{task}_{choice}_{seed}/{set}.parquet",
    # Of all models together.
    "table": "tables/{table}.csv",
    "latex": "tables/{table}.tex",
    "provenance": "tables/provenance_{rule}.json",
    "figure": "figures/{figure}.{suffix}",
    "captions": "figures/captions.rst",
    "report": "report.html",
    # Of two finished runs side by side; the dataset is then the comparison's name.
    "transfer": "{model}/transfer/{masks_of}.parquet",
    "comparison": "comparison.html",
    "manifest": "manifest.json",
    # What the run will cost.
    "calibration": "{model}/calibration.json",
    "plan": "plan.{suffix}",
    # How each job went.
    "log": "logs/{job}.log",
    "benchmark": "benchmarks/{job}.tsv",
}

_FRACTION = r"[0-9]+(?:\.[0-9]+)?"
_FACTOR = r"-?[0-9.]+(?:e[-+]?[0-9]+)?"

#: What a part may be, as a regular expression; any other part is a name without slashes.
PARTS = {
    "of": r"(?:mentions/|robustness/|(?:sets|tasks|tokens|choose)/[^/]+/)?",
    "shard": r"[0-9]+",
    "mask_shard": r"[0-9]+",
    "seed": r"[0-9]+",
    "folder": r"model|decoder",
    "fraction": _FRACTION,
    "variant": rf"top{_FRACTION}|x{_FACTOR}|permuted",
    "choice": r"[a-z]+",
    "job": r".+",
}


def parts(name: str) -> list[str]:
    """The parts of a path of `PATHS`, in their order."""
    return [part for _, part, _, _ in Formatter().parse(PATHS[name]) if part]


def path(name: str, **given: object) -> str:
    """The path that `PATHS` has under `name`; a part that is not given stays as it is, {part}, for Snakemake.

    Raises KeyError for an unknown name, and for a part that the path does not have.
    """
    template = ROOT + PATHS[name]
    if strange := given.keys() - {"dataset", *parts(name)}:
        raise KeyError(f"{name} has no part {min(strange)}")
    known = {part: "{" + part + "}" for part in ("dataset", *parts(name))}
    return template.format(**known | {part: str(value) for part, value in given.items()})


@cache
def _patterns(name: str) -> list[re.Pattern[str]]:
    """With the folder of all results in front, and, for files that lie elsewhere, without."""
    text = ""
    for literal, part, _, _ in Formatter().parse("{dataset}/" + PATHS[name]):
        text += re.escape(literal) + (f"(?P<{part}>{PARTS.get(part, '[^/]+')})" if part else "")
    return [re.compile(rf"(?:^|/){front}{text}$") for front in ("results/", "")]


def key(name: str, file: str | Path) -> dict[str, str]:
    """The parts of a path that `path` made, `dataset` among them. Raises FileError when it is no such path."""
    matches = (pattern.search(Path(file).as_posix()) for pattern in _patterns(name))
    match = next(filter(None, matches), None)
    if match is None:
        raise FileError(f"{file}: expected a path like {path(name)}")
    return match.groupdict()


def by(name: str, files: Iterable[str | Path], *wanted: str) -> dict[tuple[str, ...], Path]:
    """Paths by the parts `wanted` of them, in their order. Raises FileError, also where two have the same parts.

    Where a path has the part `of`, it can be asked for as `set` too, or as `rule`: both are the name in its folder,
    such as that of a data set (`sets/{name}/`) or of a token rule (`tokens/{rule}/`), and that of the run's dataset
    where the folder has no name, as for the run's own questions. Where it has the part `variant`, the `fraction` or the
    `factor` of that can be asked for.
    """
    result: dict[tuple[str, ...], Path] = {}
    for file in files:
        fields = key(name, file)
        if "of" in fields:
            fields["set"] = fields["of"].split("/")[1] if "/" in fields["of"][:-1] else fields["dataset"]
            fields["rule"] = fields["set"]
        for part, mark in (("fraction", "top"), ("factor", "x")):
            if fields.get("variant", "").startswith(mark):
                fields[part] = fields["variant"].removeprefix(mark)
        if lacking := [part for part in wanted if part not in fields]:
            raise FileError(f"{file}: names no {lacking[0]}; expected one in a path like {path(name)}")
        values = tuple(fields[part] for part in wanted)
        if values in result:
            raise FileError(f"{result[values]} and {file} are both of {'/'.join(values)}; expected one of them")
        result[values] = Path(file)
    return result


def fraction_text(fraction: float) -> str:
    """A top fraction as it stands in file names and tables: 0.01, never 1e-02."""
    return f"{fraction:.10f}".rstrip("0").rstrip(".")


def one_of(names: Iterable[str]) -> str:
    """A regular expression for one of these names; without any it matches nothing."""
    names = list(names)
    return f"(?:{'|'.join(map(re.escape, names))})" if names else "(?!)"
