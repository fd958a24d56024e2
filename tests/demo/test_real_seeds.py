"""Do the verdicts on the pretrained model hang on which facts are asked? `make check-real-seeds`; minutes."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest
import yaml

from culture_neurons.analysis.significance import INCONCLUSIVE, NOTHING, SPECIFIC, UNSPECIFIC, direction
from tests.demo.test_real import CONFIG, MODEL, OTHER_DIRECTION, OWN, RESULTS, ROOT

SEEDS = (2, 3)
#: Selectors whose verdict hangs on which facts are asked, as README and docs say, and what it was in some draw. Of
#: culnig-specific it is claimed that nothing specific is shown on the other direction; of the others, the directions.
UNSURE = {
    "cas": {SPECIFIC, NOTHING, INCONCLUSIVE},
    "lap": {UNSPECIFIC, NOTHING, INCONCLUSIVE},
    "culnig-specific": {SPECIFIC, UNSPECIFIC},
}


def with_seed(seed: int) -> dict:
    """The demo's config with other facts, options and halves of all data, on the model that the demo has converted."""
    config = yaml.safe_load(yaml.safe_dump(CONFIG))
    sources = [config["data"]["source"], config["data"]["mentions"]]
    sources += [stanza["source"] for stanza in config["evaluation"]["sets"].values()]
    for source in sources:
        source["seed"] = seed
    stanza = config["models"][MODEL]
    del stanza["gguf"]
    return config | {"models": {MODEL: stanza | {"path": str(RESULTS / MODEL / "model")}}}


def found(tables) -> dict[str, tuple]:
    """Selector -> the verdict by log-probability, and the direction of own - other in both directions of questions."""
    evidence, sets = (pd.read_csv(tables / f"{name}.csv") for name in ("evidence", "sets"))
    verdicts = evidence[evidence["measure"] == "logprob"].groupby("selector")["verdict"].first()
    sets = sets.set_index(["set", "selector"])
    return {
        selector: (verdict, *(direction(sets.loc[(name, selector), "logprob_specificity"],
                                        sets.loc[(name, selector), "logprob_specificity_p_adjusted"])
                              for name in (OWN, OTHER_DIRECTION)))
        for selector, verdict in verdicts.items()
    }  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS)
def test_verdicts_are_those_of_other_facts(tmp_path, seed):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(with_seed(seed)), encoding="utf-8")
    command = [sys.executable, ROOT / "tools/warm.py", "snakemake", "--snakefile", ROOT / "Snakefile", "--configfile",
               "config.yaml", "--cores", "2", "--quiet", "all", "--", "results/real/tables/evidence.csv",
               "results/real/tables/sets.csv"]  # fmt: skip
    subprocess.run(command, cwd=tmp_path, check=True)
    here, demo = found(tmp_path / "results/real/tables"), found(RESULTS / "tables")
    for selector, verdicts in UNSURE.items():
        (verdict, *directions), (demo_verdict, *demo_directions) = here.pop(selector), demo.pop(selector)
        assert {verdict, demo_verdict} <= verdicts, selector
        first = 1 if selector == "culnig-specific" else 0
        assert directions[first:] == demo_directions[first:], selector
    assert here == demo
