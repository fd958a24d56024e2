"""What Python runs before a step under `tools/warm.py`, which puts a copy of this file on its path as `sitecustomize`.

It asks the server beside it to run the step; where there is none, or it refuses, Python goes on and runs the step
itself. No module is imported that Python has not built in: `socket` alone would double the time of a start.
"""

import os
import sys

STEPS = "culture_neurons.steps."
#: Answer to a step that has to do its work itself; exit codes are below it.
REFUSED = 255
#: Exit code of a process that was killed, as shells give it.
KILLED = 128 + 9
INTERRUPTED = 128 + 2


def forward() -> int:
    """Let the server run the step that this process was started for; its exit code, or REFUSED."""
    from _socket import AF_UNIX, SCM_RIGHTS, SOCK_STREAM, SOL_SOCKET, socket

    umask = os.umask(0)
    os.umask(umask)
    request = {"module": sys.orig_argv[2], "arguments": sys.orig_argv[3:], "folder": os.getcwd(), "umask": umask,
               "environment": dict(os.environ), "prefix": sys.prefix, "path": sys.path}  # fmt: skip
    files = b"".join(number.to_bytes(4, sys.byteorder) for number in (1, 2))
    connection = socket(AF_UNIX, SOCK_STREAM)
    try:
        connection.connect(os.path.join(os.path.dirname(__file__), "socket"))
        connection.sendmsg([b"!"], [(SOL_SOCKET, SCM_RIGHTS, files)])
        connection.sendall(ascii(request).encode() + b"\n")
        answer = connection.recv(1)
    except OSError:
        return REFUSED
    return answer[0] if answer else KILLED


# Of a step alone: Python -m culture_neurons.steps.X, without options for Python itself.
if __name__ == "sitecustomize" and sys.orig_argv[1:2] == ["-m"] and sys.orig_argv[2].startswith(STEPS):
    try:
        code = forward()
    except KeyboardInterrupt:
        code = INTERRUPTED
    if code != REFUSED:
        os._exit(code)
