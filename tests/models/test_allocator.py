import json
import subprocess
import sys

import pytest

# What a process has of the kernel is asked of the kernel, in bytes. Page faults would not do: their number depends
# on the size of pages, which the kernel chooses.
HELD = """
import json, os, sys, threading
import numpy as np
import torch
from culture_neurons.models.allocator import keep_freed_memory

def held():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def in_a_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

def tensors():
    x = torch.ones(SIZE // 4)
    y = x + 1
    del x, y

def arrays():
    x = np.ones(SIZE // 8)
    y = x + 1
    del x, y

def once():
    in_a_thread(arrays) if how.startswith("thread") else tensors()

torch.set_num_threads(1)
SIZE = 80 << 20  # more than glibc keeps by default, and than a thread's own heap takes

def measure():
    if how == "kept":
        assert keep_freed_memory()
    if how.startswith("thread"):
        assert keep_freed_memory(in_threads=how == "thread, kept")
    before = held()
    once()
    first = held()
    if "kept" not in how:
        return (first - before) / SIZE, None
    # glibc before 2.38 needs some rounds: it fits no aligned block into a freed one of just its size.
    for _ in range(10):
        once()
    settled = held()
    for _ in range(10):
        once()
    return (first - before) / SIZE, (held() - settled) / SIZE

# A process of its own for each way, copied from this one: to load torch takes longer than to measure.
for how in sys.argv[1:]:
    sys.stdout.flush()
    if os.fork() == 0:
        print(json.dumps([how, *measure()]), flush=True)
        os._exit(0)
    assert os.wait()[1] == 0
"""

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")


@pytest.mark.workflow
@linux
def test_memory_of_freed_arrays_is_kept_and_used_again():
    """What the process holds after two arrays of one size were made and freed, in that size; and what more after
    ten such rounds, when it has done ten before."""
    ways = ("default", "kept", "thread", "thread, kept")
    done = subprocess.run([sys.executable, "-c", HELD, *ways], capture_output=True, text=True, check=True)
    held = {how: values for how, *values in map(json.loads, done.stdout.splitlines())}
    for without, kept_by in (("default", "kept"), ("thread", "thread, kept")):
        assert held[without][0] < 0.5
        first, more = held[kept_by]
        assert first > 1.9
        assert more < 5  # ten rounds take 20
