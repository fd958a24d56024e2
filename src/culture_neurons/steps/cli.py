"""What every step shares: arguments, log, progress, provenance, and errors in one line."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from culture_neurons import __version__
from culture_neurons.errors import CultureNeuronsError
from culture_neurons.provenance import code_digest, packages

T = TypeVar("T")
log = logging.getLogger("culture_neurons")

#: Arguments that say where and how fast, not what: they stay out of the provenance.
_NOT_SCIENCE = {
    "log", "threads", "batch_size", "device_map", "shard", "shards", "mask_shard", "mask_shards", "check_sites",
    "reuse",
}  # fmt: skip


def parser(description: str) -> argparse.ArgumentParser:
    """An argument parser with the options that all steps have."""
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    result.add_argument("--log", type=Path, help="also write the log here")
    return result


def json_object(text: str) -> dict[str, Any]:
    """Argument type: a JSON object, as the workflow passes nested settings."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"no JSON ({error})") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"expected a JSON object, found {text[:60]!r}")
    return value


def provenance(
    step: str,
    arguments: argparse.Namespace,
    using: Sequence[str] = (),
    after: Mapping[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """What made a file: the step, its settings, the package version, the digest of its code, and versions of libraries.

    `using` names modules that the step chose by name, a selector's for example. `after` is the metadata
    of the file that the step read: `history` then says the same of the steps before.
    """
    if after and "step" in after:
        entry = {key: after[key] for key in ("code", "packages", "hardware") if key in after}
        more["history"] = {**after.get("history", {}), after["step"]: entry}
    settings = {k: v for k, v in sorted(vars(arguments).items()) if k not in _NOT_SCIENCE}
    settings = {k: v for k, v in settings.items() if not _holds_path(v)}
    modules = [f"culture_neurons.steps.{step}", *using]
    return {
        "step": step,
        "settings": settings,
        "version": __version__,
        "code": code_digest(*modules),
        "packages": packages(*modules),
        **more,
    }


def _holds_path(value: Any) -> bool:
    return isinstance(value, Path) or (isinstance(value, list) and any(isinstance(v, Path) for v in value))


def progress(
    items: Iterable[T], total: int, label: str, every: float = 15.0, size: Callable[[T], int] = lambda item: 1
) -> Iterator[T]:
    """Pass `items` on, with a bar on a terminal and a plain line now and then in a log.

    `size` says how many of the `total` an item is.
    """
    if sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm(total=total, desc=label, leave=False, dynamic_ncols=True) as bar:
            for item in items:
                yield item
                bar.update(size(item))
        return
    start = last = time.monotonic()
    done = 0
    for item in items:
        yield item
        done += size(item)
        now = time.monotonic()
        if now - last >= every:
            last = now
            log.info("%s: %d of %d (%.0f s left)", label, done, total, (now - start) / done * (total - done))


def _job(log_file: Path) -> str:
    """The name of a job, from its log: "demo-qwen2.5-vl/train" for results/demo/logs/demo-qwen2.5-vl/train.log."""
    parts = log_file.with_suffix("").parts
    return "/".join(parts[parts.index("logs") + 1 :] if "logs" in parts[:-1] else parts[-1:])


def run(main: Callable[[argparse.Namespace], None], arguments: argparse.ArgumentParser) -> None:
    """Parse the command line, run `main`, and leave with 1 and a short message on a user's error."""
    options = arguments.parse_args()
    terminal = logging.StreamHandler(sys.stderr)
    handlers: list[logging.Handler] = [terminal]
    if options.log:
        try:
            options.log.parent.mkdir(parents=True, exist_ok=True)
            handlers.append(logging.FileHandler(options.log, mode="w", encoding="utf-8"))
        except OSError as error:
            sys.exit(f"error: {options.log}: can't be written ({error.strerror})")
        # Jobs run side by side: on the terminal each line says whose it is.
        terminal.setFormatter(logging.Formatter(f"[{_job(options.log)}] %(message)s"))
    # A log that can't be written (the disk is full) is no reason to fill the terminal with tracebacks.
    logging.raiseExceptions = False
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=handlers)
    log.setLevel(os.environ.get("CULTURE_NEURONS_LOG", "INFO"))
    try:
        main(options)
    except CultureNeuronsError as error:
        log.error("error: %s", error)
        sys.exit(1)
    except Exception:
        log.exception("unexpected error; please report it with this text")
        sys.exit(1)
