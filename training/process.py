"""Life and death of a training process: it ends with its parent, and SIGTERM asks it to stop at the next step."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from types import FrameType

EXIT_STOPPED = 75
"""EX_TEMPFAIL: stopped on request after a checkpoint; start the same command again to go on."""

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent ends (Linux; elsewhere nothing happens).

    The signal follows the *thread* that started this process. When the parent ended before the request took effect,
    the process exits at once with :data:`EXIT_STOPPED`.
    """
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        raise SystemExit(EXIT_STOPPED)


class StopRequest:
    """Becomes true when SIGTERM or SIGINT arrives.

    SIGTERM may come again (from a scheduler that repeats it, from the kernel when the parent ends) and stays one
    request; a second SIGINT, from a person who does not want to wait, ends the process in the usual way.
    """

    def __init__(self) -> None:
        self.requested = False

    def __bool__(self) -> bool:
        return self.requested

    def listen(self) -> StopRequest:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        return self

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.requested = True
        if number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)
