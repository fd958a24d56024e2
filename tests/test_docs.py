"""README and docs say what is there: links, commands, settings, columns, and examples that run."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import shutil
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from culture_neurons import files, selectors, store
from culture_neurons.data import samples
from culture_neurons.data.benchmarks import registry
from culture_neurons.data.readers import cvqa, facts, general_facts, synthetic, table
from culture_neurons.selectors import selection
from culture_neurons.steps import (
    benchmark_selectors,
    stability,
    tabulate,
    tabulate_changed_answers,
    tabulate_overlaps,
    tabulate_robustness,
    tabulate_sets,
)
from culture_neurons.steps import select as choose
from culture_neurons.tables import TABLES
from culture_neurons.workflow import config_checks
from tests.figures_tables import finetuned

ROOT = Path(__file__).resolve().parent.parent
DOCS = sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", *DOCS]
TEXT = {page: (ROOT / page).read_text(encoding="utf-8") for page in PAGES}
SCHEMA = config_checks.read_schema(ROOT / "workflow/schemas/config.schema.yaml")
DEFAULT = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
SOURCE_KEYS = {"table": set(table.KEYS), "cvqa": set(cvqa.KEYS), "synthetic": set(synthetic.DEFAULTS)} | {
    kind: {"type"}.union(*(benchmark.defaults for benchmark in found)) for kind, found in registry.BENCHMARKS.items()
}
SOURCE_KEYS["facts"] = {"type", *facts.KEYS}
SOURCE_KEYS["general-facts"] = {"type", *general_facts.KEYS}
#: The selector that the README adds as an example.
EXAMPLE = "lift"


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def code_words(text: str) -> list[str]:
    """What stands in backticks within a line, and each line of the shell blocks."""
    shell = [line.partition("#")[0] for block in blocks(text, "bash") for line in block.splitlines()]
    return shell + re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))


def section(text: str, heading: str) -> str:
    """The part of a page from a heading to the next one of the same or a higher level."""
    level = len(heading) - len(heading.lstrip("#"))
    found = re.search(rf"^{re.escape(heading)}.*?\n(.*?)(?=^#{{1,{level}}} |\Z)", text, re.M | re.S)
    assert found, f"no section {heading!r}"
    return found[1]


def missing_links(page: str, text: str) -> list[str]:
    """Relative links of a page to files that do not exist."""
    found = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    local = [target for target in found if "://" not in target]
    return [target for target in local if not (ROOT / page).parent.joinpath(target).exists()]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    assert missing_links(page, TEXT[page]) == []
    assert missing_links("README.md", "[a](docs/nowhere.md) and [b](LICENSE)") == ["docs/nowhere.md"]


def anchor(heading: str) -> str:
    """What a heading is called in links."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES)
def test_links_to_sections_lead_to_headings(page: str) -> None:
    for target, name in re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", TEXT[page]):
        if "://" not in target:
            other = (ROOT / page).parent.joinpath(target).resolve() if target else ROOT / page
            headings = re.findall(r"^#+ (.*)$", other.read_text(encoding="utf-8"), re.M)
            assert name in map(anchor, headings), f"{page}: {target}#{name}"


def test_readme_is_short_and_leads_to_every_page() -> None:
    assert len(TEXT["README.md"].splitlines()) <= 200
    table = section(TEXT["README.md"], "## Where to read on")
    assert set(re.findall(r"^\| \[.*?\]\((.*?)\) \|", table, re.M)) == {*PAGES} - {"README.md"}


@pytest.mark.parametrize("page", ["README.md", *DOCS])
def test_lines_are_not_too_long(page: str) -> None:
    lines = TEXT[page].splitlines()
    assert [line for line in lines if len(line) > 120 and not line.startswith("|")] == []


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_exist(page: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.M))
    assert "demo" in targets
    named = {target for words in code_words(TEXT[page]) for target in re.findall(r"\bmake ([a-z-]+)", words)}
    assert named - targets == set()
    assert page != "README.md" or {"demo", "test", "help"} <= named


@pytest.mark.parametrize("page", PAGES)
def test_names_of_the_package_exist(page: str) -> None:
    for name in {n for words in code_words(TEXT[page]) for n in re.findall(r"\bculture_neurons(?:\.\w+)+", words)}:
        if importlib.util.find_spec(name.rpartition(".")[0]) is None:
            pytest.fail(f"{page}: {name}")
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            module, _, attribute = name.rpartition(".")
            assert hasattr(importlib.import_module(module), attribute), f"{page}: {name}"


@pytest.mark.parametrize("page", PAGES)
def test_paths_exist(page: str) -> None:
    # A path with a placeholder, as tests/test_<name>.py, is no path.
    path = re.compile(r"(?:^|\s)((?:src|config|workflow|tests|docs|envs|tools|profiles)/[\w./-]+)(?![\w./<{-])")
    paths = {found for words in code_words(TEXT[page]) for found in path.findall(words)}
    paths = {path for path in paths if EXAMPLE not in path}  # made below
    assert {path for path in paths if not (ROOT / path).exists()} == set()


def setting_exists(dotted: str) -> bool:
    """Whether a dotted name such as figures.top_fraction is a setting of the config; a star stands for any key."""
    schema: dict[str, Any] = SCHEMA
    for part in dotted.split("."):
        known = schema.get("properties", {})
        if part == "*":
            return bool(known)
        if part not in known:
            return False
        schema = known[part]
    return True


@pytest.mark.parametrize("page", PAGES)
def test_dotted_settings_are_in_the_schema(page: str) -> None:
    assert setting_exists("figures.top_fraction")
    assert not setting_exists("figures.top_fractions")
    tops = "|".join(SCHEMA["properties"])
    names = [
        w for w in code_words(TEXT[page]) if re.fullmatch(rf"(?:{tops})(?:\.[\w*]+)+", w) and not w.endswith(".csv")
    ]
    assert [name for name in names if not setting_exists(name)] == []


def test_settings_named_in_the_rerun_table_are_in_the_schema() -> None:
    rows = re.findall(r"^\| (.*?) \|", section(TEXT["docs/cost.md"], "## What runs again after a change"), re.M)
    named = {word for row in rows for word in re.findall(r"`([\w.*]+)`", row)}
    stanza = set(SCHEMA["properties"]["models"]["additionalProperties"]["properties"])
    assert {"top_fractions", "batch_size"} <= named
    assert {n for n in named if n not in stanza and not setting_exists(n)} == set()


ARCHITECTURE = TEXT["docs/architecture.md"]


def test_every_rule_is_in_the_architecture() -> None:
    files = (ROOT / "workflow/rules").glob("*.smk")
    rules = {rule for file in files for rule in re.findall(
        r"^(?:rule|use rule \w+ as) (\w+)", file.read_text(encoding="utf-8"), re.M
    )}  # fmt: skip
    assert {"prepare", "select", "gather_outcomes", "verify"} <= rules
    (drawing,) = re.findall(r"^```\n(.*?)^```", section(ARCHITECTURE, "## The way of the data"), re.M | re.S)
    assert rules - set(re.findall(r"\w+", drawing)) == set()


def test_rules_are_in_the_files_that_the_architecture_names() -> None:
    rows = re.findall(r"^\| `(workflow/rules/\w+\.smk)` \| (.*) \|$", ARCHITECTURE, re.M)
    assert {file for file, _ in rows} == {f"workflow/rules/{path.name}" for path in (ROOT / "workflow/rules").iterdir()}
    for file, rules in rows:
        text = (ROOT / file).read_text(encoding="utf-8")
        there = re.findall(r"^(?:rule|use rule \w+ as) (\w+)", text, re.M)
        named = [name for name in re.findall(r"`(\w+)`", rules) if name != "run"]
        assert set(named) <= set(there), file
        assert set(named) == set(there) or "and the others" in rules, file


def test_rooms_are_those_of_the_import_contract() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    floors: dict[int, set[str]] = {}
    for floor, room in re.findall(r"^\| (\d+) \| `(\w+)(?:/|\.py)` \|", section(ARCHITECTURE, "## Rooms"), re.M):
        floors.setdefault(int(floor), set()).add(room)
    assert [floors[floor] for floor in sorted(floors, reverse=True)] == [set(layer.split(" | ")) for layer in layers]


def test_code_that_the_architecture_names_is_there() -> None:
    touched = section(ARCHITECTURE, "## To add, touch")
    paths = set(re.findall(r"`([\w./-]+/[\w./-]*|[\w-]+\.(?:py|toml|yaml))`", touched))
    assert "src/culture_neurons/tables.py" in paths
    assert {path for path in paths if not (ROOT / path).exists()} == set()
    rooms = re.findall(r"^\| \d+ \| `([\w./]+)` \|", ARCHITECTURE, re.M)
    assert {room for room in rooms if not (ROOT / "src/culture_neurons" / room).exists()} == set()


def problem(snippet: dict[str, Any]) -> str:
    """What is wrong with a snippet laid over the default config, or ""; other data have models and selectors of
    their own."""
    own = {"models": {"any": {"path": "owner/model"}}, "selectors": {"cas": {}}, "evaluation": {}}
    others = own if "data" in snippet else {}
    try:
        # `evidence`, `evaluation` and `figures` name selectors of the default run, which choose on data of its own.
        unused = {"data": {key: value for key, value in DEFAULT["data"].items() if key != "choose"}}
        named = {"evidence": {}, "figures": {}, "evaluation": {}} if {"data", "selectors"} & snippet.keys() else {}
        named |= unused if "selectors" in snippet else {}
        changed = DEFAULT | named | others | snippet
        config_checks.check(changed, SCHEMA)
        source = snippet.get("data", {}).get("source", {})
        unknown = set(source) - SOURCE_KEYS.get(source.get("type"), set()) - {"labels"}
        return f"unknown keys of the source: {sorted(unknown)}" if unknown else ""
    except config_checks.ConfigError as error:
        return str(error)


def test_config_snippets_are_accepted(example: ModuleType) -> None:
    snippets = {page: [yaml.safe_load(block) for block in blocks(TEXT[page], "yaml")] for page in PAGES}
    assert {key for snippet in snippets["README.md"] for key in snippet} >= {"models", "data", "selectors"}
    together = {key: value for snippet in snippets["README.md"] for key, value in snippet.items()}
    config_checks.check(together, SCHEMA)  # a whole config
    assert snippets["docs/data.md"]
    assert snippets["docs/models.md"]
    assert [found for page in PAGES for found in map(problem, snippets[page]) if found] == []
    assert "tabel" in problem({"data": {"source": {"type": "tabel"}}})
    assert "colums" in problem({"data": {"source": {"type": "table", "colums": {}}}})


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The README's selector, added as it says: a file, an import, and a line in the registry."""
    text = section(TEXT["README.md"], "## Add a selector")
    path = tmp_path / f"{EXAMPLE}.py"
    path.write_text(blocks(text, "python")[0], encoding="utf-8")
    name = f"culture_neurons.selectors.{EXAMPLE}"
    assert f"src/{name.replace('.', '/')}.py" in text
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, name, module)
    line = next(word for word in code_words(text) if "Selector(" in word)
    entry = eval("{" + line + "}", {**vars(selectors), **vars(module)})
    assert list(entry) == [EXAMPLE]
    monkeypatch.setitem(selectors.SELECTORS, EXAMPLE, entry[EXAMPLE])
    return module


def test_selector_example_runs(example: ModuleType) -> None:
    (test,) = blocks(section(TEXT["docs/selectors.md"], "## Add one"), "python")
    namespace: dict[str, Any] = {}
    exec(test, namespace)
    run = [function for name, function in namespace.items() if name.startswith("test_")]
    assert run
    for function in run:
        function()
    statistics = selectors.Statistics(["a", "b"], [10, 10], [[[6, 5, 0]], [[2, 5, 0]]], np.ones((2, 1, 3)))
    mask = selection.select(selectors.score(EXAMPLE, statistics, floor=0.05), ["a", "b"], 0.5)
    assert mask[["culture", "layer", "neuron"]].to_numpy().tolist() == [["a", 0, 0]]


CULTURES = ["Ona", "Terra", "Ulm"]
MODEL = "smollm2-eye"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with results/demo as a run leaves it, made-up; its tables in results/control too."""
    folder = tmp_path_factory.mktemp("run")
    results = folder / "results/demo"
    model = results / MODEL
    rng = np.random.default_rng(0)
    ids = [f"q{i:02d}" for i in range(24)]
    rows = pd.DataFrame({
        "sample_id": ids, "culture": [CULTURES[i % 3] for i in range(24)], "category": "dish", "question": "Which?",
        "options": [["x", "y"]] * 24, "label": 0, "image": None, "image_id": "", "width": None, "height": None,
        "split": ["identify"] * 12 + ["evaluate"] * 12, "option_cultures": [["Ona", "Ulm"]] * 24,
    })  # fmt: skip
    samples.write_samples(results / "samples.parquet", rows, {"images": {"type": "none"}, "step": "prepare",
                                                              "code": "0", "version": "0"})  # fmt: skip
    identity = {"model": MODEL, "revision": "r", "dtype": "float32", "token_rule": "all"}
    answers = rows[["sample_id", "culture", "split"]].assign(
        option_order=[[0, 1]] * 24, prediction=0, correct=True, well_formed=True, logprobs=[[-0.1, -2.0]] * 24
    )
    files.write_table(model / "predictions.parquet", answers, identity)
    with store.statistics_writer(
        model / "statistics/0.h5", ids[:12], list(rows["culture"][:12]), "act_fn", 2, 50, identity, negative_sum=True
    ) as writer:
        fired = rng.integers(0, 10, (12, 2, 50))
        writer.write(ids[:12], np.full(12, 10), fired, fired * 0.5, fired * -0.1)
    store.merge_statistics([model / "statistics/0.h5"], model / "statistics.h5", {})
    mask = model / "masks/cas_top0.01.parquet"
    call(
        choose, "--statistics", model / "statistics.h5", "--selector", "cas", "--top-fraction", "0.01", "--scores-out",
        model / "scores/cas.h5", "--masks-out", mask,
    )  # fmt: skip
    asked = answers[answers["split"] == "evaluate"].drop(columns=["split", "option_order"])
    masked = pd.concat([asked.assign(mask_culture=name) for name in CULTURES])
    ablation = model / "ablation/cas_top0.01.parquet"
    files.write_table(ablation, masked[["mask_culture", *asked.columns]], identity)
    chosen = pd.read_parquet(mask)[["culture", "site", "layer", "neuron"]]
    files.write_csv(model / "planted.csv", chosen)
    questions = ("--samples", results / "samples.parquet", "--predictions", model / "predictions.parquet")
    tables = ("--out-dir", results / "tables")
    call(
        tabulate, *questions, "--masks", mask, "--outcomes", ablation, "--planted", model / "planted.csv",
        "--replicates", "20", *tables,
    )  # fmt: skip
    controls = [model / f"controls/{name}.parquet" for name in ("blank", "none")]
    for path in controls:  # no question has an image
        files.write_table(path, answers.iloc[:0], {**identity, "rows": 0, "without_image": 12})
    call(tabulate_changed_answers, *questions, "--controls", *controls, *tables)
    call(
        stability, "--statistics", model / "statistics.h5", "--samples", results / "samples.parquet", "--selectors",
        '{"cas": {"method": "cas", "options": {}}}', "--masks", mask, "--resamples", "5", "--neurons-out",
        model / "stability.parquet", "--cultures-out", model / "stability_cultures.parquet",
    )  # fmt: skip
    call(
        tabulate_overlaps, "--masks", mask, "--effects", results / "tables/effects.csv", "--across-data", "cas",
        "--stability", model / "stability_cultures.parquet", *tables,
    )  # fmt: skip
    made = files.read_table(mask)[1]
    outcomes = model / "sets/demo/ablation/cas_x0.parquet"
    files.write_table(outcomes, masked[["mask_culture", *asked.columns]], {**identity, "mask": made})
    call(tabulate_sets, *questions, "--masks", mask, "--outcomes", outcomes, "--replicates", "20", *tables)
    call(tabulate_robustness, "--samples", results / "samples.parquet", *tables)
    call(
        benchmark_selectors, "--statistics", model / "statistics.h5", "--planted", model / "planted.csv", "--selectors",
        '{"cas": {}}', "--top-fraction", "0.01", "--noise", "0.5", "--repeats", "2", *tables,
    )  # fmt: skip
    finetuned(results / "tables", (MODEL,), CULTURES)
    shutil.copytree(results / "tables", folder / "results/control/tables")
    return folder


def call(step: ModuleType, *words: object) -> None:
    step.main(step.arguments().parse_args([str(word) for word in words]))


def test_snippets_of_the_outputs_run(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run)
    namespace: dict[str, Any] = {}
    for block in blocks(TEXT["docs/outputs.md"], "python"):
        exec(block, namespace)
    assert namespace["fired"].shape == (12, 2, 50)
    assert namespace["scores"].shape == (3, 2, 50)
    assert namespace["made"]["images"] == {"type": "none"}


def documented(name: str) -> set[str]:
    """The names in backticks in the section of a file."""
    return {word for words in code_words(section(TEXT["docs/outputs.md"], f"### `{name}`"))
            for word in re.findall(r"[\w/]+", words)}  # fmt: skip


#: Tables whose section says that values have ends of intervals.
WITH_INTERVALS = {"effects", "summary", "cultures", "images", "permutations", "strengths", "stability", "finetuning"}
WITH_INTERVALS |= {"sets", "baseline"}


@pytest.mark.parametrize("name", TABLES)
def test_columns_of_the_tables_are_documented(run: Path, name: str) -> None:
    columns = set(pd.read_csv(run / f"results/demo/tables/{name}.csv").columns)
    assert set(TABLES[name].columns) <= columns
    listed = documented(f"{name}.csv")
    intervals = {c for c in columns if c.endswith(("_low", "_high")) and not c.startswith("ci_")}
    described = {"model", "selector", "top_fraction", "mask_culture", "eval_culture", "culture", "planted"}
    assert columns - intervals - described - listed == set()
    assert name in WITH_INTERVALS or intervals <= listed
    rows = re.findall(r"^\| (`.*?) \|", section(TEXT["docs/outputs.md"], f"### `{name}.csv`"), re.M)
    assert {word for row in rows for word in re.findall(r"`(\w+)`", row)} - columns == set()


@pytest.mark.parametrize(
    ("heading", "file"),
    [
        ("samples.parquet", "samples.parquet"),
        ("predictions.parquet", f"{MODEL}/predictions.parquet"),
        ("masks/{selector}_top{r}.parquet", f"{MODEL}/masks/cas_top0.01.parquet"),
        ("ablation/{selector}_top{r}.parquet", f"{MODEL}/ablation/cas_top0.01.parquet"),
        ("stability.parquet", f"{MODEL}/stability.parquet"),
    ],
)
def test_columns_of_the_parquet_files_are_documented(run: Path, heading: str, file: str) -> None:
    columns = set(pq.read_schema(run / "results/demo" / file).names)
    rows = re.findall(r"^\| (`.*?) \|", section(TEXT["docs/outputs.md"], f"### `{heading}`"), re.M)
    assert columns - documented(heading) == set()
    assert {word for row in rows for word in re.findall(r"`(\w+)`", row)} - columns == set()


def test_data_sets_of_the_statistics_are_documented(run: Path) -> None:
    text = section(TEXT["docs/outputs.md"], "### `statistics.h5`")
    rows = {path: row for row in re.findall(r"^\| `/.*$", text, re.M) for path in re.findall(r"`(/[\w/]+)`", row)}
    with h5py.File(run / f"results/demo/{MODEL}/statistics.h5") as file:
        found: dict[str, h5py.Dataset] = {}
        file.visititems(lambda name, item: found.update({f"/{name}": item}) if isinstance(item, h5py.Dataset) else None)
        assert set(found) == set(rows)
        for path, row in rows.items():
            assert found[path].dtype.kind == "S" or str(found[path].dtype) in row
        assert "schema" in file.attrs
        assert set(json.loads(file["metadata"][0])) >= {"model", "revision", "dtype", "token_rule"}


def test_options_of_the_profile_are_those_of_the_cluster_page() -> None:
    profile = (ROOT / "profiles/slurm/config.yaml").read_text(encoding="utf-8")
    options = set(re.findall(r"^(?: *# )?([a-z]+(?:-[a-z]+)+): ", profile, re.M)) | set(
        re.findall(r"(\bslurm_\w+)", profile)
    )
    known = options | {"slurm-keep-successful-logs"}
    named = {
        w.partition(":")[0] for w in code_words(TEXT["docs/cluster.md"]) if re.match(r"(slurm[_-]|latency-)[\w-]+", w)
    }
    assert {"slurm_account", "slurm-status-command", "latency-wait"} <= named
    assert named - known == set()
