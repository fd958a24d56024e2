"""Benchmarks of texts with broken cells, broken files and odd settings: the step works, or says briefly why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from tests.data.benchmarks.conftest import KINDS, blend, hard
from tests.hostile.conftest import cases, cells
from tests.hostile.test_sources import as_parquet, mangled, odd, place, prepared, quiet

__all__ = ["place", "quiet"]  # fixtures

specs = st.fixed_dictionaries({}, optional={
    "templates": st.lists(st.sampled_from(["{question}", "{", "{0}", "{a\n}", "{question[0]}", "x"]) | cells),
    "control": st.booleans() | cells, "control_template": cells, "seed": st.integers() | cells, "per_question": cells,
    "topics": cells, "config": st.sampled_from(["CulturalBench-Hard", "qnli"]) | cells, "path": st.just("in\0") | cells,
    "split": cells, "revision": cells, "more": cells,
})  # fmt: skip


@st.composite
def tables(draw: Any) -> tuple[str, str, bytes]:
    """A benchmark, the name of a file, and its bytes: rows of which some cells are anything."""
    kind = draw(st.sampled_from(sorted(KINDS)))
    rows = KINDS[kind][0](12)[0]
    for _ in range(draw(st.integers(0, 6))):
        row, name = draw(st.integers(0, len(rows) - 1)), draw(st.sampled_from(sorted(rows[0])))
        rows[row][name] = draw(cells)
    suffix = draw(st.sampled_from(["json", "jsonl", "parquet"]))
    content = as_parquet(rows) if suffix == "parquet" else written(rows, suffix)
    return kind, f"rows.{suffix}", draw(mangled(content)) if draw(odd) else content


def written(rows: list[dict[str, Any]], suffix: str) -> bytes:
    text = json.dumps(rows) if suffix == "json" else "".join(json.dumps(row) + "\n" for row in rows)
    return text.encode("utf-8", "surrogatepass")


@cases("benchmarks")
@given(tables(), odd, specs)
@example(("blend", "rows.json", written(blend(12)[0], "json")), False, {})
@example(("hard", "rows.jsonl", written(hard(12)[0], "jsonl")), True, {"config": "CulturalBench-Hard"})
def test_benchmarks(place: Path, table: tuple[str, str, bytes], other: bool, spec: dict[str, Any]) -> None:
    kind, name, content = table
    (place / "in" / name).write_bytes(content)
    good = KINDS[kind][1] | {"path": str(place / "in" / name)}
    prepared(place, good | (spec if other else {}), {})
