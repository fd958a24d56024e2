"""`--results FOLDER`: a step takes its arguments from the folder of a finished run, as its rule would give them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from culture_neurons.errors import CultureNeuronsError
from culture_neurons.steps import cli


def run(step: str, main: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser) -> None:
    """Run a step as `cli.run` does; arguments beside `--results` count more than what the folder says."""
    parser.add_argument(
        "--results", type=Path, metavar="FOLDER",
        help="the folder of a finished run: all other arguments are then taken from it, without Snakemake",
    )  # fmt: skip
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--results", type=Path)
    given, others = early.parse_known_args(sys.argv[1:])
    if given.results is not None:
        sys.argv[1:] = [*words(step, given.results), *others]
    cli.run(main, parser)


def words(step: str, folder: Path) -> list[str]:
    """The arguments of a step for a results folder. Leaves with 1 and a short message where it holds no run."""
    from culture_neurons.workflow import saved

    try:
        arguments, notes = saved.arguments(step, folder)
    except CultureNeuronsError as error:
        sys.exit(f"error: {error}")
    for note in notes:
        print(note, file=sys.stderr)
    return arguments
