"""Jobs of a run by rule, as Snakemake itself counts them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from culture_neurons.errors import ConfigError


def count(config: Mapping[str, Any], snakefile: Path) -> dict[str, int]:
    """Jobs per rule of a run from nothing to the report. Raises ConfigError with Snakemake's words when it refuses."""
    if not config.get("evaluation", {}).get("sets"):  # of what the schema fills in, the check would refuse some
        config = {**config, "evaluation": {"sets": {}}}
    with TemporaryDirectory() as folder:
        settings = Path(folder) / "config.json"
        settings.write_text(json.dumps(config), encoding="utf-8")
        command = [
            *(sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), "--configfile", str(settings)),
            *("--dry-run", "--forceall", "--quiet", "rules", "--nolock", "all"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(f"jobs can't be counted: {done.stderr.strip() or done.stdout.strip()}")
    return parse(done.stdout + done.stderr)


def parse(text: str) -> dict[str, int]:
    """The table of Snakemake's "Job stats", without the target and the total."""
    rows = re.findall(r"^(\w+) +([0-9]+)$", text.partition("Job stats:")[2], re.MULTILINE)
    return {rule: int(number) for rule, number in rows if rule not in ("all", "total")}
