"""A sign of life after every micro-batch, and the end of a process that gives none any more."""

from __future__ import annotations

import contextlib
import faulthandler
import sys
import time
from pathlib import Path

import orjson

from training.files import write_atomically

_WRITE_EVERY_SECONDS = 5.0


class Heartbeat:
    """``heartbeat.json`` of a run: when which micro-batch was done.

    A process that does not beat for ``stall_timeout_seconds`` (a collective operation that never returns, a hanging
    mount) prints where each of its threads stands and ends with exit code 1, whatever holds the interpreter's lock; the
    same command then goes on from the newest checkpoint.
    """

    def __init__(self, path: Path | None, stall_timeout_seconds: float) -> None:
        """``path`` None: only the end of a process that stalls. One rank writes the file."""
        self._path, self._stall_timeout_seconds = path, stall_timeout_seconds
        self._written = -_WRITE_EVERY_SECONDS

    def beat(self, stage: str, step: int, micro_batch: int) -> None:
        faulthandler.dump_traceback_later(self._stall_timeout_seconds, exit=True, file=sys.__stderr__ or sys.stderr)
        now = time.monotonic()
        if self._path is not None and now - self._written >= _WRITE_EVERY_SECONDS:
            self._written = now
            entry = {"stage": stage, "step": step, "micro_batch": micro_batch, "time": time.time()}
            with contextlib.suppress(OSError):  # a full disk is told by what matters: the next checkpoint
                write_atomically(self._path, orjson.dumps(entry))

    def stop(self) -> None:
        """Nothing is watched any more."""
        faulthandler.cancel_dump_traceback_later()
