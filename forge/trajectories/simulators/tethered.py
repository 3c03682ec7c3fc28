"""Runs a script in a child process that cannot outlive its parent.

    python tethered.py PARENT_PID SCRIPT [ARGUMENT ...]

Asks the kernel to kill this process when its parent dies (PR_SET_PDEATHSIG survives ``exec``), then becomes the script.
A start-up wrapper rather than a ``preexec_fn``: that one runs between fork and exec of a process that may have threads.
Self-contained: it runs in the simulators' environment too.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def become(arguments: list[str]) -> None:
    """Exec the script; does not return."""
    parent_pid, script = int(arguments[0]), arguments[1]
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent_pid:  # it died before the request above was made
        raise SystemExit(1)
    os.execv(sys.executable, [sys.executable, "-s", "-P", script, *arguments[2:]])  # noqa: S606  no shell is wanted


if __name__ == "__main__":
    become(sys.argv[1:])
