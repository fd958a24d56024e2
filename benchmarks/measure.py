"""How benchmarks measure: interleaved runs, medians, slopes, peak memory, and what machine it was."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Row:
    """One line of a results table."""

    name: str
    value: float
    unit: str
    note: str = ""


def seconds(function: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def interleaved(functions: Mapping[str, Callable[[], float]], runs: int = 5) -> dict[str, list[float]]:
    """What each function returns (seconds, as a rule), `runs` times, in turn: drift of the machine hits all alike.

    One run of each comes before and is not counted.
    """
    for function in functions.values():
        function()
    found: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(runs):
        for name, function in functions.items():
            found[name].append(function())
    return found


def ratios(found: Mapping[str, Sequence[float]], of: str, to: str) -> tuple[float, float, float]:
    """Median, smallest and largest of the ratios `of` / `to`, each of two neighbouring runs."""
    values = [a / b for a, b in zip(found[of], found[to], strict=True)]
    return statistics.median(values), min(values), max(values)


def slope(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Slope and intercept of the least-squares line."""
    a, b = np.polyfit(np.asarray(x, float), np.asarray(y, float), 1)
    return float(a), float(b)


def peak_memory(command: Sequence[str]) -> tuple[float, float]:
    """Wall-clock seconds and peak resident memory (GB) of a command. Raises CalledProcessError when it fails."""
    # Through a small process: a child's peak counts what its parent held when it was started.
    with tempfile.NamedTemporaryFile() as told:
        done = subprocess.run([sys.executable, "-S", "-c", _STARTER, told.name, *command], check=False)
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, command)
        taken, peak = map(float, Path(told.name).read_text(encoding="utf-8").split())
    return taken, peak


#: Runs a command and writes its seconds and its peak (GB; the kernel counts in kB) to a file.
_STARTER = """
import os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(process.pid, 0)
with open(sys.argv[1], "w") as told:
    told.write(f"{time.perf_counter() - start} {usage.ru_maxrss / 1e6}")
os._exit(os.waitstatus_to_exitcode(status) and 1)
"""


def own_peak() -> float:
    """Peak resident memory of this process so far, GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def machine() -> str:
    """The machine in a line: processor, cores, memory, system, versions."""
    import torch
    import transformers

    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ", no GPU"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB{gpu}; {platform.system()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__}"
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if sys.platform.startswith("linux") and info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def table(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table."""
    lines = ["| what | value | note |", "|---|---:|---|"]
    return "\n".join(lines + [f"| {row.name} | {number(row.value)} {row.unit} | {row.note} |" for row in rows])


def number(value: float) -> str:
    """Three significant digits, no exponent."""
    digits = 0 if value == 0 else max(0, 2 - int(np.floor(np.log10(abs(value)))))
    return f"{value:,.{digits}f}"
