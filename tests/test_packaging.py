"""pyproject.toml, the locks and the conda environments agree with each other and with the code."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from rattler import MatchSpec

from culture_neurons import __version__, provenance

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
RUNTIME = {canonicalize_name(r.name): r for r in map(Requirement, PROJECT["dependencies"])}
VISION = {Requirement(r).name for r in PROJECT["optional-dependencies"]["vision"]}
EXTRA = [Requirement(r) for extra in PROJECT["optional-dependencies"].values() for r in extra]
ENVS = sorted((ROOT / "envs").glob("*.yaml"))
RULES = sorted((ROOT / "workflow" / "rules").glob("*.smk"))

#: Names on conda-forge that differ from those on PyPI.
CONDA_NAMES = {"pytorch": "torch", "huggingface_hub": "huggingface-hub"}
#: Versions that are known to exist on conda-forge; every other pin must say that it is not confirmed.
CONFIRMED = {
    "accelerate": "1.13.0",
    "datasets": "5.0.0",
    "h5py": "3.16.0",
    "hdf5plugin": "6.0.0",
    "matplotlib": "3.11.0",
    "numpy": "2.4.6",
    "pandas": "3.0.3",
    "pillow": "12.0.0",
    "pytorch": "2.13.0",
    "scipy": "1.17.1",
    "seaborn": "0.13.2",
    "torchvision": "0.28.0",
    "transformers": "5.15.1",
}
UNCONFIRMED = "# not yet confirmed on conda-forge"
#: Dependencies that no module imports by name, and why they are needed all the same.
NOT_IMPORTED = {
    "accelerate": "transformers' device_map",
    "snakemake": "runs the steps",
}


def pins(name: str) -> dict[str, Requirement]:
    """The requirements of a lock file by canonical name, their hashes left out."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [re.sub(r"\s--hash=\S+", "", line).strip() for line in text.splitlines()]
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(r.name): r for r in found}


def pinned(requirement: Requirement) -> str:
    (specifier,) = requirement.specifier
    assert specifier.operator == "=="
    return specifier.version


LOCK = pins("requirements.lock")
TORCH = pins("requirements-torch.lock")
VERSIONS = {name: pinned(r) for name, r in (LOCK | TORCH).items()}


def conda_lines(env: Path) -> list[tuple[str, str]]:
    """The match specs of an environment file, each with the comment behind it."""
    text = env.read_text(encoding="utf-8").split("dependencies:\n")[1]
    specs = yaml.safe_load(text)
    comments = [line.partition("  #")[1:] for line in text.splitlines()]
    return [(spec, "".join(c).strip()) for spec, c in zip(specs, comments, strict=True)]


@cache
def third_party(path: Path) -> frozenset[str]:
    """Top-level modules that a source file imports, the standard library and the package itself left out."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return frozenset(found) - set(sys.stdlib_module_names) - {"culture_neurons"}


def distributions(modules: set[str]) -> set[str]:
    """The packages that the modules come from."""
    known = packages_distributions()
    return {canonicalize_name(known[m][0]) if m in known else m for m in modules}


def environments_of_steps() -> dict[str, str]:
    """For each step of the workflow, the name of its rule's conda environment."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in RULES)
    found = {}
    for block in re.split(r"(?m)^(?:rule|checkpoint) ", text)[1:]:
        step = re.search(r"python -m culture_neurons\.steps\.(\w+)", block)
        env = re.search(r"envs/(\w+)\.yaml", block)
        if step:
            assert env, f"the rule of step {step[1]} names no environment"
            found[step[1]] = env[1]
    return found


@pytest.mark.parametrize("requirement", [*RUNTIME.values(), *EXTRA], ids=lambda r: r.name)
def test_the_lock_satisfies_the_range(requirement: Requirement) -> None:
    assert requirement.specifier.contains(VERSIONS[canonicalize_name(requirement.name)])
    assert requirement.specifier, "a direct dependency has a range"


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-torch.lock"])
def test_locks_name_no_index(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"(?m)^\s*-", text.replace("    --hash=sha256:", "")), "an option of pip in the lock"


def test_every_package_of_the_lock_has_hashes() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    entries = [e for e in re.split(r"(?m)^(?=[a-z0-9])", text) if not e.startswith("#")]
    assert len(entries) == len(LOCK)
    for entry in entries:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry), entry


def test_the_builds_of_torch_are_apart() -> None:
    assert "torch" in TORCH
    assert not set(LOCK) & set(TORCH)
    assert not [n for n in LOCK if n.startswith(("nvidia", "cuda", "triton"))]


def test_torchvision_is_in_step_with_torch() -> None:
    """torchvision 0.(n + 15) goes with torch 2.n; the environment of models has it, and no other."""
    torch, vision = VERSIONS["torch"].split("."), VERSIONS["torchvision"].split(".")
    assert int(vision[1]) == int(torch[1]) + 15
    has = {e.stem for e in ENVS if any(spec.startswith("torchvision ") for spec, _ in conda_lines(e))}
    assert has == {"model"}


def test_envs_are_those_of_the_rules() -> None:
    assert {e.stem for e in ENVS} == {"data", "model", "analysis", "figures"}
    assert set(environments_of_steps().values()) == {e.stem for e in ENVS}


@pytest.mark.parametrize("env", ENVS, ids=lambda e: e.stem)
def test_env_pins_equal_the_lock(env: Path) -> None:
    content = yaml.safe_load(env.read_text(encoding="utf-8"))
    assert content["channels"] == ["conda-forge", "nodefaults"]
    assert set(content) == {"channels", "dependencies"}
    lines = conda_lines(env)
    assert [spec for spec, _ in lines] == content["dependencies"]
    assert lines[0] == ("python =3.11", "")
    assert [s for s, _ in lines[1:]] == sorted(s for s, _ in lines[1:])
    for spec, comment in lines[1:]:
        name, _, number = spec.partition(" ==")
        pypi = CONDA_NAMES.get(name, name)
        assert number == VERSIONS[pypi], spec
        assert pypi in RUNTIME.keys() | VISION, f"{spec} is no dependency of the project"
        assert comment == ("" if CONFIRMED.get(name) == number else UNCONFIRMED), spec


@pytest.mark.parametrize("env", ENVS, ids=lambda e: e.stem)
def test_conda_lines_are_match_specs(env: Path) -> None:
    for spec, _ in conda_lines(env):
        parsed = MatchSpec(spec, strict=True)
        assert parsed.name is not None
        assert parsed.version, f"{spec} pins nothing"


def test_a_bad_match_spec_is_noticed() -> None:
    with pytest.raises(Exception, match="version spec"):
        MatchSpec("pytorch = = 2", strict=True)


def test_python_of_envs_and_project_agree() -> None:
    assert SpecifierSet(PROJECT["requires-python"]).contains("3.11")
    assert not SpecifierSet(PROJECT["requires-python"]).contains("3.10")


def test_imports_are_declared() -> None:
    imported = {m for p in (ROOT / "src").rglob("*.py") for m in third_party(p)}
    assert distributions(imported) <= set(RUNTIME)
    assert set(RUNTIME) - distributions(imported) == set(NOT_IMPORTED)


@pytest.mark.workflow
def test_imports_of_a_step_are_in_its_environment() -> None:
    steps = environments_of_steps()
    assert steps
    for step, env in steps.items():
        files = [p for p in provenance.closure(f"culture_neurons.steps.{step}") if p.suffix == ".py"]
        needed = distributions({m for p in files for m in third_party(p)})
        there = {CONDA_NAMES.get(s.split()[0], s.split()[0]) for s, _ in conda_lines(ROOT / "envs" / f"{env}.yaml")}
        assert needed <= there, f"step {step} imports what envs/{env}.yaml lacks: {sorted(needed - there)}"


def test_tests_need_only_the_test_extra() -> None:
    known = {canonicalize_name(r.name) for r in EXTRA} | set(RUNTIME)
    imported = {m for p in (ROOT / "tests").rglob("*.py") for m in third_party(p)}
    local = {p.stem for p in (ROOT / "tests").rglob("*.py")} | {p.name for p in (ROOT / "tests").iterdir()} | {"tests"}
    assert distributions(imported - local) <= known


def test_one_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    assert PROJECT["dynamic"] == ["version"], "pyproject.toml takes the version of the package"
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"(?m)^## \[{re.escape(__version__)}\]", changes)


def test_citation_names_the_sources() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["license"] == PROJECT["license"] == "MIT"
    numbers = {i["value"] for r in citation["references"] for i in r["identifiers"]}
    code = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "src").rglob("*") if p.suffix in (".py", ".j2"))
    assert numbers == {f"arXiv:{number}" for number in re.findall(r"arXiv\s+(\d{4}\.\d{5})", code)}


def test_profiles_that_are_named_exist() -> None:
    texts = [ROOT / "pyproject.toml", ROOT / "Makefile", *ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    named = {m for p in texts for m in re.findall(r"--profile[ =]([\w./-]*\w)", p.read_text(encoding="utf-8"))}
    assert [name for name in named if not any((ROOT / folder / name).is_dir() for folder in ("", "profiles"))] == []


def tool(name: str) -> ModuleType:
    """A program of tools/, as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_lock_is_split_by_builds_of_torch() -> None:
    compiled = (
        "numpy==2.4.6 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"
        "nvidia-cublas==13.1 ; sys_platform == 'linux' \\\n    --hash=sha256:cc\n"
        "torch==2.13.0 \\\n    --hash=sha256:dd\n"
        "torchvision==0.28.0 \\\n    --hash=sha256:ff\n"
        "torchmetrics==1.0 \\\n    --hash=sha256:ee\n"
    )
    locked, builds = tool("lock").split(compiled)
    assert builds == ["nvidia-cublas==13.1 ; sys_platform == 'linux'", "torch==2.13.0", "torchvision==0.28.0"]
    assert "\n".join(locked) == (
        "numpy==2.4.6 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\ntorchmetrics==1.0 \\\n    --hash=sha256:ee"
    )


def test_set_up_is_due_when_a_file_changes_and_only_then(tmp_path: Path) -> None:
    set_up = tool("set_up")
    for name in set_up.KEYS:
        (tmp_path / name).write_text("old")
    before = set_up.digest(tmp_path)
    for name in set_up.KEYS:
        (tmp_path / name).touch()
        assert set_up.digest(tmp_path) == before
        (tmp_path / name).write_text("new")
        assert set_up.digest(tmp_path) != before
        (tmp_path / name).write_text("old")
    assert set(set_up.KEYS) == {"pyproject.toml", *(p.name for p in ROOT.glob("requirements*.lock"))}


def test_targets_of_make() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"(?m)^([a-z-]+):", text))
    (phony,) = re.findall(r"(?m)^\.PHONY: (.*)$", text)
    assert targets == set(phony.split())
    assert targets >= {"demo", "test", "lint", "figures", "clean", "check-demo", "demo-control", "check-demo-control"}
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    called = {*re.findall(r"(?m)^make (\S+)", ci), *re.findall(r"@echo 'make (\S+)", text)}
    assert {"test", "demo", "help"} & called == {"test", "demo"}
    assert called <= targets


def test_every_demo_says_where_its_report_is() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    found = re.findall(r'(?m)^(demo[a-z-]*): setup\n\t(.+)\n\t@echo "The report is at (\S+)"$', text)
    assert {target for target, _, _ in found} == {"demo", "demo-control", "demo-all", "demo-real"}
    for target, command, report in found:
        name = (re.findall(r"--configfile (\S+)", command) or ["config.yaml"])[0]
        dataset = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))["dataset"]
        assert report == f"results/{dataset}/report.html", target


def test_every_demo_that_continuous_integration_runs_is_checked() -> None:
    called = re.findall(r"(?m)^make (\S+)", (ROOT / ".ci" / "run").read_text(encoding="utf-8"))
    demos = [target for target in called if target.startswith("demo")]
    assert demos == ["demo", "demo-control"]
    for target in demos:
        assert called.index(target) < called.index(f"check-{target}")
