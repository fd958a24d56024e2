"""The layout of the package: imports run one way, and each heavy library has one home."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import culture_neurons
from culture_neurons import provenance

SRC = Path(culture_neurons.__file__).resolve().parent
ROOT = Path(__file__).resolve().parents[1]
TESTS = Path(__file__).resolve().parent

#: Tests of no single module.
NO_MIRROR = {"test_packaging.py", "test_architecture.py", "test_docs.py"}
NO_MIRROR |= {"families", "pipeline", "faults", "hostile", "slurm", "demo", "browser", "benchmarks", "tools"}
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


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Hold the package in `folder` against the contracts of pyproject.toml."""
    program = "from importlinter.cli import lint_imports_command as run; run()"
    command = [sys.executable, "-c", program, "--no-cache", str(ROOT / "pyproject.toml")]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)


#: Module, what is added to it, and what the check says of it then.
BAD = [
    ("analysis/chance.py", "from culture_neurons.report import words", "analysis is not allowed to import"),
    ("data/tabular.py", "def read():\n    from torch import nn", "data is not allowed to import torch"),
    ("models/hooks.py", "import h5py", "models is not allowed to import h5py"),
    ("selectors/lap.py", "from culture_neurons import store", "selectors is not allowed to import"),
    ("report/words.py", "from snakemake.io import expand", "is not allowed to import snakemake"),
]
#: A module in no room is noticed before what others import.
ROOMLESS = [("extra.py", "import json", "extra")]


@pytest.mark.workflow
@pytest.mark.parametrize("bad", [BAD, ROOMLESS], ids=["imports", "no room"])
def test_a_bad_import_is_noticed(tmp_path: Path, bad: list[tuple[str, str, str]]) -> None:
    copy = tmp_path / "culture_neurons"
    shutil.copytree(SRC, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for name, source, _ in bad:
        with (copy / name).open("a") as stream:
            stream.write(f"\n{source}\n")
    done = lint(tmp_path)
    assert done.returncode == 1
    assert [said for _, _, said in bad if said not in done.stdout] == []


def test_imports_go_one_way() -> None:
    done = lint(SRC.parent)
    assert done.returncode == 0, done.stdout


#: Steps that need torch; all others have to run where it is not installed (envs/analysis.yaml).
WITH_A_MODEL = (
    "steps.ablate", "steps.attribute", "steps.calibrate", "steps.convert_gguf", "steps.export_masks",
    "steps.finetune", "steps.import_masks", "steps.infer", "steps.infer_finetuned", "steps.infer_image_controls",
    "steps.plant", "steps.record", "steps.train", "steps.train_eye", "steps.transfer",
)  # fmt: skip


@cache
def trees() -> dict[str, ast.Module]:
    """The syntax trees of all modules: parsed where a test asks for them, not while tests are collected."""
    return dict(modules(SRC))


def steps() -> list[str]:
    return [name for name, tree in trees().items() if name.startswith("steps.") and is_step(tree)]


def python(code: str) -> str:
    """Run a program in a fresh interpreter; its output."""
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_help_of_all_steps_is_light() -> None:
    # One process for all of them: what a step loads is blamed on the first that loads it.
    out = python(
        "import contextlib, io, runpy, sys\n"
        "before = set(sys.modules)\n"
        f"for step in {steps()}:\n"
        "    sys.argv = ['step', '--help']\n"
        "    with contextlib.redirect_stdout(io.StringIO()) as said:\n"
        "        try:\n"
        "            runpy.run_module(f'culture_neurons.{step}', run_name='__main__')\n"
        "        except SystemExit as leave:\n"
        "            assert leave.code == 0, (step, leave.code)\n"
        "    assert 'usage:' in said.getvalue() and '--log' in said.getvalue(), step\n"
        "    loaded = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "    before = set(sys.modules)\n"
        "    print(step, *sorted(loaded - set(sys.stdlib_module_names) - {'culture_neurons'}))\n"
    )
    # The standard library and ourselves load in a tenth of a second; NumPy alone would double that.
    assert out.splitlines() == steps()


@pytest.mark.workflow
def test_only_models_and_their_steps_load_torch() -> None:
    names = [f"culture_neurons.{n}" for n in trees() if n and n.partition(".")[0] not in ("models", "steps")]
    # Of the other steps, each import statement that they could reach is run, those in functions too. All in one
    # process: what they load beside torch takes seconds.
    without = [f"culture_neurons.{step}" for step in steps() if step not in WITH_A_MODEL]
    assert len(without) == len(steps()) - len(WITH_A_MODEL)
    sources = [path for path in provenance.closure(*without) if path.suffix == ".py"]
    nodes = [node for path in sources for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    lines = {ast.unparse(node) for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)}
    lines = [f"import {name}" for name in names] + sorted(lines)
    python(f"import sys\nfor line in {lines}:\n    exec(line)\n    assert 'torch' not in sys.modules, line\n")


def test_no_module_imports_relatively_or_a_step() -> None:
    # `provenance` follows absolute imports alone; a step is a program.
    for name, tree in trees().items():
        targets = imported(tree)
        assert not [target for target in targets if target.startswith(".")], name
        assert not targets & {f"culture_neurons.{step}" for step in steps()}, name


def test_every_step_has_its_two_functions() -> None:
    assert steps()
    for step in steps():
        functions = {node.name for node in trees()[step].body if isinstance(node, ast.FunctionDef)}
        assert {"main", "arguments"} <= functions, step


def test_every_module_says_what_it_is() -> None:
    assert len(trees()) > 100
    assert [name for name, tree in trees().items() if not ast.get_docstring(tree)] == []


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


RULES = {
    name: block
    for path in sorted((ROOT / "workflow/rules").glob("*.smk"))
    for name, block in re.findall(r"^rule (\w+):\n((?:    .*\n|\n)+)", path.read_text(encoding="utf-8"), re.M)
}
#: Programs for users that no rule runs.
NO_RULE = {"export_masks"}


def test_a_rule_its_step_its_log_and_its_provenance_have_one_name() -> None:
    assert {name.removeprefix("steps.") for name in steps()} == RULES.keys() | NO_RULE
    for name, block in RULES.items():
        assert re.findall(r"culture_neurons\.steps\.(\w+)", block) == [name]
        logs = re.findall(rf'[CF]\("(?:log|benchmark)", job="(?:{{model}}/)?(?:{{of}})?{name}(?:_|")', block)
        assert len(logs) in (1, 2), name
        assert set(re.findall(r'cli\.provenance\(\s*"(\w+)"', (SRC / f"steps/{name}.py").read_text())) <= {name}


def test_rules_hold_no_paths_and_state_what_their_jobs_ask_for() -> None:
    for name, block in RULES.items():
        assert "results/" not in block, name
        assert "{of}/" not in block, name
        asked = "**cpu(minutes=" in block or "**model_job(minutes=" in block
        assert asked or "localrule: True" in block, name
    common = (ROOT / "workflow/rules/common.smk").read_text(encoding="utf-8")
    assert len(common.splitlines()) <= 60
