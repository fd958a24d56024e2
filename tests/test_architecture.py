"""The layout of the package: imports run one way, and each heavy library has one home."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import culture_neurons
from culture_neurons import provenance

SRC = Path(culture_neurons.__file__).resolve().parent
TESTS = Path(__file__).resolve().parent

#: For each part of the package (a module or a folder), the other parts that it may import.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "provenance": set(),
    "seeds": set(),
    "significance": set(),
    "warm": {"provenance"},
    "types": {"errors"},
    "files": {"errors"},
    "slurm": {"errors", "files"},
    "store": {"errors", "types", "files"},
    "remote": {"errors", "files"},
    "units": set(),
    "shares": set(),
    "data": {"errors", "types", "files", "seeds", "remote", "units"},
    "selectors": {"errors", "types", "seeds", "shares"},
    "models": {"errors", "types", "files", "seeds", "data", "remote"},
    "config": {"errors", "types", "selectors", "config_values", "culnig", "finetuning"},
    "config_values": {"errors"},
    "selection": {"errors", "types", "seeds", "selectors", "shares"},
    "culnig": {"errors", "types", "seeds", "selection", "shares"},
    "finetuning": {"errors", "types", "seeds", "shares"},
    "planning": {"planning_disk"},
    "planning_disk": {"selection"},
    "planning_text": set(),
    "stability": {"errors", "types", "seeds", "store", "selectors", "selection"},
    "manifest": set(),
    "cards": {"errors", "types", "seeds"},
    "resampling": {"errors", "seeds"},
    "intervals": {"seeds", "resampling"},
    "overlaps": {"seeds", "resampling", "significance"},
    "evaluation": {"errors", "types", "files", "seeds", "resampling", "selection", "units"},
    "controls": set(),
    "guessing": {"intervals", "resampling", "evaluation"},
    "evidence": {"errors", "seeds", "intervals", "resampling", "evaluation", "controls", "significance"},
    "selector_benchmark": {"errors", "types", "seeds", "selectors", "selection", "shares"},
    "image_effects": {"errors", "intervals", "resampling", "evaluation"},
    "erosion": {"intervals", "evaluation", "per_culture"},
    "per_culture": {"errors", "seeds", "intervals", "resampling", "evaluation", "evidence"},
    "again": {"errors", "seeds", "intervals", "resampling", "evaluation", "evidence"},
    "sets": {"intervals", "resampling", "evaluation", "evidence", "per_culture", "controls"},
    "figures": {"errors", "files", "types", "significance"},
    "report": {"errors", "files", "figures", "significance", "types"},
}
MAY_IMPORT["results"] = {"errors", "files", "figures"}
MAY_IMPORT["steps"] = set(MAY_IMPORT)

#: The only homes of a library; any other one may be imported anywhere.
HOMES: dict[str, set[str]] = {
    "torch": {"models"},
    "torchvision": {"models"},
    "transformers": {"models"},
    "tokenizers": {"models"},
    "accelerate": {"models"},
    "safetensors": {"models"},
    "datasets": {"data"},
    "h5py": {"store"},
    "hdf5plugin": {"store"},
    "matplotlib": {"figures", "results"},
    "seaborn": {"figures"},
    "jinja2": {"report", "models"},
    "peft": {"models"},
    "snakemake": set(),
}
#: Tests of no single module.
NO_MIRROR = {"test_packaging.py", "test_architecture.py", "test_docs.py"}
NO_MIRROR |= {"workflow", "faults", "hostile", "slurm", "demo", "browser", "benchmarks"}
LARGEST = 18_000


def modules(root: Path) -> Iterator[tuple[str, ast.Module]]:
    """Dotted name below the package, and syntax tree, of every module; "" is the package itself."""
    for path in sorted(root.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
        yield ".".join(path.relative_to(root).with_suffix("").parts).removesuffix("__init__").rstrip("."), tree


def imported(tree: ast.Module) -> set[str]:
    """Names that a module imports, at the top or inside a function; `from a import b` gives a and a.b."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            found.update({base, *(f"{base}.{alias.name}" for alias in node.names)})
    return found


def is_step(tree: ast.Module) -> bool:
    """Whether the module runs as a program: it has `if __name__ == "__main__"`."""
    return any(isinstance(n, ast.If) and "__main__" in ast.unparse(n.test) for n in tree.body)


def problems(root: Path) -> list[str]:
    """What is wrong with the imports of the package in `root`, one line each."""
    trees = dict(modules(root))
    found = []
    for name, tree in trees.items():
        part = name.partition(".")[0]
        if part and part not in MAY_IMPORT:
            found.append(f"{name}: {part} has no place in MAY_IMPORT")
        for target in imported(tree):
            if target.startswith("."):
                found.append(f"{name}: a relative import, not followed by provenance")
            library, _, rest = target.partition(".")
            if library in HOMES and part not in HOMES[library]:
                found.append(f"{name}: imports {library}")
            if library != "culture_neurons" or not rest:
                continue
            other = rest.partition(".")[0]
            if other == "steps":
                if part != "steps":
                    found.append(f"{name}: imports a step")
                elif rest in trees and is_step(trees[rest]):
                    found.append(f"{name}: imports the step {rest}")
            elif other in MAY_IMPORT and other != part and other not in MAY_IMPORT.get(part, ()):
                found.append(f"{name}: imports {other}")
    return sorted(set(found))


def test_imports_run_one_way() -> None:
    assert problems(SRC) == []


def test_the_order_has_no_cycle() -> None:
    left = {name: set(parts) - {name} for name, parts in MAY_IMPORT.items()}
    while left:
        free = {name for name, parts in left.items() if not parts}
        assert free, f"a cycle among {sorted(left)}"
        left = {name: parts - free for name, parts in left.items() if name not in free}


@pytest.mark.parametrize(
    ("name", "source", "problem"),
    [
        ("types.py", "import torch", "types: imports torch"),
        ("data/table.py", "def read():\n    from torch import nn", "data.table: imports torch"),
        ("models/hooks.py", "import h5py", "models.hooks: imports h5py"),
        ("store.py", "import matplotlib.pyplot as plt", "store: imports matplotlib"),
        ("figures/style.py", "from snakemake.io import expand", "figures.style: imports snakemake"),
        ("selectors/lap.py", "from culture_neurons import store", "selectors.lap: imports store"),
        ("selectors/__init__.py", "from culture_neurons.selection import select", "selectors: imports selection"),
        ("data/__init__.py", "from . import table", "data: a relative import, not followed by provenance"),
        ("figures/style.py", "import culture_neurons.evaluation", "figures.style: imports evaluation"),
        ("selection.py", "from culture_neurons.steps import cli", "selection: imports a step"),
        ("steps/score.py", "from culture_neurons.steps.train import main", "steps.score: imports the step steps.train"),
        ("extra.py", "import json", "extra: extra has no place in MAY_IMPORT"),
    ],
)
def test_a_bad_import_is_noticed(tmp_path: Path, name: str, source: str, problem: str) -> None:
    good = {
        "__init__.py": "",
        "types.py": "import numpy",
        "models/__init__.py": "import torch",
        "store.py": "import h5py\nfrom culture_neurons.types import Statistics",
        "steps/__init__.py": "",
        "steps/cli.py": "from culture_neurons import __version__",
        "steps/train.py": "from culture_neurons.steps import cli\nfrom culture_neurons import models\n"
        "if __name__ == '__main__':\n    pass",
    }
    for path, text in good.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    assert problems(tmp_path) == []
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(source)
    assert problems(tmp_path) == [problem]


TREES = dict(modules(SRC))
STEPS = [name for name, tree in TREES.items() if name.startswith("steps.") and is_step(tree)]
#: Steps that need torch; all others have to run where it is not installed (envs/analysis.yaml).
WITH_A_MODEL = (
    "steps.ablate", "steps.ask_finetuned", "steps.attribute", "steps.calibrate", "steps.export_masks",
    "steps.finetune", "steps.import_masks", "steps.infer",
    "steps.infer_controls", "steps.record", "steps.train",
)  # fmt: skip


def python(code: str) -> str:
    """Run a program in a fresh interpreter; its output."""
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("step", STEPS)
def test_help_of_a_step_is_light(step: str) -> None:
    out = python(
        "import runpy, sys\n"
        "before = set(sys.modules)\n"
        "sys.argv = ['step', '--help']\n"
        "try:\n"
        f"    runpy.run_module('culture_neurons.{step}', run_name='__main__')\n"
        "except SystemExit as leave:\n"
        "    assert leave.code == 0, leave.code\n"
        "loaded = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print('others:', *sorted(loaded - set(sys.stdlib_module_names) - {'culture_neurons'}))\n"
    )
    assert "usage:" in out
    assert "--log" in out
    # The standard library and ourselves load in a tenth of a second; NumPy alone would double that.
    assert out.rstrip().splitlines()[-1] == "others:"


def test_steps_without_a_model_load_no_torch() -> None:
    # Each import statement that they could reach is run, those in functions too.
    without = [f"culture_neurons.{step}" for step in STEPS if step not in WITH_A_MODEL]
    assert len(without) == len(STEPS) - len(WITH_A_MODEL)
    sources = [path for path in provenance.closure(*without) if path.suffix == ".py"]
    nodes = [node for path in sources for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    lines = {ast.unparse(node) for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)}
    python(f"import sys\nfor line in {sorted(lines)}:\n    exec(line)\n    assert 'torch' not in sys.modules, line\n")


def test_every_step_has_its_two_functions() -> None:
    assert STEPS
    for step in STEPS:
        functions = {node.name for node in TREES[step].body if isinstance(node, ast.FunctionDef)}
        assert {"main", "arguments"} <= functions, step


def test_only_models_load_torch() -> None:
    names = [f"culture_neurons.{n}" for n in TREES if n and n.partition(".")[0] not in ("models", "steps")]
    python(
        "import importlib, sys\n"
        f"for name in {names}:\n"
        "    importlib.import_module(name)\n"
        "    assert 'torch' not in sys.modules, name\n"
    )


@pytest.mark.parametrize("name", [n or "culture_neurons" for n in TREES])
def test_every_module_says_what_it_is(name: str) -> None:
    assert ast.get_docstring(TREES["" if name == "culture_neurons" else name]), f"{name} has no docstring"


def test_modules_are_small() -> None:
    sizes = {str(p.relative_to(SRC)): p.stat().st_size for p in SRC.rglob("*.py")}
    assert {name: size for name, size in sizes.items() if size > LARGEST} == {}


def mirrored(test: Path, root: Path) -> bool:
    """Whether tests/a/test_b_c.py has a module a/b_c.py or a/b.py, or a folder; test_registry.py is of __init__.py."""
    if test.stem == "test_registry":
        return (root / test.parent / "__init__.py").is_file()
    parts = test.stem.removeprefix("test_").split("_")
    names = ["_".join(parts[:n]) for n in range(len(parts), 0, -1)]
    return any((root / test.parent / n).is_dir() or (root / test.parent / f"{n}.py").is_file() for n in names)


def test_tests_mirror_the_modules() -> None:
    tests = [p.relative_to(TESTS) for p in sorted(TESTS.rglob("test_*.py"))]
    assert [str(t) for t in tests if t.parts[0] not in NO_MIRROR and not mirrored(t, SRC)] == []


def test_a_test_of_nothing_is_noticed() -> None:
    assert mirrored(Path("data/test_prompts.py"), SRC)
    assert mirrored(Path("data/test_prompts_order.py"), SRC)
    assert mirrored(Path("test_selectors.py"), SRC)
    assert not mirrored(Path("test_prompts.py"), SRC)
    assert not mirrored(Path("data/test_nothing.py"), SRC)
