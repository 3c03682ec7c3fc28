"""SWE-smith runs of SWE-agent: ``messages`` as a JSON text, of one ``instance_id`` and ``traj_id``, with ``resolved``.

Three styles: ``tool`` (calls by id; an observation names them in ``tool_call_ids``), ``xml`` (``<function=…>`` in the
text) and ``ticks`` (a command in a fenced block). The ``patch`` of a row is not always that of its run and stays out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from forge.schema import Step, is_deeper_than
from forge.trajectories.formats.fenced_text import with_commands
from forge.trajectories.formats.fields import (
    MAX_NESTING,
    Found,
    Record,
    UnusableRecordError,
    content_of,
    identifier,
    objects,
    outcome_of,
    parsed_json,
    text,
)
from forge.trajectories.formats.function_text import OPEN, described_tools, with_calls
from forge.trajectories.formats.openai_messages import conversation, openai_steps


def matches(record: Record) -> bool:
    return isinstance(record.get("messages"), (str, list)) and "instance_id" in record and "traj_id" in record


def read(record: Record) -> Iterator[Found]:
    turns = record.get("messages")
    if isinstance(turns, str):
        turns = parsed_json(turns)
        if isinstance(turns, list) and is_deeper_than(turns, MAX_NESTING):
            raise UnusableRecordError("too_deeply_nested", f"messages of more than {MAX_NESTING} levels")
    steps = openai_steps([_openai_turn(turn) for turn in objects(turns, "messages")])
    described = [tool for step in steps if step.role == "system" for tool in described_tools(step.content or "")]
    found = conversation(record, _with_actions(steps, described))
    yield replace(
        found,
        tools=found.tools or tuple(described),
        outcome=outcome_of(record.get("resolved")),
        episode=identifier(record.get("traj_id")) or found.episode,
    )


def _openai_turn(turn: Mapping[str, Any]) -> dict[str, Any]:
    """A message of SWE-agent's history as OpenAI's. Its ``thought`` repeats its content."""
    changed: dict[str, Any] = {**turn, "thought": None}
    thought = text(turn.get("thought"))
    if thought and not content_of(turn.get("content")):
        changed["content"] = thought
    answered = turn.get("tool_call_ids")
    if isinstance(answered, list) and len(answered) == 1 and text(turn.get("tool_call_id")) is None:
        changed["tool_call_id"] = answered[0]
    if turn.get("message_type") == "action" and turn.get("action") == "" and not turn.get("tool_calls"):
        changed["loss"] = False  # an answer that was refused, or SWE-agent's own note at a limit
    return changed


def _with_actions(steps: Sequence[Step], tools: Sequence[Mapping[str, Any]]) -> list[Step]:
    if any(step.calls for step in steps):
        return list(steps)
    said = [step.content for step in steps if step.role == "assistant" and step.content]
    return with_calls(steps, tools) if any(OPEN in text_ for text_ in said) else with_commands(steps)
