"""Checking the config before anything runs: every message names the key, the value and what was expected.

The schema (workflow/schemas/config.schema.yaml) says which keys exist and which values they take.
What a schema can't say is checked here: names that refer to each other, and selectors' options.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from culture_neurons import selectors
from culture_neurons.data import prompts
from culture_neurons.data.flags.designs import FLAGS
from culture_neurons.errors import ConfigError, nearest
from culture_neurons.layout import fraction_text
from culture_neurons.selectors import culnig, module_choice
from culture_neurons.types import CULNIG, IMPORTED, TRAINED_ON, Statistics
from culture_neurons.workflow import config_choose, config_schema
from culture_neurons.workflow.config_schema import brief

#: Three cultures and two neurons: enough for a selector to refuse its options, and sums that are not recorded.
_TOY = Statistics(
    ["a", "b", "c"], [2, 2, 2], [[[1, 0]], [[0, 2]], [[0, 0]]], [[[1.0, 0.0]], [[0.0, 1.0]], [[0.0, 0.0]]],
    samples=[2, 2, 2],
)  # fmt: skip
_MOMENTS = {name: np.zeros(_TOY.fired.shape) for name in ("negative_sum", "mean_sum", "square_sum")}


def read_schema(path: str | Path) -> dict[str, Any]:
    """The JSON Schema, written in YAML."""
    return yaml.safe_load(Path(path).read_text(encoding="utf-8"))


def problem(config: Mapping[str, Any], schema: str | Path) -> str:
    """The first thing that is wrong with a config, in one or two lines; "" where nothing is."""
    try:
        check(config, read_schema(schema))
    except ConfigError as error:
        return str(error)
    return ""


def check(config: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """Raise ConfigError for the first thing that is wrong, in one or two lines."""
    config_schema.check(config, schema)
    _check_split(config["data"].get("split") or {})
    _check_prompt(config.get("prompt") or {}, config.get("recording") or {})
    _check_models(config["models"])
    _check_trained(config)
    _check_planted(config)
    recorded = (config.get("recording") or {}).get("negative_sum", False)
    _check_selectors(config["selectors"], config["models"], replace(_TOY, **_MOMENTS) if recorded else _TOY)
    _check_case("data: choose", config["data"].get("choose") or ())
    config_choose.check(config)
    _check_figures(config["models"], config["selectors"])
    fractions = [fraction_text(f) for f in config["top_fractions"]]
    if "0" in fractions or len(set(fractions)) < len(fractions):
        raise ConfigError(f"top_fractions: {config['top_fractions']}: expected different numbers of at least 1e-10")
    shown = (config.get("figures") or {}).get("top_fraction")
    if shown is not None and fraction_text(shown) not in fractions:
        raise ConfigError(f"figures: top_fraction: {shown} is not in top_fractions ({', '.join(fractions)})")
    _check_shown(config)
    _check_evaluation(config)
    _check_evidence(config)
    _check_reused(config)
    _check_case("finetuning: tasks", (config.get("finetuning") or {}).get("tasks", ()))
    module_choice.check(config.get("finetuning") or {}, selectors.methods_by_name(config["selectors"]))


def _check_split(split: Mapping[str, Any]) -> None:
    """By category, `identify` and `evaluate` list different categories; by share or by source, neither is a list."""
    halves = {side: split.get(side) for side in ("identify", "evaluate")}
    if split.get("by", "share") in ("share", "source"):
        if isinstance(halves["identify"], list) or halves["evaluate"] is not None:
            raise ConfigError("data: split: lists of categories need by: category; by share, identify is a number")
        return
    for side, names in halves.items():
        if not isinstance(names, list):
            raise ConfigError(f"data: split: {side}: {brief(names)} is not valid; expected a list (by: category)")
    twice = [name for name, n in Counter(halves["identify"] + halves["evaluate"]).items() if n > 1]
    if twice:
        raise ConfigError(f"data: split: {twice[0]!r} is listed twice; expected each category in one half")


def _check_prompt(prompt: Mapping[str, Any], recording: Mapping[str, Any]) -> None:
    """Templates have their field; they, and the recording of options, are for answers by the texts of options."""
    answer = prompt.get("answer", "logprob")
    try:
        prompts.check_templates(answer, {key: prompt[key] for key in prompts.TEMPLATES if key in prompt})
    except ConfigError as error:
        raise ConfigError(f"prompt: {error}") from None
    if recording.get("options") and answer != "options":
        raise ConfigError(f"recording: options: true: expected false where prompt: answer is {answer!r}, not 'options'")


def _check_case(kind: str, names: Iterable[str]) -> None:
    folded: dict[str, str] = {}
    for name in names:
        other = folded.setdefault(name.lower(), name)
        if other != name:
            raise ConfigError(f"{kind}: {name} and {other} differ in case only; some systems would mix their files")


def _check_models(models: Mapping[str, Any]) -> None:
    _check_case("models", models)
    for name, stanza in models.items():
        origins = [key for key in ("path", "train", "gguf") if key in stanza]
        if len(origins) != 1:
            raise ConfigError(
                f"models: {name}: {_count(origins)}; expected either path (a model to load), train (a demo model to "
                "make) or gguf (a file to convert)"
            )
        if "gguf" in stanza:
            _check_gguf(name, stanza)
        if "eye" in stanza:
            _check_eye(name, stanza)
        start = (stanza.get("train") or {}).get("init")
        if start is not None and (start == name or "train" not in models.get(start, {})):
            trained = [other for other, s in models.items() if "train" in s and other != name]
            hint = nearest(start, trained)
            raise ConfigError(f"models: {name}: train: init: {start!r} is no other trained model{hint}")


def _count(keys: list[str]) -> str:
    """Which of several keys there are, in words."""
    return f"found {' and '.join(keys)}" if keys else "found none"


def _check_gguf(name: str, stanza: Mapping[str, Any]) -> None:
    """One file, from here or from a package; nothing beside it speaks of a model on the hub."""
    places = [key for key in ("path", "pip") if key in stanza["gguf"]]
    if len(places) != 1:
        raise ConfigError(
            f"models: {name}: gguf: {_count(places)}; expected either path (a file here) or pip (a file in a package)"
        )
    for key in ("revision", "trust_remote_code"):
        if stanza.get(key):
            raise ConfigError(f"models: {name}: {key} is about a model on the hub; a GGUF file has none")


def _check_eye(name: str, stanza: Mapping[str, Any]) -> None:
    """A language model on this machine, and countries whose flags are known."""
    if "train" in stanza or not ("gguf" in stanza or Path(stanza["path"]).is_dir()):
        source = "train" if "train" in stanza else repr(stanza["path"])
        raise ConfigError(
            f"models: {name}: eye: found {source}; expected gguf or the folder of a language model on this machine"
        )
    for country in stanza["eye"].get("countries") or ():
        if country not in FLAGS:
            raise ConfigError(
                f"models: {name}: eye: countries: {country!r}{nearest(country, FLAGS)}; known: {', '.join(FLAGS)}"
            )


def _check_trained(config: Mapping[str, Any]) -> None:
    """Demo models are trained on the source that they are made for."""
    kind = config["data"]["source"]["type"]
    trained = [name for name, stanza in config["models"].items() if "train" in stanza]
    if trained and kind != TRAINED_ON:
        raise ConfigError(
            f"models: {trained[0]}: train: demo models are trained on a source of type {TRAINED_ON}; "
            f"data: source: type is {kind}"
        )


def _check_planted(config: Mapping[str, Any]) -> None:
    column = (config["data"].get("filter") or {}).get("group_by", "culture")
    planted = [name for name, stanza in config["models"].items() if (stanza.get("train") or {}).get("plant")]
    if planted and column != "culture":
        raise ConfigError(
            f"models: {planted[0]}: neurons are planted per culture, but data: filter: group_by is {column!r}; "
            "expected culture, or no planted model"
        )


def _check_figures(models: Mapping[str, Any], chosen: Mapping[str, Any]) -> None:
    """Files of figures are named {kind}_{model}_{selector}: no two may be the same."""
    seen: dict[str, str] = {}
    for model in models:
        for selector in chosen:
            pair = f"model {model} with selector {selector}"
            other = seen.setdefault(f"{model}_{selector}", pair)
            if other != pair:
                raise ConfigError(f"{other} and {pair} would share their figures' names; rename one of them")


def _check_shown(config: Mapping[str, Any]) -> None:
    """Selectors with figures of their own are selectors of the config, and no random controls."""
    methods = selectors.methods_by_name(config["selectors"])
    known = [n for n, m in methods.items() if m in (IMPORTED, *CULNIG) or not selectors.resolve(m).control]
    wanted = (config.get("figures") or {}).get("selectors") or ()
    for name in () if wanted == "all" else wanted:
        if name not in known:
            raise ConfigError(
                f"figures: selectors: {name!r}{nearest(name, known)}; expected all, or selectors of this config that "
                f"are no random control: {', '.join(known)}"
            )


def _check_selectors(chosen: Mapping[str, Any], models: Mapping[str, Any], toy: Statistics) -> None:
    _check_case("selectors", chosen)
    methods = selectors.methods_by_name(chosen)
    given = selectors.options_by_name(chosen)
    imported = [name for name, method in methods.items() if method == IMPORTED]
    for name in imported:
        _check_imported(name, given[name], models)
    attributed = [name for name, method in methods.items() if method in CULNIG]
    for name in attributed:
        try:
            culnig.check(methods[name], given[name])
        except ConfigError as error:
            raise ConfigError(f"selectors: {name}: {error}") from None
    methods = {name: method for name, method in methods.items() if name not in imported + attributed}
    for name, method in methods.items():
        try:
            selectors.check(method, given[name])
            selectors.score(method, toy, **given[name])  # refuses values out of range, before any work is done
        except ConfigError as error:
            raise ConfigError(f"selectors: {name}: {error}") from None
    non_controls = imported + [name for name, method in methods.items() if not selectors.resolve(method).control]
    non_controls += attributed
    if not non_controls:
        raise ConfigError(f"selectors: {', '.join(chosen)}: only random controls; expected at least one other selector")
    for name, method in methods.items():
        if selectors.resolve(method).needs_reference:
            reference = given[name].get("match", selectors.options(method)["match"])
            if reference not in non_controls:
                raise ConfigError(
                    f"selectors: {name}: match: {reference!r}{nearest(reference, non_controls)}; expected a selector "
                    f"of this config that is no random control: {', '.join(non_controls)}"
                )


def _check_evaluation(config: Mapping[str, Any]) -> None:
    """Sets have names of their own, factors do something, and selectors are those of the config."""
    evaluation = config.get("evaluation") or {}
    _check_case("evaluation: sets", [config["dataset"], *evaluation.get("sets", ())])
    if config["dataset"] in evaluation.get("sets", ()):
        raise ConfigError(f"evaluation: sets: {config['dataset']} is the name of this run's own data set (dataset)")
    factors = evaluation.get("factors", ())
    for factor in factors:
        if float(f"{factor:g}") == 1 or not abs(factor) <= 100:
            raise ConfigError(f"evaluation: factors: {factor}: expected numbers of at most 100 other than 1, no change")
    if len({f"{factor:g}" for factor in factors}) < len(factors):
        raise ConfigError(f"evaluation: factors: {factors}: expected different numbers of at most six digits")
    for name in evaluation.get("selectors") or ():
        if name not in config["selectors"]:
            known = list(config["selectors"])
            raise ConfigError(f"evaluation: selectors: {name!r}{nearest(name, known)}; known: {', '.join(known)}")
    for key in ("factors", "selectors"):  # the run's own questions are asked under masks that suppress, of all
        if evaluation.get(key) and evaluation[key] != [0] and not evaluation.get("sets"):
            raise ConfigError(
                f"evaluation: {key}: {evaluation[key]}: expected evaluation: sets beside it, data sets to judge masks "
                "on (of the run's own questions: evidence: strengths)"
            )


def _check_evidence(config: Mapping[str, Any]) -> None:
    """Selectors whose chain is repeated must have scores of their own; 1 is the strength of all other results."""
    evidence = config.get("evidence") or {}
    methods = selectors.methods_by_name(config["selectors"])
    able = [n for n, m in methods.items() if m not in (IMPORTED, *CULNIG) and not selectors.resolve(m).control]
    able = [n for n in able if "choose_on" not in (config["selectors"][n] or {})]
    for name in evidence.get("selectors", ()):
        if name not in able:
            raise ConfigError(
                f"evidence: selectors: {name!r}{nearest(name, able)}; expected selectors of this config that are no "
                f"random control, not imported, not by attribution and choose on the run's own questions: "
                f"{', '.join(able)}"
            )
    for strength in evidence.get("strengths", ()):
        if strength in (0, 1) or not abs(strength) <= 100:
            raise ConfigError(
                f"evidence: strengths: {strength}: expected numbers other than 0, the model as it is, and 1, the "
                "ablation of all other results"
            )
    tokens = (config.get("recording") or {}).get("tokens", "all")
    if tokens in evidence.get("token_rules", ()):
        raise ConfigError(f"evidence: token_rules: {tokens!r} is recorded already (recording: tokens)")


def _check_reused(config: Mapping[str, Any]) -> None:
    """A run takes no answers from itself."""
    for folder in config.get("reuse") or ():
        if Path(folder).resolve() == Path("results", config["dataset"]).resolve():
            raise ConfigError(f"reuse: {folder}: expected the results of other runs; this one writes there itself")


def _check_imported(name: str, options: Mapping[str, Any], models: Mapping[str, Any]) -> None:
    """The options of a selector whose masks are those of another project: a file per model, names of cultures."""
    where = f"selectors: {name}"
    known = ("masks", "cultures")
    for key in options:
        if key not in known:
            raise ConfigError(f"{where}: unknown option {key!r}{nearest(key, known)}; known: method, masks, cultures")
    cultures = options.get("cultures")
    if not isinstance(cultures, list) or not cultures or len({str(c) for c in cultures}) < len(cultures):
        raise ConfigError(f"{where}: cultures: expected a list of the file's cultures, in its order, each one once")
    for culture in cultures:
        if not isinstance(culture, str) or not culture:
            raise ConfigError(f"{where}: cultures: {culture!r} is no text; put the name in quotes")
    files = options.get("masks")
    if not isinstance(files, Mapping) or not all(isinstance(path, str) and path for path in files.values()):
        raise ConfigError(f"{where}: masks: expected the path of a .pth file for each model, {{model: path}}")
    for model in files:
        if model not in models:
            raise ConfigError(f"{where}: masks: {model!r} is no model of this config{nearest(model, models)}")
    for model in models:
        if model not in files:
            raise ConfigError(f"{where}: masks: none for model {model!r}; expected a file for every model")
