"""What the formats of trajectories share: roles, texts, calls and tools out of the fields of a record.

A format is a module of this folder. Of records (one object of a JSON Lines, JSON or Parquet file)::

    def matches(record: Mapping[str, Any]) -> bool                # told by its keys, without reading it whole
    def read(record: Mapping[str, Any]) -> Iterator[Found]        # its episodes; may raise UnusableRecordError

and of plain text (logs)::

    def matches_text(head: str) -> bool                           # the first 64 KiB
    def read_text(lines: Iterator[str]) -> Iterator[Found]        # lines keep their line ends

Formats know nothing of sources: who reads the file adds source, item and licence, and checks every episode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from forge.schema import Outcome, Role, Step, ToolCall, Trajectory, canonical_json, is_deeper_than
from forge.stored_files import Problem

MAX_NESTING = 64
"""Levels of objects and lists inside one record."""

Record = Mapping[str, Any]
Found = Trajectory | Problem
"""An episode, or what a part of a record (``part`` names it) lacks to be one."""

RecordReader = Callable[[Record], Iterator[Found]]

OUTCOMES: tuple[Outcome, ...] = ("success", "failure", "unknown")  # a tuple: what a record holds may not be hashable

_BLOCK_KEYS = frozenset({"type", "text", "content", "annotations", "cache_control"})
"""Of a block of text in a message; a list of objects with other keys is data."""
_SPEAKERS: Mapping[Role, tuple[str, ...]] = {
    "system": ("system", "developer"),
    "user": ("user", "human"),
    "assistant": ("assistant", "gpt", "ai", "model", "agent", "bot", "function_call"),
    "tool": ("tool", "function", "observation", "tool_response", "function_response", "environment"),
}
_ROLES: Mapping[str, Role] = {speaker: role for role, speakers in _SPEAKERS.items() for speaker in speakers}


class UnusableRecordError(Exception):
    """Why a record is no trajectory: ``reason`` for the table `decisions`, then a sentence for people."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def malformed(detail: str) -> UnusableRecordError:
    """The record has its format's keys and other things in them than that format allows."""
    return UnusableRecordError("malformed_record", detail)


def trajectory(
    task: str,
    steps: Iterable[Step],
    *,
    tools: Sequence[Mapping[str, Any]] = (),
    outcome: Outcome = "unknown",
    reward: float | None = None,
    environment: str = "",
    license: str = "",  # noqa: A002  the column's name
    generator: str = "",
    episode: str = "",
) -> Trajectory:
    """An episode as a format gives it: without source and item, and with nothing that the record does not state."""
    return Trajectory(
        task=task,
        tools=tuple(tools),
        steps=tuple(steps),
        outcome=outcome,
        reward=reward,
        environment=environment,
        license=license,
        generator=generator,
        source="",
        item_id="",
        episode=episode,
    )


def first_request(steps: Iterable[Step]) -> str:
    """What the user says first: the task of a conversation that names none. Empty when the user says nothing."""
    return next((step.content for step in steps if step.role == "user" and step.content), "")


def role_of(name: object, turn: int) -> Role:
    """The role of a speaker by any of its usual names. Raises for another name."""
    role = _ROLES.get(name) if isinstance(name, str) else None
    if role is None:
        raise malformed(f"turn {turn}: unknown role {str(name)[:50]!r}")
    return role


def objects(value: object, field: str) -> list[dict[str, Any]]:
    """A list of objects. Raises for anything else, and ``no_steps`` for an empty list."""
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise malformed(f"{field} is no list of objects")
    if not value:
        raise UnusableRecordError("no_steps", f"{field} is empty")
    return value


def text(value: object) -> str | None:
    """The value when it is a string."""
    return value if isinstance(value, str) else None


def flag(value: object) -> bool | None:
    """The value when it is true or false."""
    return value if isinstance(value, bool) else None


def object_of(value: object) -> Record:
    """The value when it is an object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def identifier(value: object) -> str:
    """A record's own id as text; empty when it has none."""
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""


def number(value: object) -> float | None:
    """The value when it is a finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if abs(found) < float("inf") else None


def outcome_of(success: object) -> Outcome:
    """A flag of success: true and 1 succeed, false and 0 fail, anything else says nothing."""
    return "success" if success in (True, 1) else "failure" if success in (False, 0) else "unknown"


def content_of(value: object) -> str | None:
    """A turn's text: a string, or the text blocks of a list; other values as JSON. Raises for what is no JSON."""
    if isinstance(value, list) and all(isinstance(block, dict) and _BLOCK_KEYS.issuperset(block) for block in value):
        texts = [block.get("text", block.get("content")) for block in value]
        if all(isinstance(text, str) for text in texts):
            return "\n".join(texts)
    return written(value)


def written(value: object) -> str | None:
    """A text as it stands, None for nothing, any other value whole, as canonical JSON: unlike a turn's content, data
    has no text blocks to pick. Raises ``malformed_record`` for a value that JSON cannot hold."""
    return value if value is None or isinstance(value, str) else json_text(value)


def observation(result: object, error: object = None) -> Step:
    """The step that shows a call's result, which is data."""
    return Step("tool", written(result) or "", error=written(error) or None)


def json_text(value: object) -> str:
    """A value as canonical JSON. Raises ``malformed_record`` for bytes, integers beyond 64 bits, lone surrogates and
    what is nested too deeply."""
    try:
        return canonical_json(value)
    except TypeError as error:
        raise malformed(f"no JSON value: {error}") from None


def json_record(record: Record) -> Record:
    """The record itself. Raises ``malformed_record`` when JSON cannot hold it: rows of Parquet may have bytes, huge
    integers or half surrogate pairs in them, which could never be written again."""
    json_text(record)
    return record


def parsed_json(value: str | bytes | None) -> Any:
    """The value of a JSON text; None when it is none."""
    try:
        return orjson.loads(value or "")
    except orjson.JSONDecodeError:
        return None


def arguments_of(value: object, where: str) -> dict[str, Any]:
    """A call's arguments: an object, its JSON text, or nothing. Raises ``malformed_arguments``, also for what JSON
    cannot hold, and ``too_deeply_nested`` beyond :data:`MAX_NESTING` levels."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return {}
    found = parsed_json(value) if isinstance(value, str) else value
    if not isinstance(found, dict):
        given = repr(value[:100]) if isinstance(value, str) else type(value).__name__
        raise UnusableRecordError("malformed_arguments", f"{where}: arguments are no JSON object: {given}")
    if is_deeper_than(found, MAX_NESTING):
        raise UnusableRecordError("too_deeply_nested", f"{where}: arguments of more than {MAX_NESTING} levels")
    try:
        canonical_json(found)
    except TypeError as error:
        raise UnusableRecordError("malformed_arguments", f"{where}: {error}") from None
    return found


def called(name: object, arguments: object, where: str, call_id: str | None = None) -> ToolCall:
    """A call; its arguments as :func:`arguments_of` takes them. Raises ``malformed_record`` without a name, and what
    that raises."""
    if not isinstance(name, str) or not name:
        raise malformed(f"{where}: a call without a name")
    return ToolCall(name, arguments_of(arguments, f"{where}, {name}"), call_id)


def call_of(call: object, turn: int) -> ToolCall:
    """A call as ``{name, arguments | parameters, id?}``, also inside ``function``; arguments as an object or as its
    JSON text."""
    if not isinstance(call, dict):
        raise malformed(f"turn {turn}: a tool call is no object")
    function = call["function"] if isinstance(call.get("function"), dict) else call
    arguments = function.get("arguments", function.get("parameters"))
    return called(function.get("name"), arguments, f"turn {turn}", text(call.get("id")))


def tools_of(value: object) -> tuple[Mapping[str, Any], ...]:
    """Function descriptions (name, description, parameters), wherever they are: a list, its JSON text, each bare or
    inside ``function``. What is none is left out: an episode is of use without it."""
    if isinstance(value, str):
        value = parsed_json(value)
    if isinstance(value, dict):
        value = [value]
    tools: list[Mapping[str, Any]] = []
    for entry in value if isinstance(value, list) else []:
        if isinstance(entry, str):
            entry = parsed_json(entry)
        tool = entry.get("function", entry) if isinstance(entry, dict) else None
        if isinstance(tool, dict) and isinstance(tool.get("name"), str) and not is_deeper_than(tool, MAX_NESTING):
            tools.append({key: tool[key] for key in ("name", "description", "parameters") if key in tool})
    return tuple(tools)
