"""Two runs side by side in a notebook: the tables that the step writes."""

import pandas as pd
import pytest

from culture_neurons import files, results
from culture_neurons.analysis.compare_runs import TABLES, TEXT
from culture_neurons.errors import FileError
from culture_neurons.steps import compare
from tests import figures_tables, finished_runs


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    base = tmp_path_factory.mktemp("runs")
    paths = [finished_runs.write(base / name, seed) for seed, name in enumerate(("one", "two"))]
    for path in paths:
        figures_tables.build(path / "tables", cultures=["A", "B"], models=("m",), selectors=["cas"], fractions=(0.01,))
    return paths


def test_the_tables_are_those_of_the_step(folders, tmp_path):
    run = results.load(folders[0])
    tables = run.compare(folders[1], replicates=50)
    words = ["--runs", *map(str, folders), "--replicates", "50", "--out-dir", str(tmp_path)]
    compare.main(compare.arguments().parse_args(words))
    assert list(tables) == [name for name in TABLES if name != "transferred_masks"]
    for name, table in tables.items():
        files.write_csv(tmp_path / "again.csv", table)
        assert (tmp_path / "again.csv").read_bytes() == (tmp_path / f"tables/{name}.csv").read_bytes()
    text = files.read_csv(tmp_path / "tables/compared.csv", text=TEXT)
    assert set(text["compared"]) == {"yes"}


def test_another_run_may_be_loaded_or_a_folder(folders):
    run, other = map(results.load, folders)
    one, same = (run.compare(which, replicates=20)["shared_neurons"] for which in (other, folders[1]))
    pd.testing.assert_frame_equal(one, same)
    with pytest.raises(FileError, match=r"nowhere: no samples\.parquet"):
        run.compare(folders[0].with_name("nowhere"))
