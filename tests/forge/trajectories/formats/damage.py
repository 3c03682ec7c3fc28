"""Records as they should not be: any field of a good one missing, or of another kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

from forge.schema import Trajectory
from forge.stored_files import Problem
from forge.trajectories.formats.fields import Found, UnusableRecordError

_DEEP: Any = []
for _ in range(100):
    _DEEP = [{"next": _DEEP}]
_STRANGE = st.sampled_from(
    [
        *(None, True, -1, 2**70, float("nan"), float("inf"), b"bytes"),
        *("", "{", "{'", "[" * 300, "\x00", "x" * 70_000, "\ud800"),
        *([], {}, [None], [[]], [{}], {"": None}, {"name": 1}, ["\ud800"], _DEEP),
    ]
)
_MISSING = object()


@st.composite
def damaged(draw: st.DrawFn, record: Any) -> Any:
    """The record with one to three of its values, at any depth, taken away or replaced."""
    broken = deepcopy(record)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(broken))
        if not places:
            break
        holder, key = draw(st.sampled_from(places))
        value = draw(st.just(_MISSING) | _STRANGE)
        if value is _MISSING:
            del holder[key]
        else:
            holder[key] = deepcopy(value)
    return broken


def _places(value: Any, levels: int = 12) -> Iterator[tuple[Any, Any]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in list(inner) if levels else ():
        yield value, key
        yield from _places(entry, levels - 1)


def found_in(read: Callable[[Any], Iterator[Found]], record: Any) -> list[Trajectory | Problem]:
    """What a format finds; the record's own error as its last problem. Whatever else it raises is a failed test."""
    found: list[Trajectory | Problem] = []
    try:
        found.extend(read(record))
    except UnusableRecordError as error:
        found.append(Problem("", error.reason, str(error)))
    return found


def episodes(read: Callable[[Any], Iterator[Found]], record: Any) -> list[Trajectory]:
    return [found for found in found_in(read, record) if isinstance(found, Trajectory)]


def reasons(read: Callable[[Any], Iterator[Found]], record: Any) -> list[str]:
    return [found.reason for found in found_in(read, record) if isinstance(found, Problem)]
