import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
from culture_neurons.models.allocator import keep_freed_memory
import torch
torch.set_num_threads(1)
if sys.argv[1] == "kept":
    assert keep_freed_memory()
x = torch.ones(1 << 20)
for _ in range(3):
    y = x + 1; z = y * 2; del y, z
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    y = x + 1; z = y * 2; w = z - 1; del y, z, w
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_freed_tensors_are_used_again_without_asking_the_kernel():
    faults = {}
    for how in ("default", "kept"):
        done = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
        faults[how] = int(done.stdout)
    assert faults["kept"] < faults["default"] / 4
