"""Masks of another project, from their file to the report."""

import numpy as np
import pandas as pd
import pytest
import torch

from culture_neurons import planning, store
from tests.workflow.test_culnig import TABLES_AND_PAGES
from tests.workflow.test_plan import amount_of_work

pytestmark = pytest.mark.workflow


def test_masks_of_another_project_are_ablated_tabulated_and_reported(project):
    config = project.read()
    del config["models"]["trained"]
    cultures = store.read_statistics(project.results("loaded", "statistics.h5"))[0].cultures
    some = cultures[:0:-1]  # not the first, and in an order of their own
    paths = {}
    rng = np.random.default_rng(0)
    for model in config["models"]:
        layers, neurons = store.read_statistics(project.results(model, "statistics.h5"))[0].fired.shape[1:]
        paths[model] = f"published/{model}.pth"
        (project.folder / "published").mkdir(exist_ok=True)
        masks = [[torch.from_numpy(rng.permutation(neurons)[: 3 + c]) for _ in range(layers)] for c in range(len(some))]
        torch.save(masks, project.folder / paths[model])
    published = {"method": "imported", "masks": paths, "cultures": some}
    config["selectors"] |= {
        "published": published, "random-published": {"method": "random-matched", "seed": 1, "match": "published"},
    }  # fmt: skip
    project.write(config)
    new = {"import_masks": 1, "score": 1, "mask": 1, "ablate": 2, "gather_outcomes": 2}
    of_models = {rule: n for rule, n in project.planned().items() if not rule.startswith(TABLES_AND_PAGES)}
    assert of_models == new
    assert planning.jobs(amount_of_work(project)) == project.planned("--forceall")
    project.run()
    assert project.planned() == {}

    mask = pd.read_parquet(project.results("loaded", "masks", "published_top0.05.parquet"))
    assert set(mask["culture"]) == set(some)
    assert mask.equals(pd.read_parquet(project.results("loaded", "masks", "published_top0.2.parquet")))
    summary = pd.read_csv(project.results("tables", "summary.csv")).set_index(["model", "selector", "top_fraction"])
    row, random = (summary.loc[("loaded", name, 0.05)] for name in ("published", "random-published"))
    assert (row["n_cultures"], random["n_cultures"]) == (len(some), len(cultures))
    evidence = pd.read_csv(project.results("tables", "evidence.csv"))
    mine = evidence[evidence["selector"] == "published"]
    assert (mine["n_controls"] == 1).all()
    assert (mine["n_cultures"] == len(some)).all()
    effects = pd.read_csv(project.results("tables", "effects.csv"))
    mine = effects[effects["selector"] == "published"]
    assert (set(mine["mask_culture"]), set(mine["eval_culture"])) == (set(some), set(cultures))
    for kind in ("matrix", "layers", "layers-heatmap", "layers-by-culture"):
        assert project.results("figures", f"{kind}_loaded_published.png").stat().st_size
    assert "published" in project.results("report.html").read_text(encoding="utf-8")

    torch.save([[torch.tensor([0])]], project.folder / paths["loaded"])
    assert project.planned()["import_masks"] == 1
    done = project.snakemake()
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert "published/loaded.pth: culture" in output
    assert "1 layers, but the model has 2" in output
    assert "Traceback" not in output
