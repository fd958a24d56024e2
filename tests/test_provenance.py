from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from culture_neurons import provenance

SOURCES = {
    "__init__.py": "",
    "types.py": "import numpy",
    "errors.py": "",
    "store.py": "from culture_neurons import types\nimport culture_neurons.errors",
    "lonely.py": "x = 1",
    "figures/__init__.py": "from culture_neurons.figures.layers import plot",
    "figures/layers.py": "from culture_neurons import errors",
    "report.py": "import culture_neurons.figures as figures",
    "report.html.j2": "<html>",
    "reporting.html.j2": "<html>",
    "steps/__init__.py": "",
    "steps/cli.py": "from culture_neurons.errors import E",
    "steps/record.py": "from culture_neurons.steps import cli\ndef main():\n    from culture_neurons.store import x",
    "steps/report.py": "from culture_neurons.steps import cli\nfrom culture_neurons import report",
    "loop_a.py": "from culture_neurons import loop_b",
    "loop_b.py": "from culture_neurons import loop_a",
}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small package in place of ours."""
    for name, text in SOURCES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    forget()
    yield tmp_path
    forget()


def forget() -> None:
    for cached in ("_path", "_names", "imports", "_files", "code_digest"):
        getattr(provenance, cached).cache_clear()


def closure(module: str) -> set[str]:
    return {p.relative_to(provenance.ROOT).as_posix() for p in provenance.closure(f"culture_neurons.{module}")}


@pytest.mark.usefixtures("tree")
def test_packages_are_those_that_the_sources_import_whatever_this_process_has_loaded() -> None:
    import pandas  # noqa: F401

    assert set(provenance.packages("culture_neurons.steps.record")) == {"python", "numpy"}
    provenance.ROOT.joinpath("store.py").write_text("def read():\n    from transformers.models import auto")
    forget()
    assert set(provenance.packages("culture_neurons.steps.record")) == {
        "python", "accelerate", "tokenizers", "transformers",
    }  # fmt: skip


@pytest.mark.usefixtures("tree")
def test_closure_follows_imports_inside_functions() -> None:
    assert closure("steps.record") == {
        *("__init__.py", "errors.py", "store.py", "types.py"),
        *("steps/__init__.py", "steps/cli.py", "steps/record.py"),
    }


@pytest.mark.parametrize(
    "source",
    [
        "if x:\n    {}",
        "if x:\n    pass\nelse:\n    {}",
        "for x in y:\n    pass\nelse:\n    {}",
        "while x:\n    {}",
        "with x:\n    {}",
        "try:\n    {}\nfinally:\n    pass",
        "try:\n    pass\nexcept E:\n    {}",
        "try:\n    pass\nexcept E:\n    pass\nelse:\n    {}",
        "try:\n    pass\nfinally:\n    {}",
        "match x:\n    case 1:\n        {}",
        "class A:\n    async def f():\n        async with x:\n            {}",
    ],
)
def test_closure_follows_imports_in_every_kind_of_block(tree: Path, source: str) -> None:
    tree.joinpath("lonely.py").write_text(source.format("import culture_neurons.errors"))
    assert closure("lonely") == {"__init__.py", "errors.py", "lonely.py"}


@pytest.mark.usefixtures("tree")
def test_closure_has_packages_and_templates() -> None:
    expected = {
        *("__init__.py", "errors.py", "figures/__init__.py", "figures/layers.py"),
        *("report.py", "report.html.j2", "steps/__init__.py", "steps/cli.py", "steps/report.py"),
    }
    assert closure("steps.report") == expected


@pytest.mark.usefixtures("tree")
def test_closure_of_a_loop_ends() -> None:
    assert closure("loop_a") == {"__init__.py", "loop_a.py", "loop_b.py"}


@pytest.mark.usefixtures("tree")
def test_closure_is_sorted() -> None:
    found = provenance.closure("culture_neurons.steps.report")
    assert found == sorted(found)


@pytest.mark.usefixtures("tree")
def test_an_unknown_module_is_an_error() -> None:
    with pytest.raises(ModuleNotFoundError):
        provenance.closure("culture_neurons.steps.none")


@pytest.mark.parametrize(
    ("edited", "changes"),
    [
        ("steps/record.py", True),
        ("store.py", True),
        ("errors.py", True),
        ("figures/layers.py", False),
        ("lonely.py", False),
        ("report.html.j2", False),
    ],
)
def test_digest_changes_with_the_code_of_the_step_only(tree: Path, edited: str, changes: bool) -> None:
    before = provenance.code_digest("culture_neurons.steps.record")
    (tree / edited).write_text(SOURCES[edited] + "\n# edited\n")
    forget()
    assert (provenance.code_digest("culture_neurons.steps.record") != before) is changes


def test_digest_does_not_depend_on_the_place(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = provenance.code_digest("culture_neurons.steps.report")
    moved = tree.parent / f"{tree.name}-moved"
    tree.rename(moved)
    monkeypatch.setattr(provenance, "ROOT", moved)
    forget()
    assert provenance.code_digest("culture_neurons.steps.report") == before
    assert len(before) == 12


@pytest.mark.parametrize("module", ["culture_neurons.types", "culture_neurons.files", "culture_neurons.steps.cli"])
def test_closure_holds_all_that_an_import_loads(module: str) -> None:
    # The parsed closure against what Python really loads.
    code = (
        f"import importlib, sys\nimportlib.import_module({module!r})\n"
        "print(*(m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'culture_neurons'), sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = {Path(line).resolve() for line in done.stdout.split("\n") if line}
    assert loaded
    assert loaded <= set(provenance.closure(module))
