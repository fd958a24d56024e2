"""Work on a thread beside the caller's."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

#: Calls that may wait beside the one at work.
WAITING = 2


@contextmanager
def in_background(work: Callable[..., None]) -> Iterator[Callable[..., None]]:
    """Yield a function that has `work` called with its arguments on one other thread, in order, and returns at once.

    Beside the call at work at most `WAITING` calls wait, so that memory stays bounded: the next one blocks.
    An error of `work` is raised by a later call, or at the end of the block; calls that still wait are then dropped.
    Whatever ends the block, the thread has ended after it.
    """
    pending: deque[Future[None]] = deque()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="culture_neurons") as thread:

        def call(*arguments: Any) -> None:
            while pending and (pending[0].done() or len(pending) > WAITING):
                pending.popleft().result()
            pending.append(thread.submit(work, *arguments))

        try:
            yield call
            while pending:
                pending.popleft().result()
        finally:
            thread.shutdown(cancel_futures=True)
