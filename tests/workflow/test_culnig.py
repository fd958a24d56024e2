"""CULNIG's selectors beside the others, from attributions to the report."""

import pandas as pd
import pytest

from culture_neurons import planning
from tests.workflow.test_incremental import LAST
from tests.workflow.test_plan import amount_of_work

pytestmark = pytest.mark.workflow

#: Beginnings of rules of all models together, and of figures: they follow when a model is left out.
TABLES_AND_PAGES = ("tabulate", "overlap", "latex", "draw", "report", "manifest")


def test_attributed_neurons_are_ablated_tabulated_and_reported(project):
    config = project.read()
    del config["models"]["trained"]
    config["selectors"] |= {"culnig-specific": {}, "shared": {"method": "culnig-general", "mlp_fraction": 0.1}}
    project.write(config)
    new = {"attribute": 2, "mask_culnig": 2, "ablate": 2, "gather_outcomes": 2}
    of_models = {rule: n for rule, n in project.planned().items() if not rule.startswith(TABLES_AND_PAGES)}
    assert of_models == new
    assert planning.jobs(amount_of_work(project)) == project.planned("--forceall")
    project.run()
    assert project.planned() == {}

    others = pd.read_parquet(project.results("loaded", "masks", "cas_top0.2.parquet"))
    specific = pd.read_parquet(project.results("loaded", "masks", "culnig-specific_top0.2.parquet"))
    assert set(specific["site"]) > {"gate_proj"}
    assert set(specific["culture"]) <= set(others["culture"])
    shared = pd.read_parquet(project.results("loaded", "masks", "shared_top0.05.parquet"))
    sets = {frozenset(part[["site", "layer", "neuron"]].itertuples(index=False, name=None))
            for _, part in shared.groupby("culture", observed=True)}  # fmt: skip
    assert len(sets) == 1
    effects = pd.read_csv(project.results("tables", "effects.csv"))
    mine = effects[
        (effects["selector"] == "shared") & (effects["model"] == "loaded") & (effects["top_fraction"] == 0.05)
    ]
    # One mask for all cultures: whatever its name, its effect on a culture is the same.
    assert (mine.groupby("eval_culture")["logprob_drop"].nunique() == 1).all()
    assert mine["logprob_drop"].abs().max() > 0
    assert not set(pd.read_csv(project.results("tables", "overlaps.csv"))["selector"]) & {"shared", "culnig-specific"}
    assert project.results("figures", "matrix_loaded_culnig-specific.png").stat().st_size
    assert project.results("figures", "modules_loaded_shared.pdf").stat().st_size
    assert "culnig-specific" in project.results("report.html").read_text(encoding="utf-8")

    config["selectors"]["culnig-specific"] = {"z": 0.2}
    project.write(config)
    assert project.planned() == {"mask_culnig": 1, "ablate": 1, "gather_outcomes": 1, **LAST, "draw_model": 1}
