"""The questions of a run: its own, those of further data sets, tasks and mentions, and the folders that they lie in."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from culture_neurons import layout
from culture_neurons.types import WITHOUT_IMAGES
from culture_neurons.workflow.settings import Settings

#: How questions that choose no neurons, and questions that judge none, are split.
ALL_EVALUATE = {"by": "whole", "half": "evaluate"}
ALL_IDENTIFY = {"by": "whole", "half": "identify"}


class Questions(Settings):
    """Sources, folders and images of all questions; see `settings.Settings` for what the config says."""

    def source(self, of: str) -> tuple[Any, Any, Any]:
        """Source, filter and split of the questions in a folder `of` (see `layout.PATHS`)."""
        kind, _, name = of.rstrip("/").partition("/")
        if kind == "mentions":
            return self.mentions, {}, ALL_IDENTIFY
        if kind == "tasks":
            return self.tasks[name]["source"], {}, ALL_IDENTIFY
        if kind == "choose":
            return self.choosing[name]["source"], self.choosing[name].get("filter", {}), ALL_IDENTIFY
        if kind == "sets":
            return self.sets[name]["source"], self.sets[name].get("filter", {}), ALL_EVALUATE
        data = self.config["data"]
        return data["source"], data["filter"], data["split"]

    def judged_elsewhere(self, of: str) -> list[str]:
        """Folders whose evaluate halves judge neurons, so that questions in `of` that ask the same must choose none.

        Not those of further sets: another one would make neurons be chosen anew.
        """
        return self.of("own") if of in self.of("choose") else []

    def prepare_threads(self, of: str) -> int:
        """Threads that read the questions in a folder `of`: two decode images, words need one."""
        return 2 if self.has_images(of) else 1

    def has_images(self, of: str) -> bool:
        """Whether the questions in a folder `of` may have images, as their source says."""
        source = self.source(of)[0]
        if source["type"] == "table":
            return source.get("images", "none") != "none"
        if source["type"] == "facts":
            return "picture" in source.get("directions", ())
        return source["type"] not in WITHOUT_IMAGES

    @staticmethod
    def local_files(source: Mapping[str, Any]) -> list[str]:
        """Single files of a source on this machine: when one changes, everything that follows runs again.

        Folders (of images, or made by `save_to_disk`) are not watched: their times change without their content.
        """
        stanzas = [source, *(value for value in source.values() if isinstance(value, dict))]
        paths = [stanza.get("path") for stanza in stanzas]
        return [path for path in paths if path and os.path.isfile(path)]

    @cached_property
    def sources(self) -> dict[str, Any]:
        """Where in the config each source stands -> the source."""
        sets = {f"evaluation: sets: {name}": stanza["source"] for name, stanza in self.sets.items()}
        tasks = {f"finetuning: tasks: {name}": stanza["source"] for name, stanza in self.tasks.items()}
        mentions = {"data: mentions": self.mentions} if self.mentions else {}
        choosing = {f"data: choose: {name}": stanza["source"] for name, stanza in self.choosing.items()}
        return {"data": self.config["data"]["source"]} | mentions | choosing | sets | tasks

    @cached_property
    def folders(self) -> dict[str, list[str]]:
        """Folders `of` of each kind of questions or recordings."""
        return {
            "own": [""],
            "mentions": ["mentions/"] * bool(self.mentions),
            "choose": [f"choose/{name}/" for name in self.choosing],
            "sets": [f"sets/{name}/" for name in self.sets],
            "tasks": [f"tasks/{name}/" for name in self.tasks],
            "tokens": [f"tokens/{rule}/" for rule in self.token_rules],
        }

    def of(self, *kinds: str) -> list[str]:
        """Folders of these kinds; see `folders`."""
        return [folder for kind in kinds for folder in self.folders[kind]]

    @cached_property
    def with_images(self) -> list[str]:
        """Folders of the data sets that are asked and may have images."""
        return [of for of in self.of("own", "sets") if self.has_images(of)]

    def set_folder(self, name: str) -> str:
        """The folder of one data set's questions and answers: none for the run's own."""
        return "" if name == self.dataset else f"sets/{name}/"

    def choosing_folder(self, selector: str) -> str:
        """The folder of the statistics that a selector chooses from: none for those of the run's own questions."""
        name = self.chosen_on(selector)
        return f"choose/{name}/" if name else ""

    def samples_folder(self, of: str) -> str:
        """The folder of the questions that are asked under masks, or recorded, `of`."""
        return of if of in self.of("choose", "sets") else ""

    def token_rule(self, of: str) -> str:
        """The token rule of recordings in a folder `of`."""
        return of.split("/")[1] if of in self.of("tokens") else self.config["recording"]["tokens"]

    def path(self, name: str, **given: object) -> str:
        """A path of this run; see `layout.path`."""
        return layout.path(name, dataset=self.dataset, **given)

    def all(self, name: str, **given: Any) -> list[str]:
        """All files of a kind, or those with the parts `given`: one value, or several in their order."""
        known: dict[str, Any] = {
            "model": sorted(self.models), "selector": sorted(self.selectors), "fraction": self.fractions,
            "control": self.image_controls, "task": self.tasks, "choice": self.tuning["choices"],
            "seed": self.tuning["seeds"], "suffix": ("pdf", "png"),
            "variant": [f"top{fraction}" for fraction in self.fractions],
        }  # fmt: skip
        values = [given.get(part, known.get(part)) for part in layout.parts(name)]
        lists = [[value] if isinstance(value, str | int) else list(value) for value in values]
        return [
            self.path(name, **dict(zip(layout.parts(name), each, strict=True))) for each in itertools.product(*lists)
        ]
