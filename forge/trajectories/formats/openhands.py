"""Rows of sets of OpenHands runs (SWE-Gym, SWE-rebench): OpenAI ``messages``, or ``trajectory``, of one ``instance_id``
with ``resolved`` and ``tools``, or ``messages`` alone whose calls stand in the text. The event streams that OpenHands
itself writes are :mod:`forge.trajectories.formats.openhands_events`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from forge.schema import Outcome, is_deeper_than
from forge.trajectories.formats.fields import (
    MAX_NESTING,
    Found,
    Record,
    identifier,
    objects,
    outcome_of,
    parsed_json,
    text,
    tools_of,
)
from forge.trajectories.formats.function_text import OPEN, described_tools, with_calls
from forge.trajectories.formats.openai_messages import conversation, openai_steps

_MARKS = ("run_id", "trajectory_id", "exit_status", "test_result", "model_patch", "git_patch")
_KEYS = ("messages", "trajectory")
_HEAD = 8
"""Turns in which an agent that writes its calls into the text has written one."""


def matches(record: Record) -> bool:
    turns = _turns(record)
    if not isinstance(turns, list) or "traj_id" in record:
        return False
    is_row = "instance_id" in record and any(mark in record for mark in _MARKS)
    if not turns:
        return is_row
    if not isinstance(turns[0], dict) or not {"role", "content"} <= turns[0].keys():
        return False
    return is_row or any(_writes_a_call(turn) for turn in turns[:_HEAD])


def read(record: Record) -> Iterator[Found]:
    steps = openai_steps(objects(_turns(record), "messages"))
    tools = _tools(record.get("tools"))
    described = [tool for step in steps if step.role == "system" for tool in described_tools(step.content or "")]
    found = conversation({**record, "tools": None, "functions": None}, with_calls(steps, tools or described))
    yield replace(
        found,
        tools=tools or tuple(described),
        outcome=resolution_of(record),
        generator=found.generator or _model(record),
        episode=identifier(record.get("trajectory_id")) or found.episode,
    )


def resolution_of(record: Record) -> Outcome:
    """Whether the instance's tests passed, as ``resolved`` says it, in the record or in the report of its tests."""
    reports: list[object] = [record]
    for name in ("test_result", "report"):
        reports += [found[name] for found in reports if isinstance(found, dict) and name in found]
    stated = [report["resolved"] for report in reports if isinstance(report, dict) and "resolved" in report]
    return next((outcome for flag in stated if (outcome := outcome_of(flag)) != "unknown"), "unknown")


def _without_padding(value: object) -> Any:
    """Tools without the members that are null: a column of a Parquet file gives every schema the members of all."""
    if isinstance(value, dict):
        return {name: _without_padding(inner) for name, inner in value.items() if inner is not None}
    return [_without_padding(inner) for inner in value] if isinstance(value, list) else value


def _tools(value: object) -> tuple[Mapping[str, Any], ...]:
    if isinstance(value, str):
        value = parsed_json(value)
    if not isinstance(value, (dict, list)) or is_deeper_than(value, MAX_NESTING):
        return ()
    return tools_of(_without_padding(value))


def _writes_a_call(turn: object) -> bool:
    if not isinstance(turn, dict) or turn.get("role") != "assistant":
        return False
    content = turn.get("content")
    blocks = content if isinstance(content, list) else [{"text": content}]
    return any(OPEN in (text(block.get("text")) or "") for block in blocks if isinstance(block, dict))


def _turns(record: Record) -> object:
    return next((record[key] for key in _KEYS if key in record), None)


def _model(record: Record) -> str:
    """The model in a run's name: ``<model>_maxiter_<number>_…``."""
    model, mark, _ = (text(record.get("run_id")) or "").partition("_maxiter_")
    return model if mark else ""
