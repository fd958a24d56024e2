"""Masks of another project, from their file to the report."""

import pandas as pd
import pytest
import torch

from tests.pipeline.conftest import PUBLISHED

pytestmark = pytest.mark.workflow


def test_masks_of_another_project_are_ablated_tabulated_and_reported(wide_finished):
    project, some = wide_finished, PUBLISHED
    cultures = ["Aldovia", "Brenmark", "Costa Verena"]
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
    assert project.results("figures", "matrix_loaded_published.png").stat().st_size
    assert "published" in project.results("report.html").read_text(encoding="utf-8")


def test_masks_of_another_model_are_refused_in_one_line(wide):
    project = wide
    torch.save([[torch.tensor([0])]], project.folder / "published" / "loaded.pth")
    assert project.planned()["import_masks"] == 1
    done = project.snakemake()
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert "published/loaded.pth: culture" in output
    assert "1 layers, but the model has 2" in output
    assert "Traceback" not in output
