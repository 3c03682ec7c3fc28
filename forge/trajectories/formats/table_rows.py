"""Rows of our own table ``trajectories`` (docs/tables.md): ``task``, ``tools``, ``steps``; releases hold them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

from forge.schema import is_deeper_than, trajectory_from_row
from forge.trajectories.formats.fields import MAX_NESTING, OUTCOMES, Found, Record, malformed, number, role_of, text

_DEFAULTS: Mapping[str, Any] = {
    "outcome": "unknown",
    "reward": None,
    "environment": "",
    "generator": "",
    "license": "",
    "episode": "",
}


def matches(record: Record) -> bool:
    return isinstance(record.get("steps"), list) and "task" in record and "tools" in record


def read(record: Record) -> Iterator[Found]:
    row: dict[str, Any] = {**_DEFAULTS, **deepcopy(dict(record)), "source": "", "item_id": ""}
    row["license"], row["episode"] = text(row["license"]) or "", text(row["episode"]) or ""
    try:
        for step in row["steps"]:
            step["role"] = role_of(step["role"], 0)
            for name in ("content", "thought", "answers", "error"):
                if not isinstance(step.setdefault(name, None), (str, type(None))):
                    raise TypeError(f"{name} of a step is no text")
            if not isinstance(step.setdefault("loss", None), (bool, type(None))):
                raise TypeError("loss of a step is no truth value")
            step.setdefault("calls", [])
            for call in step["calls"]:
                call.setdefault("call_id", None)
                if not isinstance(call["name"], str) or not isinstance(call["call_id"], (str, type(None))):
                    raise TypeError("name or call_id of a call is no text")
        found = trajectory_from_row(row)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise malformed(f"{type(error).__name__}: {error}") from None
    arguments = [call.arguments for step in found.steps for call in step.calls]
    words = (found.task, found.environment, found.generator)
    if (
        not all(isinstance(value, Mapping) for value in (*arguments, *found.tools))
        or not all(isinstance(word, str) for word in words)
        or found.outcome not in OUTCOMES
        or not isinstance(found.reward, (int, float, type(None)))
        or isinstance(found.reward, bool)
        or any(is_deeper_than(value, MAX_NESTING) for value in (*arguments, *found.tools))
    ):
        raise malformed("a column of the row is of another kind than docs/tables.md says")
    yield replace(found, reward=number(found.reward))
