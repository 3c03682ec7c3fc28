"""What a format has no place for, carried where it takes extensions: what is written reads back as the same episode.

The remainder is a patch of the episode's row in our table ``trajectories`` (docs/tables.md): the columns, and of
``steps`` the fields by their number, in which the row that the format's own fields give differs. Most episodes have
none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from forge.schema import Trajectory
from forge.trajectories.formats import table_rows
from forge.trajectories.formats.fields import malformed

KEY = "hephaestus_forge"
"""Where the remainder stands: in ATIF's ``extra``, in ADP's ``details``, beside OpenAI's ``messages``."""

_COLUMNS = ("task", "tools", "outcome", "reward", "environment", "license", "generator", "episode")
_LISTS = ("steps", "calls")


def remainder(wanted: Trajectory, found: Trajectory) -> dict[str, Any]:
    """The patch that turns ``found`` into ``wanted``, sources and items aside. Empty when they are equal."""
    if replace(wanted, source=found.source, item_id=found.item_id) == found:
        return {}
    row = found.row("")
    return _patch({name: row[name] for name in (*_COLUMNS, "steps")}, wanted.row(""))


def restored(found: Trajectory, patch: object) -> Trajectory:
    """``found`` with a remainder put back. Raises for a patch that leads to no row of the table."""
    if patch is None:
        return found
    if not isinstance(patch, Mapping):
        raise malformed(f"{KEY} is no object")
    allowed = {name: patch[name] for name in (*_COLUMNS, "steps") if name in patch}
    episodes = [one for one in table_rows.read(_patched(found.row(""), allowed)) if isinstance(one, Trajectory)]
    return episodes[0]


def _patch(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    return dict(_differences(found, wanted))


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in found.items():
        if value == wanted[name]:
            continue
        if name in _LISTS and len(value) == len(wanted[name]):
            pairs = enumerate(zip(value, wanted[name], strict=True))
            yield name, {str(place): _patch(old, new) for place, (old, new) in pairs if old != new}
        else:
            yield name, wanted[name]


def _patched(row: Mapping[str, Any], patch: Mapping[Any, Any]) -> dict[str, Any]:
    new = dict(row)
    for name, value in patch.items():
        if name in _LISTS and isinstance(value, Mapping):
            entries: list[Any] = list(row[name]) if isinstance(row.get(name), list) else []
            for place, inner in value.items():
                known = str(place).isdecimal() and len(str(place)) < 10 and int(place) < len(entries)
                if not known or not isinstance(inner, Mapping):
                    raise malformed(f"{KEY}: no {name} {str(place)[:50]!r} to put something back into")
                entries[int(place)] = _patched(entries[int(place)], inner)
            new[name] = entries
        else:
            new[name] = value
    return new
