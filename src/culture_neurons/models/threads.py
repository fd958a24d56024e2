"""Threads in which PyTorch computes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch


def pool(number: int) -> ThreadPoolExecutor:
    """Threads in each of which PyTorch uses as many threads as it may use here (`torch.set_num_threads`).

    A new thread learns that number by its first operation that asks for it. Until then a product of matrices takes as
    many threads as the machine has cores, and adds up in another order: the same training gave other models.
    """
    return ThreadPoolExecutor(number, initializer=torch.get_num_threads)
