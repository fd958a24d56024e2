"""Do the verdicts on the pretrained model hang on which facts are asked? `make check-real-seeds`; minutes."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest
import yaml

from culture_neurons.analysis.significance import (
    INCONCLUSIVE,
    LESS,
    LOWER,
    NOTHING,
    SPECIFIC,
    TOO_FEW,
    UNRESOLVED,
    UNSPECIFIC,
    direction,
)
from tests.demo.test_real import CONFIG, MODEL, OTHER_DIRECTION, OWN, RESULTS, ROOT

SEEDS = (2, 3)
#: Verdict -> what it claims of masks: whether they harm more than random ones, and their own culture more than others;
#: None where it leaves that open.
CLAIMS = {
    SPECIFIC: (True, True), UNSPECIFIC: (True, False), UNRESOLVED: (True, None), NOTHING: (False, None),
    LESS: (False, None), INCONCLUSIVE: (None, None), TOO_FEW: (None, None),
}  # fmt: skip
#: Selectors of which the page says that their verdict by log-probability is the same for all facts, and those whose own
#: questions lose more than others in both directions of questions, whatever the facts.
STEADY = {"cas": SPECIFIC, "mad": SPECIFIC, "lap": UNSPECIFIC, "lape": NOTHING, "culnig-general": TOO_FEW}
SPECIFIC_IN_BOTH = ("cas", "mad")


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
def test_verdicts_do_not_contradict_those_on_other_facts(tmp_path, seed):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(with_seed(seed)), encoding="utf-8")
    command = [sys.executable, ROOT / "tools/warm.py", "snakemake", "--snakefile", ROOT / "Snakefile", "--configfile",
               "config.yaml", "--cores", "2", "--quiet", "all", "--", "results/real/tables/evidence.csv",
               "results/real/tables/sets.csv"]  # fmt: skip
    subprocess.run(command, cwd=tmp_path, check=True)
    here, demo = found(tmp_path / "results/real/tables"), found(RESULTS / "tables")
    assert here.keys() == demo.keys()
    for selector, (verdict, *directions) in here.items():
        demo_verdict, *demo_directions = demo[selector]
        for claim, demo_claim in zip(CLAIMS[verdict], CLAIMS[demo_verdict], strict=True):
            assert claim is None or demo_claim is None or claim == demo_claim, (selector, verdict, demo_verdict)
        if selector in STEADY:
            assert (verdict, demo_verdict) == (STEADY[selector],) * 2, selector
        if selector in SPECIFIC_IN_BOTH:
            assert directions == demo_directions == [LOWER, LOWER], selector
