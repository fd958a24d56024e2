"""Which modules a fine-tuning updates: those richest in chosen neurons, the poorest, and random ones.

Yamamoto et al. 2026, arXiv 2510.08284 (CULNIG), train on a task that has nothing to do with culture, and find that
cultural accuracy erodes more when the modules rich in culture-general neurons are the ones updated. A module is one
projection of one layer; how rich it is, is the share of its output units that a mask names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from culture_neurons.errors import ConfigError, DataError, nearest
from culture_neurons.seeds import generator
from culture_neurons.selectors import shares
from culture_neurons.types import CULNIG, Widths, widths_of_layers

#: How modules are updated: all weights of a module, or low-rank adapters beside them.
METHODS = ("lora", "full")
#: Of tables/finetuning_modules.csv.
COLUMNS = ["choice", "seed", "site", "layer", "chosen", "units", "richness"]


def check(settings: Mapping[str, Any], methods: Mapping[str, str]) -> None:
    """Raise ConfigError unless `selector` is by attribution, where there are any tasks.

    methods   name of each selector of the config -> its method
    """
    attributed = [name for name, method in methods.items() if method in CULNIG]
    name = settings.get("selector", CULNIG[0])
    if settings.get("tasks") and name not in attributed:
        known = ", ".join(attributed) or "this config has none"
        raise ConfigError(
            f"finetuning: selector: {name!r}{nearest(name, attributed)}; expected a selector by attribution, whose "
            f"masks say how rich a projection is ({known})"
        )


def richness(mask: pd.DataFrame, layers: int, units: Mapping[str, Widths]) -> pd.DataFrame:
    """How rich every module is: columns site, layer, chosen, units, richness; by site in the order of `units`.

    mask     rows site, layer, neuron; one that several cultures chose counts once
    units    site -> how many units each of its modules puts out; a layer with 0 has no such module

    chosen is the number of units that the mask names, richness = chosen / units.
    """
    n_chosen = mask[["site", "layer", "neuron"]].drop_duplicates().groupby(["site", "layer"]).size()
    index = pd.MultiIndex.from_product([list(units), range(layers)], names=["site", "layer"])
    table = n_chosen.reindex(index, fill_value=0).astype(np.int64).rename("chosen").reset_index()
    table["units"] = np.concatenate([widths_of_layers(of_site, layers) for of_site in units.values()])
    table = table[table["units"] > 0].reset_index(drop=True)
    return table.assign(richness=table["chosen"] / table["units"])


def choose(rich: pd.DataFrame, modules: int, choices: Sequence[str], seeds: Sequence[int]) -> pd.DataFrame:
    """The modules of every choice and seed: rows of `rich` with columns choice and seed, in the order of `COLUMNS`.

    Modules of one site have the same shape, and those of different sites differ many times in size. So each choice
    takes as many modules of each site as the others do, and all choices update as many parameters. `modules` are
    shared among the sites that have any chosen unit; where they do not divide evenly, earlier sites get one more. Where
    layers have different numbers of units at a site, those with as many count as a site of their own.

    Within a site layers are ranked by richness, in a drawn order where it is equal, the same for all choices and seeds:
    `richest` takes the first, `poorest` the last, so that no module is both. `random` takes any, whatever the others
    took, drawn anew for each seed.

    Raises DataError when no unit is chosen at all, ConfigError when richest and poorest would overlap.
    """
    chosen_per_site = rich.groupby(["site", "units"], sort=False)["chosen"].sum()
    sites = [site for site, n in chosen_per_site.items() if n]
    if not sites:
        raise DataError("the mask has no neuron at any projection, so no module is richer than another")
    layers = rich.groupby(["site", "units"], sort=False).size()[sites]
    quotient, remainder = divmod(modules, len(sites))
    count = {site: quotient + (i < remainder) for i, site in enumerate(sites)}
    if any(2 * n > layers[site] for site, n in count.items()):
        raise ConfigError(
            f"finetuning: modules: {modules} of {len(sites)} sites are up to {max(count.values())} of one site, so that"
            f" the richest and the poorest of {layers.min()} layers meet; expected at most"
            f" {layers.min() // 2 * len(sites)}"
        )
    parts = []
    for choice in choices:
        for seed in seeds:
            for (site, units), n in count.items():
                of_site = rich[(rich["site"] == site) & (rich["units"] == units)].reset_index(drop=True)
                # Equally rich modules in a drawn order, the same for all choices: by depth, ties would choose layers.
                size = len(of_site)
                ties = generator("finetuning", "ties", site).permutation(size)
                ranked = np.lexsort((ties, -of_site["richness"]))
                selected = {
                    "richest": lambda n, ranked=ranked: ranked[:n],
                    "poorest": lambda n, ranked=ranked: ranked[len(ranked) - n :],
                    "random": lambda n, site=site, seed=seed, size=size: generator(
                        "finetuning", seed, site
                    ).permutation(size)[:n],
                }[choice](n)
                parts.append(of_site.iloc[np.sort(selected)].assign(choice=choice, seed=seed))
    return pd.concat(parts, ignore_index=True)[COLUMNS]


def split_held_out(sample_ids: Sequence[str], share: float, limit: int | None = None) -> tuple[list[int], list[int]]:
    """Indices of the questions to train on, and of those that judge the training, both ascending.

    At most `limit` questions are taken, drawn by their ids; round(share * number) of these, at least one, are held
    out. Neither depends on the order of the questions, nor on the seed of a training. Raises DataError for fewer than
    two questions.
    """
    order = np.argsort(np.array(sample_ids, dtype=object), kind="stable")
    order = generator("held out").permutation(order)[: limit or len(order)]
    if len(order) < 2:
        raise DataError(f"{len(order)} questions to train on; expected two at least, one of them held out")
    n = min(max(1, shares.rounded(share, len(order))), len(order) - 1)
    return sorted(order[n:].tolist()), sorted(order[:n].tolist())
