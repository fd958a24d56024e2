"""The one rule of directions, and that nobody has a rule of their own."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

import culture_neurons
from culture_neurons.analysis.significance import HIGHER, LEVEL, LOWER, OPEN, direction

SRC = Path(culture_neurons.__file__).resolve().parent


@pytest.mark.parametrize(
    ("change", "p", "expected"),
    [
        (-5.0, 0.01, LOWER), (5.0, 0.01, HIGHER), (-5.0, LEVEL, OPEN), (5.0, 0.2, OPEN), (0.0, 0.01, OPEN),
        (-0.0, 0.0, OPEN), (np.nan, 0.01, OPEN), (-5.0, np.nan, OPEN), (-np.inf, 0.0, LOWER),
        (np.float32(-1), np.float64(0.049), LOWER),
    ],
)  # fmt: skip
def test_a_direction_needs_a_small_p_and_a_sign(change, p, expected):
    assert direction(change, p) == expected


def levels(tree: ast.AST) -> list[ast.Compare]:
    """Comparisons with the level of significance: by its name, or with a number that is one."""

    def is_level(node: ast.AST) -> bool:
        name = getattr(node, "id", getattr(node, "attr", ""))
        return name == "LEVEL" or (isinstance(node, ast.Constant) and node.value in (0.01, 0.05))

    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Compare)]
    return [node for node in nodes if any(map(is_level, [node.left, *node.comparators]))]


def test_nobody_else_compares_a_p_value_with_the_level():
    found = {}
    for path in sorted(SRC.rglob("*.py")):
        for node in levels(ast.parse(path.read_text(encoding="utf-8"))):
            # The least p that any arrangement of the masks can give is no p-value of an effect.
            if "least" not in ast.unparse(node.left):
                found.setdefault(str(path.relative_to(SRC)), []).append(ast.unparse(node))
    assert found == {"analysis/significance.py": ["float(p) < LEVEL"]}
    assert levels(ast.parse("sure = table['p_adjusted'] < 0.05"))
    assert levels(ast.parse("x = significance.LEVEL > p"))
