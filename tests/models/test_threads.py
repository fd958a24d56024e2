from __future__ import annotations

import os
import subprocess
import sys

#: What OpenMP would use in a thread of the pool, and in one of a plain pool, where PyTorch may use one.
ASK = """
import ctypes
from concurrent.futures import ThreadPoolExecutor
import torch
from culture_neurons.models.threads import pool
(library,) = {line.split()[-1] for line in open("/proc/self/maps") if "libgomp" in line}
threads_of_openmp = ctypes.CDLL(library).omp_get_max_threads
torch.set_num_threads(1)
for make in (pool, ThreadPoolExecutor):
    with make(1) as threads:
        print(threads.submit(threads_of_openmp).result())
"""


def test_threads_of_a_pool_take_no_further_ones():
    # In a process of its own: how many threads OpenMP starts with is read from the environment, once.
    env = os.environ | {"OMP_NUM_THREADS": "3"}
    printed = subprocess.run([sys.executable, "-c", ASK], env=env, check=True, capture_output=True, text=True).stdout
    assert printed.split() == ["1", "3"]
