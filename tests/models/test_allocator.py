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
    y = x + 1; z = y * 2; w = z - 1; del y, z, w
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(400):
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


IN_A_THREAD = """
import resource, sys, threading
import numpy as np
from culture_neurons.models.allocator import keep_freed_memory
assert keep_freed_memory(in_threads=sys.argv[1] == "kept")

def work(n):
    x = np.ones(1 << 24)
    for _ in range(n):
        y = x + 1; z = y * 2; del y, z

def once(n):
    thread = threading.Thread(target=work, args=(n,))
    thread.start()
    thread.join()

once(2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
once(10)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_threads_use_freed_arrays_again_too():
    faults = {}
    for how in ("first thread", "kept"):
        done = subprocess.run([sys.executable, "-c", IN_A_THREAD, how], capture_output=True, text=True, check=True)
        faults[how] = int(done.stdout)
    assert faults["kept"] < faults["first thread"] / 4
