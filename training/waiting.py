"""Waiting for another thread without falling silent."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

_BEAT_SECONDS = 1.0
_Result = TypeVar("_Result")


def no_beat() -> None:
    """The beat of a caller that needs no sign of life."""


def awaited(future: Future[_Result], beat: Callable[[], None]) -> _Result:
    """What ``future`` gives. ``beat`` is called before, and every second meanwhile; what it raises ends the wait."""
    beat()
    while not wait([future], timeout=_BEAT_SECONDS).done:
        beat()
    return future.result()
