"""ToolACE: ``system`` with the list of tools as JSON inside its text, ``conversations`` of ``{from: user | assistant |
tool, value}``, and calls as text: ``[Get Weather(city="Oslo", days=2), Other()]``.

Names of functions hold spaces, dots and brackets; values are Python's literals or JSON's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from forge.schema import Step, ToolCall
from forge.trajectories.formats.embedded_json import embedded_values, without
from forge.trajectories.formats.fields import (
    MAX_NESTING,
    Found,
    Record,
    UnusableRecordError,
    content_of,
    json_record,
    objects,
    parsed_json,
    role_of,
    text,
    tools_of,
)
from forge.trajectories.formats.openai_messages import conversation
from forge.trajectories.formats.parameter_types import typed_tools
from forge.trajectories.formats.python_literals import literal

MAX_CALL_CHARACTERS = 1_000_000
_CALL = re.compile(r"\[\s*[^\[\]{}\"'=()]+\(")
_MARKS = ("[func1(", "in JSON format that you can invoke", "composing functions")
_KEY = re.compile(r"\s*([^\s=(),\[\]{}\"']+)\s*=\s*")
_GAP = re.compile(r"[\s,]*")
_VALUE = re.compile(r""""(?:[^"\\]++|\\.)*+"?|'(?:[^'\\]++|\\.)*+'?|[(\[{]|[)\]}]|,""", re.DOTALL)


def matches(record: Record) -> bool:
    system, turns = record.get("system"), record.get("conversations")
    if not isinstance(system, str) or not isinstance(turns, list) or not turns:
        return False
    if not isinstance(turns[0], dict) or "value" not in turns[0] or turns[0].get("from") not in ("user", "assistant"):
        return False
    return any(mark in system for mark in _MARKS) or any(_is_call(turn) for turn in turns[1:2])


def read(record: Record) -> Iterator[Found]:
    record = json_record(record)
    prompt, tools = system_and_tools(text(record.get("system")) or "")
    names = sorted((tool["name"] for tool in tools), key=len, reverse=True)
    steps = [Step("system", prompt)] if prompt else []
    for number, turn in enumerate(objects(record.get("conversations"), "conversations")):
        role, value = role_of(turn.get("from"), number), content_of(turn.get("value"))
        if role == "assistant" and _is_call(turn):
            calls, said = calls_of(value or "", names, number)
            steps.append(Step("assistant", said or None, calls=calls))
        else:
            steps.append(Step(role, (value or "") if role == "tool" else value or None))
    facts = {name: value for name, value in record.items() if name not in ("system", "tools")}
    yield conversation({**facts, "tools": tools or record.get("tools")}, steps)


def system_and_tools(system: str) -> tuple[str, list[Mapping[str, Any]]]:
    """The system prompt without the list of tools, and that list. A prompt without one stays as it is."""
    for found in embedded_values(system):
        tools = typed_tools(tools_of(found.value))
        if tools:
            return without(system, [found]), tools
    return system, []


def calls_of(said: str, names: Sequence[str], turn: int) -> tuple[tuple[ToolCall, ...], str]:
    """The calls of ``[name(key=value, …), …]`` and the text behind it. ``names`` are those of the known tools, longest
    first: they may hold any character. Raises ``malformed_arguments``."""
    if len(said) > MAX_CALL_CHARACTERS:
        raise _malformed(turn, "a call of more than a million characters", said)
    end = _GAP.match(said, said.index("[") + 1).end()  # type: ignore[union-attr]
    calls: list[ToolCall] = []
    while not said.startswith("]", end):
        name, end = _name(said, end, names, turn)
        arguments: dict[str, Any] = {}
        while not said.startswith(")", end):
            key = _KEY.match(said, end)
            if key is None:
                raise _malformed(turn, "an argument without a name", said[end:])
            stop = _end_of_value(said, key.end(), turn)
            arguments[key.group(1)] = _argument(said[key.end() : stop].strip(), turn)
            end = _GAP.match(said, stop).end()  # type: ignore[union-attr]
        calls.append(ToolCall(name, arguments))
        end = _GAP.match(said, end + 1).end()  # type: ignore[union-attr]
    return tuple(calls), said[end + 1 :].strip()


def _is_call(turn: object) -> bool:
    value = turn.get("value") if isinstance(turn, dict) else None
    return isinstance(value, str) and _CALL.match(value.lstrip()[:1000]) is not None


def _malformed(turn: int, problem: str, near: str) -> UnusableRecordError:
    return UnusableRecordError("malformed_arguments", f"turn {turn}: {problem}: {near[:100]!r}")


def _name(said: str, start: int, names: Sequence[str], turn: int) -> tuple[str, int]:
    for known in names:
        if known and said.startswith(f"{known}(", start):
            return known, start + len(known) + 1
    opening = said.find("(", start)
    name = said[start:opening].strip()
    if opening < 0 or not name or any(bracket in name for bracket in "[]{}"):
        raise _malformed(turn, "no name of a function", said[start:])
    return name, opening + 1


def _end_of_value(said: str, start: int, turn: int) -> int:
    """Where the value that begins here ends: at the comma or the bracket that is outside of it."""
    depth = 0
    for token in _VALUE.finditer(said, start):
        match token.group():
            case "(" | "[" | "{":
                depth += 1
            case ")" | "]" | "}" if depth:
                depth -= 1
            case "," | ")" | "]" | "}" if not depth:
                return token.start()
        if depth > MAX_NESTING:
            break
    raise _malformed(turn, "a value without an end", said[start:])


def _argument(said: str, turn: int) -> Any:
    value = parsed_json(said)
    return literal(said, f"turn {turn}") if value is None else value
