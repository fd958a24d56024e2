"""Files between steps that are damaged anywhere: found, or nothing that is read has changed. See damage.py."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.hostile.conftest import DAMAGES_NOW

#: What is read of a file; not every byte of an HDF5 file is, nor of the file of samples when labels are looked up.
READERS = {"samples", "predictions", "mask", "labels", "shard", "merge", "merged", "scores"}


def test_damage_is_found(tmp_path: Path) -> None:
    # In a process of its own: readers of damaged files could crash, which would be seen here.
    command = [sys.executable, str(Path(__file__).with_name("damage.py")), str(tmp_path), str(DAMAGES_NOW)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    counts = json.loads(done.stdout)
    assert set(counts) == READERS
    for name, count in counts.items():
        assert set(count) <= {"found", "same", "where"}, (name, count)
        assert count["found"] > DAMAGES_NOW / 4, (name, count)
        if name in ("samples", "predictions", "mask"):
            assert count["found"] > 0.95 * DAMAGES_NOW - 1, (name, count)  # the first four bytes are read by nobody
