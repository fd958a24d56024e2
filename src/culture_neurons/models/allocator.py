"""The C library's allocator, set up for tensors that come and go."""

from __future__ import annotations

import ctypes
import sys

#: Numbers of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8


def keep_freed_memory(in_threads: bool = False) -> bool:
    """Let this process keep the memory of freed tensors for the next ones; returns whether that could be set.

    By default glibc hands every large tensor back to the kernel, which clears its pages again for the
    next one: on a CPU that costs a batched forward pass of a small model half of its time. The process then
    holds what it needed at its peak until it ends, and with glibc before 2.38 some times that, as it fits no aligned
    block into a freed one of just its size (seen: 4 times). Other C libraries are left as they are.

    in_threads   also what threads allocate that Python starts; call it before there are any. On their own they have
                 heaps of 64 MiB each, which keep nothing that is larger
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    done = [mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1), mallopt(_M_TOP_PAD, 64 << 20)]
    # Older versions refuse more than 32 MiB.
    done.append(mallopt(_M_MMAP_THRESHOLD, 1 << 30) or mallopt(_M_MMAP_THRESHOLD, 32 << 20))
    if in_threads:
        done.append(mallopt(_M_ARENA_MAX, 1))
    return all(value == 1 for value in done)
