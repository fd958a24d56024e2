"""Many families, each in a process of its own with bounds of time and memory, that starts as a copy of this one."""

from __future__ import annotations

import json
import os
import resource
import selectors
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Any

#: Seconds and bytes that a family may take.
SECONDS, MEMORY = 300, 16 << 30


def run_each(
    names: Sequence[str], job: Callable[[str], Any], jobs: int, seconds: int = SECONDS,
    tell: Callable[[str, Any], None] = lambda name, result: None,
) -> dict[str, Any]:
    """What `job` returns for each name, through JSON; {"refused": ...} where its process ended without."""
    waiting, results = list(reversed(names)), {}
    running: dict[int, tuple[str, int, bytearray]] = {}
    with selectors.DefaultSelector() as selector:
        while waiting or running:
            while waiting and len(running) < jobs:
                name = waiting.pop()
                pid, pipe = _start(name, job, seconds)
                running[pipe] = name, pid, bytearray()
                selector.register(pipe, selectors.EVENT_READ)
            for key, _ in selector.select():
                pipe = key.fd
                name, pid, read = running[pipe]
                if more := os.read(pipe, 1 << 16):
                    read += more
                    continue
                selector.unregister(pipe)
                os.close(pipe)
                _, status = os.waitpid(pid, 0)
                del running[pipe]
                results[name] = json.loads(read) if read else {"refused": _ended(status, seconds)}
                tell(name, results[name])
    return {name: results[name] for name in names}


def _start(name: str, job: Callable[[str], Any], seconds: int) -> tuple[int, int]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(seconds)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        text = json.dumps(_safely(job, name)).encode()
        while text:
            text = text[os.write(writing, text) :]
    finally:
        os._exit(0)


def _safely(job: Callable[[str], Any], name: str) -> Any:
    try:
        return job(name)
    except BaseException as error:
        line = str(error).strip().partition("\n")[0]
        return {"refused": f"not checked, {type(error).__name__}: {line}"}


def _ended(status: int, seconds: int) -> str:
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM:
        return f"not checked: takes more than {seconds} s"
    return "not checked: its process was killed"


def works(result: Mapping[str, Any], mode: str) -> bool:
    """Whether a family answers in a mode, "text" or "images"."""
    return result.get(mode, {}).get("answer") == ""
