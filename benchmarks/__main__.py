"""Run benchmarks and write their table: `python -m benchmarks`, or with names for some of them."""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from pathlib import Path

from benchmarks.measure import machine, table

#: Name -> (title of its section, whether `make bench` runs it).
BENCHMARKS = {
    "recording": ("Recording", True),
    "ablation": ("Evaluating masks", True),
    "options": ("Answers by the texts of options", True),
    "attribution": ("Attributing units", True),
    "scaling": ("How time grows", True),
    "scoring": ("Scoring at full size", True),
    "stability": ("Stability at full size", True),
    "gpu": ("Qwen2.5-VL-7B at its true shapes, on a GPU", False),
}
HEAD = """# Results of the benchmarks

`make bench` writes the sections on a CPU, `make bench-gpu` the one on a GPU; a section that is run again takes the
place of the one before, and one that is missing has not been run. Times are medians of several runs, each next to its
reference in the same run; full-size scoring is one run.
"""


def main() -> int:
    """Run what the command line names; one that finds no GPU or no results to work on says so, and is left out."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(BENCHMARKS)}; default: all but gpu")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/RESULTS.md"), help="results file")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"unknown benchmark {unknown[0]!r}; known: {', '.join(BENCHMARKS)}")
    for name in options.names or [name for name, (_, usual) in BENCHMARKS.items() if usual]:
        print(f"{name} ...", file=sys.stderr, flush=True)
        rows = importlib.import_module(f"benchmarks.{name}").run()
        if not rows:
            continue
        text = f"Machine: {machine()}.\n\n{table(rows)}\n"
        print(text, flush=True)
        before = options.out.read_text(encoding="utf-8") if options.out.is_file() else HEAD
        options.out.write_text(with_section(before, BENCHMARKS[name][0], text), encoding="utf-8")
    return 0


def with_section(page: str, title: str, text: str) -> str:
    """`page` with this section in place of the one of the same title, or at the end."""
    section = f"## {title}\n\n{text.rstrip()}\n"
    old = re.search(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", page, flags=re.M | re.S)
    if old:
        return (page[: old.start()] + section + "\n" + page[old.end() :]).rstrip() + "\n"
    return f"{page.rstrip()}\n\n{section}"


if __name__ == "__main__":
    sys.exit(main())
