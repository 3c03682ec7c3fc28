"""Trajectories out of JSON Lines files in the layouts that people bring (data.md section 7), told apart by their keys.

- OpenAI messages: ``messages`` (or ``traj``, tau-bench) of ``{role, content, tool_calls | function_call, ...}``
- ShareGPT and Glaive: ``conversations`` of ``{from, value}``
- our own rows of the table ``trajectories``: ``task``, ``steps``, ``tools``

A record that cannot be used is a :class:`Decision` whose item is ``<item_id>#<line>``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import orjson

from forge.schema import (
    Decision,
    Outcome,
    Role,
    Step,
    ToolCall,
    Trajectory,
    canonical_json,
    is_deeper_than,
    trajectory_from_row,
)
from forge.trajectories.checks import check
from forge.trajectories.records import MAX_NESTING, Problem, records

_STEP = "parse_trajectories"
_SPEAKERS: Mapping[Role, tuple[str, ...]] = {
    "system": ("system", "developer"),
    "user": ("user", "human"),
    "assistant": ("assistant", "gpt", "ai", "model", "function_call"),
    "tool": ("tool", "function", "observation", "tool_response", "function_response"),
}
_ROLES: Mapping[str, Role] = {speaker: role for role, speakers in _SPEAKERS.items() for speaker in speakers}
_OUTCOMES = ("success", "failure", "unknown")  # a tuple: what a record holds may not be hashable
_ROW_DEFAULTS: Mapping[str, Any] = {"outcome": "unknown", "reward": None, "environment": "", "generator": ""}


class _UnusableError(Exception):
    """Why a record is no trajectory: ``reason``, then a sentence for people."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def read_trajectories(
    data: bytes,
    *,
    source: str,
    item_id: str,
    license: str | None,  # noqa: A002  the column's name
) -> Iterator[Trajectory | Decision]:
    """The file's episodes in order, and a decision for every record that is none. Never raises for bad input.

    ``license`` is the source's; None means that each record states its own in ``license``, or none.
    """
    for found in records(data):
        if isinstance(found, Problem):
            yield Decision(source, f"{item_id}#{found.line}", _STEP, found.reason, f"line {found.line}: {found.detail}")
            continue
        line, record = found
        part = f"{item_id}#{line}"
        try:
            trajectory = trajectory_of(record, source=source, item_id=item_id, stated_license=license)
        except _UnusableError as error:
            yield Decision(source, part, _STEP, error.reason, f"line {line}: {error}")
            continue
        problem = check(trajectory)
        if problem is None:
            yield trajectory
        else:
            yield Decision(source, part, _STEP, problem.reason, f"line {line}: {problem.detail}")


def trajectory_of(record: Mapping[str, Any], *, source: str, item_id: str, stated_license: str | None) -> Trajectory:
    """One record. Raises an error with a reason: ``unknown_layout``, ``malformed_record``, ``no_steps``."""
    spdx = stated_license if stated_license is not None else _text(record.get("license")) or ""
    if isinstance(record.get("steps"), list) and "task" in record and "tools" in record:
        return _own_row(record, source, item_id, spdx)
    for key, read in _LAYOUTS:
        turns = record.get(key)
        if isinstance(turns, list):
            if not turns:
                raise _UnusableError("no_steps", f"{key} is empty")
            if not all(isinstance(turn, dict) for turn in turns):
                raise _UnusableError("malformed_record", f"{key} holds something else than objects")
            return _conversation(record, read(turns), source, item_id, spdx)
    raise _UnusableError("unknown_layout", f"keys: {', '.join(sorted(map(str, record))[:20])}")


def _conversation(record: Mapping[str, Any], steps: list[Step], source: str, item_id: str, spdx: str) -> Trajectory:
    system = _text(record.get("system"))
    if system and not any(step.role == "system" for step in steps):
        steps = [Step("system", system), *steps]
    task = next((step.content for step in steps if step.role == "user" and step.content), "")
    reward = record.get("reward")
    has_reward = isinstance(reward, (int, float)) and not isinstance(reward, bool)
    return Trajectory(
        task=_text(record.get("task")) or task,
        tools=_tools(record.get("tools", record.get("functions"))),
        steps=tuple(steps),
        outcome=_outcome(record, reward if has_reward else None),
        reward=float(cast("float", reward)) if has_reward else None,
        environment=_text(record.get("environment")) or "",
        license=spdx,
        generator=_text(record.get("model")) or _text(record.get("generator")) or "",
        source=source,
        item_id=item_id,
    )


def _outcome(record: Mapping[str, Any], reward: float | None) -> Outcome:
    """``outcome`` or ``success`` as the record states it; else a reward of 1 or 0 (tau-bench); else unknown."""
    if record.get("outcome") in _OUTCOMES:
        return cast("Outcome", record["outcome"])
    success = record.get("success")
    if isinstance(success, bool):
        return "success" if success else "failure"
    return "success" if reward == 1 else "failure" if reward == 0 else "unknown"


def _openai_steps(turns: Sequence[Mapping[str, Any]]) -> list[Step]:
    steps: list[Step] = []
    for number, turn in enumerate(turns):
        role = _role(turn.get("role"), number)
        content = _content(turn.get("content"))
        calls: list[ToolCall] = []
        if turn.get("tool_calls"):
            if not isinstance(turn["tool_calls"], list):
                raise _UnusableError("malformed_record", f"turn {number}: tool_calls is no list")
            calls = [_call(call, number) for call in turn["tool_calls"]]
        elif turn.get("function_call"):
            calls = [_call(turn["function_call"], number)]
        if role == "tool":
            content, error = content or "", _text(turn.get("error"))
            steps.append(Step("tool", content, answers=_text(turn.get("tool_call_id")), error=error))
        else:
            thought = _text(turn.get("reasoning_content")) or _text(turn.get("thought"))
            steps.append(Step(role, content or None, thought=thought, calls=tuple(calls)))
    return steps


def _sharegpt_steps(turns: Sequence[Mapping[str, Any]]) -> list[Step]:
    steps: list[Step] = []
    for number, turn in enumerate(turns):
        said_by = turn.get("from", turn.get("role"))
        role = _role(said_by, number)
        value = _content(turn.get("value", turn.get("content")))
        if said_by == "function_call":
            parsed = _json(value)
            if not isinstance(parsed, (dict, list)):
                raise _UnusableError(
                    "malformed_record", f"turn {number}: function_call is not JSON: {(value or '')[:100]!r}"
                )
            calls = parsed if isinstance(parsed, list) else [parsed]
            steps.append(Step("assistant", calls=tuple(_call(call, number) for call in calls)))
        else:
            steps.append(Step(role, (value or "") if role == "tool" else value or None))
    return steps


_LAYOUTS: tuple[tuple[str, Callable[[Sequence[Mapping[str, Any]]], list[Step]]], ...] = (
    ("messages", _openai_steps),
    ("traj", _openai_steps),
    ("conversations", _sharegpt_steps),
)


def _own_row(record: Mapping[str, Any], source: str, item_id: str, spdx: str) -> Trajectory:
    row: dict[str, Any] = {**_ROW_DEFAULTS, **record, "license": spdx, "source": source, "item_id": item_id}
    try:
        for step in row["steps"]:
            _role(step["role"], 0)
            for name in ("content", "thought", "answers", "error"):
                if not isinstance(step.setdefault(name, None), (str, type(None))):
                    raise TypeError(f"{name} of a step is no text")
            step.setdefault("calls", [])
            for call in step["calls"]:
                call.setdefault("call_id", None)
                if not isinstance(call["name"], str) or not isinstance(call["call_id"], (str, type(None))):
                    raise TypeError("name or call_id of a call is no text")
        trajectory = trajectory_from_row(row)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _UnusableError("malformed_record", f"{type(error).__name__}: {error}") from None
    arguments = [call.arguments for step in trajectory.steps for call in step.calls]
    words = (trajectory.task, trajectory.environment, trajectory.generator)
    if (
        not all(isinstance(value, Mapping) for value in (*arguments, *trajectory.tools))
        or not all(isinstance(word, str) for word in words)
        or trajectory.outcome not in _OUTCOMES
        or not isinstance(trajectory.reward, (int, float, type(None)))
        or is_deeper_than([*arguments, *trajectory.tools], MAX_NESTING)
    ):
        raise _UnusableError("malformed_record", "a column of the row is of another kind than docs/tables.md says")
    return trajectory


def _role(name: object, number: int) -> Role:
    role = _ROLES.get(name) if isinstance(name, str) else None
    if role is None:
        raise _UnusableError("malformed_record", f"turn {number}: unknown role {str(name)[:50]!r}")
    return role


def _call(call: object, number: int) -> ToolCall:
    """``{name, arguments}``, also inside ``function``; arguments as an object or as its JSON text."""
    if not isinstance(call, dict):
        raise _UnusableError("malformed_record", f"turn {number}: a tool call is no object")
    function = call["function"] if isinstance(call.get("function"), dict) else call
    name = function.get("name")
    arguments = function.get("arguments", function.get("parameters"))
    if isinstance(arguments, str):
        arguments = _json(arguments) if arguments.strip() else {}
    if arguments is None:
        arguments = {}
    if not isinstance(name, str) or not name or not isinstance(arguments, dict):
        raise _UnusableError(
            "malformed_record", f"turn {number}: a tool call without a name or with unusable arguments"
        )
    if is_deeper_than(arguments, MAX_NESTING):
        raise _UnusableError("too_deeply_nested", f"turn {number}: arguments of more than {MAX_NESTING} levels")
    return ToolCall(name, arguments, _text(call.get("id")))


def _tools(value: object) -> tuple[Mapping[str, Any], ...]:
    """Function descriptions, wherever they are: a list, its JSON text, each bare or inside ``function``. What is
    none is left out: an episode is of use without it."""
    if isinstance(value, str):
        value = _json(value)
    if isinstance(value, dict):
        value = [value]
    tools: list[Mapping[str, Any]] = []
    for entry in value if isinstance(value, list) else []:
        tool = entry.get("function", entry) if isinstance(entry, dict) else None
        if isinstance(tool, dict) and isinstance(tool.get("name"), str) and not is_deeper_than(tool, MAX_NESTING):
            tools.append({key: tool[key] for key in ("name", "description", "parameters") if key in tool})
    return tuple(tools)


def _content(value: object) -> str | None:
    """A turn's text: a string, or the text blocks of a list; other values as JSON."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(block, dict) for block in value):
        texts = [block.get("text", block.get("content")) for block in value]
        if all(isinstance(text, str) for text in texts):
            return "\n".join(texts)
    return canonical_json(value)


def _json(text: str | None) -> Any:
    try:
        return orjson.loads(text or "")
    except orjson.JSONDecodeError:
        return None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
