"""Which code made a file: the modules that a step imports, and a digest of them.

The workflow declares the import closure of a step as an input of its rule, so that an
edit to a module reruns exactly the rules that use it. Standard library only, and no
module of the package is imported: the sources are parsed.
"""

from __future__ import annotations

import ast
import hashlib
import platform
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path

PACKAGE = "culture_neurons"
ROOT = Path(__file__).resolve().parent
#: Part of no closure, since an edit of them changes no result: a table of names that imports nothing (what they name is
#: added where it is used: `closure(step, *selectors.modules(name))`), and what no rule asks for (`--results`).
NOT_IN_CLOSURE = {f"{PACKAGE}.selectors.registry", f"{PACKAGE}.workflow.saved"}
#: Libraries whose version can matter to a result: module -> name of its distribution.
LIBRARIES = {
    "PIL": "pillow", "accelerate": "accelerate", "datasets": "datasets", "gguf": "gguf", "h5py": "h5py",
    "numpy": "numpy", "pandas": "pandas", "peft": "peft", "pyarrow": "pyarrow", "scipy": "scipy",
    "tokenizers": "tokenizers", "torch": "torch", "transformers": "transformers",
}  # fmt: skip
#: Others of them that a library comes with, and that do some of its work.
_BROUGHT = {"pandas": {"numpy"}, "transformers": {"accelerate", "tokenizers"}}


def packages(*modules: str) -> dict[str, str]:
    """Versions of Python and of those LIBRARIES that `modules` and what they need import.

    Not those that this process happens to have loaded: a copy of another process has loaded more (tools/warm.py).
    """
    used = {name.partition(".")[0] for path in closure(*modules) if path.suffix == ".py" for name in _names(path)}
    used.update(*(_BROUGHT[module] for module in used & _BROUGHT.keys()))
    return {"python": platform.python_version()} | {
        name: _version(name) for module, name in LIBRARIES.items() if module in used
    }


#: What is installed, each read from its folder once.
_version = cache(version)


@cache
def _path(module: str) -> Path | None:
    """The source file of a module of the package, or None."""
    parts = module.split(".")
    if parts[0] != PACKAGE:
        return None
    base = ROOT.joinpath(*parts[1:])
    for candidate in (base / "__init__.py", base.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None


def _statements(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """All statements of a source, however deep. `ast.walk` visits every expression too, several times the work;
    and every start of Snakemake, of which a job on a cluster is one, asks for all closures.
    """
    for node in body:
        yield node
        for field in ("body", "orelse", "handlers", "finalbody", "cases"):
            yield from _statements(getattr(node, field, ()))


@cache
def _names(path: Path) -> frozenset[str]:
    """Names of all modules that a source file imports anywhere, and what it imports from them."""
    names: set[str] = set()
    for node in _statements(ast.parse(path.read_text(encoding="utf-8"), filename=str(path)).body):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(names)


@cache
def imports(module: str) -> frozenset[str]:
    """Modules of the package that `module` imports anywhere in its source, itself left out."""
    path = _path(module)
    if path is None:
        raise ModuleNotFoundError(module)
    modules = set(_names(path))
    # Importing a.b.c runs a and a.b too.
    for name in list(modules):
        parts = name.split(".")
        modules.update(".".join(parts[:i]) for i in range(1, len(parts)))
    return frozenset(name for name in modules if name != module and _path(name))


def closure(*modules: str) -> list[Path]:
    """Source files that `modules` need, directly or through others, sorted; their own among them.

    Templates that lie beside a module under the same name (`report/page/document.html.j2`) count as its source.
    """
    seen: set[str] = set()
    todo = [".".join(parts[:i]) for parts in (m.split(".") for m in modules) for i in range(1, len(parts) + 1)]
    while todo:
        name = todo.pop()
        if name not in seen and name not in NOT_IN_CLOSURE:
            seen.add(name)
            todo.extend(imports(name))
    return sorted(file for name in seen for file in _files(name))


@cache
def _files(module: str) -> list[Path]:
    """The source file of a module of the package, and the templates beside it."""
    path = _path(module)
    return [path, *path.parent.glob(f"{path.stem}.*.j2")]


@cache
def code_digest(*modules: str) -> str:
    """First 12 hexadecimal digits of the SHA-256 of the sources that `modules` need."""
    return _digest(closure(*modules))


def package_digest() -> str:
    """The same of all sources of the package."""
    return _digest(sorted([*ROOT.rglob("*.py"), *ROOT.rglob("*.j2")]))


def _digest(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]
