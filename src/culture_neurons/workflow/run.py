"""A run: its settings, and every file and job that they lead to; what the rules are made of."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Any

from culture_neurons.analysis import design_limits
from culture_neurons.report import registry
from culture_neurons.tables import TABLES, always, tables_of
from culture_neurons.workflow.ablations import Ablations
from culture_neurons.workflow.settings import as_json

#: Keys of a model's stanza that say how jobs run, and not what is loaded: a change of them reruns nothing.
JOB_KEYS = ("train", "batch_size", "device_map", "threads", "gpus", "mem_mb")
#: Keys that loading a model does not need: beside these what it is made of, and what it is to readers.
NOT_LOADED = (*JOB_KEYS, "gguf", "eye", "description")


class Run(Ablations):
    """Files and jobs of a run.

    See `settings.Settings` for what its config says, `questions.Questions` for what it asks, and `ablations.Ablations`
    for the masks that it asks under.
    """

    # Models.

    def model_files(self, model: str) -> list[str]:
        """What a job with this model reads: the folder that is made here, or the files of one on this machine."""
        stanza = self.models[model]
        if model in (*self.trained, *self.converted, *self.with_eye):
            files = [self.path("model", model=model)]
        else:
            files = self.files_of(stanza["path"])
        template = stanza.get("chat_template", "")
        return files + [template] * ("{" not in template and os.path.isfile(template))

    def model_settings(self, model: str) -> str:
        """What loading needs of a model's stanza, as JSON."""
        stanza = self.models[model]
        load = {key: value for key, value in stanza.items() if key not in NOT_LOADED}
        here = "path" not in stanza or model in self.with_eye
        return as_json(load | {"name": model, "path": self.path("model", model=model) if here else stanza["path"]})

    def decoder(self, model: str) -> str:
        """The folder of the language model that gets an eye."""
        return self.models[model].get("path") or self.path("converted", model=model, folder="decoder")

    def decoder_files(self, model: str) -> list[str]:
        """What giving it an eye reads: the folder that it was converted into, or the files of one on this machine."""
        return [self.decoder(model)] if model in self.converted else self.files_of(self.decoder(model))

    @staticmethod
    def files_of(folder: str) -> list[str]:
        """The files of a folder on this machine; none of one that is not there."""
        return sorted(str(path) for path in Path(folder).glob("*") if path.is_file())

    def gguf_file(self, model: str) -> list[str]:
        """The GGUF file on this machine that a model is converted from; none: pip fetches it, or it is not there."""
        path = self.models[model]["gguf"].get("path")
        return [path] if path and os.path.isfile(path) else []

    def calibration_settings(self, model: str) -> str:
        """What measuring its costs needs, as JSON: one that is trained here, or gets an eye, costs the same before."""
        if model not in (*self.trained, *self.with_eye):
            return self.model_settings(model)
        stanza = self.models[model]
        load = {key: value for key, value in stanza.items() if key not in (*NOT_LOADED, "path")}
        if model in self.with_eye:
            return as_json(load | {"decoder": self.decoder(model), "name": model})
        built = {"architecture": stanza["train"]["architecture"], "source": self.config["data"]["source"]}
        return as_json(load | built | {"name": model})

    def calibration_files(self, model: str) -> list[str]:
        """What measuring its costs reads: nothing is trained for it."""
        if model in self.trained:
            return []
        return self.decoder_files(model) if model in self.with_eye else self.model_files(model)

    @property
    def masks_per_culture(self) -> int:
        """How many masks of a culture its questions are asked under, robustness and further data sets aside."""
        return len(self.selectors) * len(self.fractions)

    @property
    def asks_nothing_else(self) -> bool:
        """Whether its questions, without and with these masks, are all that models are asked."""
        more = (self.sets, self.repeated, self.attributed, self.tasks, self.choosing, self.image_controls)
        return not any((*more, self.token_rules))

    def start_of_planting(self, model: str) -> list[str]:
        """The trained model that a planted one starts from; none: it is trained from nothing."""
        start = self.models[model]["train"].get("init")
        return [self.path("model", model=start)] if start else []

    def references(self, model: str, selector: str) -> list[str]:
        """The masks that a matched control copies; none for other selectors."""
        reference = self.reference(selector)
        return self.all("masks", model=model, selector=reference) if reference else []

    def attribution_files(self, model: str, selector: str, kind: str) -> list[str]:
        """Attributions of a kind that a selector chooses from; none for a random control."""
        if selector in self.matched or kind not in self.attributions:
            return []
        return self.all("attributions", model=model, kind=kind, shard=range(self.shards["record"]))

    def finetuning_settings(self, task: str) -> str:
        """How a task is trained on, as JSON; nothing of it says how the job runs."""
        keys = ("method", "lora", "steps", "batch_size", "learning_rate", "held_out")
        return as_json({key: self.tuning[key] for key in keys} | {"limit": self.tasks[task].get("limit")})

    # Files.

    @cached_property
    def answers(self) -> list[str]:
        """Answers without masks to all data sets."""
        return self.all("predictions", of=["", *(f"sets/{name}/" for name in sorted(self.sets))])

    @cached_property
    def asked_again(self) -> list[str]:
        """Folders of the data sets that are asked with other images, or of fine-tuned models."""
        return self.of("own", "sets") if self.tasks else self.with_images

    @cached_property
    def controlled_answers(self) -> list[str]:
        """Answers under image controls to all data sets that may have images."""
        return self.all("image_control", of=self.with_images)

    @cached_property
    def finetuned_answers(self) -> list[str]:
        """What fine-tuned models answer to all data sets."""
        return self.all("finetuned_answers", set=self.all_sets)

    # The report.

    @cached_property
    def tables(self) -> list[str]:
        """Names of the tables of this run."""
        return tables_of(self)

    @cached_property
    def across_data(self) -> list[str]:
        """Selectors whose masks a table compares across the data that they chose on."""
        return self.scored if "data_overlaps" in self.tables else []

    @cached_property
    def further_tables(self) -> list[str]:
        """Those of them that only some runs make, and those that reports show beyond what they can't do without."""
        return [name for name in self.tables if TABLES[name].needs is not always or name in registry.ALSO_READ]

    @cached_property
    def latex_selectors(self) -> list[str]:
        """What tables for a paper show, the selector of the cards first: the table of cultures shows one."""
        return sorted(self.shown, key=lambda name: name != self.card_selector)

    @cached_property
    def provenance(self) -> list[str]:
        """What made them, a file per rule."""
        return [self.path("provenance", rule=rule) for rule in sorted({TABLES[name].rule for name in self.tables})]

    def tables_of(self, rule: str) -> dict[str, str]:
        """The tables of this run that a rule writes, by name, and its `provenance`."""
        files = {name: self.path("table", table=name) for name in self.tables if TABLES[name].rule == rule}
        return files | {"provenance": self.path("provenance", rule=rule)}

    @cached_property
    def recorded_files(self) -> list[str]:
        """Tables, answers and masks, of which the manifest has a digest."""
        sets = self.set_outcomes if self.evaluated else []
        tuned = self.finetuned_answers if self.tasks else []
        return [
            *(self.path("table", table=name) for name in self.tables), self.path("dropped", of=""),
            self.path("counts", of=""), *self.answers, *self.controlled_answers, *self.all("masks"),
            *self.all("outcomes", of=""), *sets, *tuned, *self.all("predictions", of=self.of("choose")),
        ]  # fmt: skip

    @cached_property
    def published(self) -> dict[str, Any]:
        """The config as report and manifest show it: how jobs run, and what else this run is compared with, is left
        out, so that a change makes nothing again."""
        models = {
            name: {key: value for key, value in model.items() if key == "train" or key not in JOB_KEYS}
            for name, model in self.models.items()
        }
        data = {key: value for key, value in self.config["data"].items() if key != "choose" or value}
        own = {key: value for key, value in self.config.items() if key not in ("shards", "reuse", "runs", "comparison")}
        return own | {"models": models, "data": data}

    @property
    def order(self) -> dict[str, list[str]]:
        """The order of the config, which JSON with sorted keys does not keep."""
        return {"models": list(self.models), "selectors": list(self.selectors)}

    @property
    def report_settings(self) -> dict[str, Any]:
        """What the report shows of the run."""
        return {
            "dataset": self.dataset, "config": self.published, "models": self.published["models"],
            "selectors": self.shown, "top_fraction": self.top,
        }  # fmt: skip

    @cached_property
    def figures(self) -> list[registry.FigureFile]:
        """The figures of this run."""
        return registry.figures_of(self)

    @cached_property
    def figure_files(self) -> list[str]:
        """Their files, PDF and PNG."""
        return self.all("figure", figure=[figure.stem for figure in self.figures])

    @property
    def notes(self) -> list[str]:
        """What the run can't say, as far as its config alone tells: with groups that are listed, or at most so many."""
        chosen = self.config["data"]["filter"]
        numbers = [len(chosen["cultures"])] if chosen.get("cultures") else []
        numbers += [chosen["top_cultures"]] if chosen.get("top_cultures") else []
        return design_limits.notes(self.controls_of, min(numbers)) if numbers else []

    # What it will cost.

    @property
    def amount_of_work(self) -> dict[str, Any]:
        """What `workflow.planning` needs to count passes and bytes."""
        models = {name: {"gpus": model["gpus"], "trained": name in self.trained} for name, model in self.models.items()}
        return {
            "dataset": self.dataset,
            "models": models,
            "selectors": sorted(self.selectors),
            "attributed": sorted(self.attributed),
            "matched": sorted(self.matched),
            "controls_of": self.controls_of,
            "mentions": bool(self.mentions),
            "choosing": list(self.choosing),
            "sets": {
                "further": len(self.sets), "masked": len(self.masked_sets), "selectors": self.evaluated,
                "factors": self.factors,
            },
            "finetuning": {
                "runs": len(self.tasks) * len(self.tuning["choices"]) * len(self.tuning["seeds"]),
                "questions": self.tuning["steps"] * self.tuning["batch_size"],
                "held_out": self.tuning["held_out"],
                "limits": {name: task.get("limit") for name, task in self.tasks.items()},
            },
            "top_fractions": self.fractions,
            "robustness": {
                "selectors": self.repeated, "strengths": self.strengths, "permutations": self.permutations,
            },
            "shards": self.shards,
            "image_controls": self.image_controls,
            "with_images": [of.removeprefix("sets/").rstrip("/") for of in self.with_images],
            "token_rules": self.token_rules,
            "min_correct": self.config["recording"]["min_correct"],
            "negative_sum": self.config["recording"]["negative_sum"],
        }  # fmt: skip
