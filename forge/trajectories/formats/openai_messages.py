"""OpenAI messages: ``messages`` of ``{role, content, tool_calls | function_call, tool_call_id}``, also under the keys
``traj`` and ``conversation`` where people put them, and as a JSON text (SWE-smith).

The legacy ``function_call`` and the role ``function`` are the same things without ids. Read and written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from forge.schema import Outcome, Step, ToolCall, Trajectory
from forge.trajectories.formats.fields import (
    OUTCOMES,
    Found,
    Record,
    call_of,
    content_of,
    first_request,
    identifier,
    malformed,
    number,
    objects,
    outcome_of,
    parsed_json,
    role_of,
    text,
    tools_of,
    trajectory,
)

KEYS = ("messages", "traj")
_IDS = ("id", "task_id", "instance_id", "conversation_id", "uuid")


def matches(record: Record) -> bool:
    turns = _turns(record)
    return isinstance(turns, list) and (not turns or (isinstance(turns[0], dict) and "role" in turns[0]))


def read(record: Record) -> Iterator[Found]:
    steps = openai_steps(objects(_turns(record), "messages"))
    yield conversation(record, steps)


def _turns(record: Record) -> object:
    found = next((record[key] for key in KEYS if key in record), None)
    return parsed_json(found) if isinstance(found, str) else found


def conversation(record: Record, steps: Sequence[Step]) -> Trajectory:
    """An episode of ``steps`` with what the record says beside them: system, task, tools, outcome, reward, ids."""
    system = text(record.get("system"))
    if system and not any(step.role == "system" for step in steps):
        steps = [Step("system", system), *steps]
    reward = number(record.get("reward"))
    return trajectory(
        text(record.get("task")) or first_request(steps),
        steps,
        tools=tools_of(record.get("tools", record.get("functions"))),
        outcome=_outcome(record, reward),
        reward=reward,
        environment=text(record.get("environment")) or "",
        license=text(record.get("license")) or "",
        generator=text(record.get("generator")) or text(record.get("model")) or "",
        episode=next((found for key in _IDS if (found := identifier(record.get(key)))), ""),
    )


def openai_steps(turns: Sequence[Mapping[str, Any]]) -> list[Step]:
    """Messages as steps. Raises for roles, calls and arguments that no one can use."""
    steps: list[Step] = []
    for turn_number, turn in enumerate(turns):
        role = role_of(turn.get("role"), turn_number)
        content = content_of(turn.get("content"))
        if role == "tool":
            steps.append(
                Step("tool", content or "", answers=text(turn.get("tool_call_id")), error=text(turn.get("error")))
            )
            continue
        calls: tuple[ToolCall, ...] = ()
        if turn.get("tool_calls"):
            if not isinstance(turn["tool_calls"], list):
                raise malformed(f"turn {turn_number}: tool_calls is no list")
            calls = tuple(call_of(call, turn_number) for call in turn["tool_calls"])
        elif turn.get("function_call"):
            calls = (call_of(turn["function_call"], turn_number),)
        thought = text(turn.get("reasoning_content")) or text(turn.get("thought"))
        loss = turn.get("loss")
        steps.append(
            Step(role, content or None, thought=thought, calls=calls, loss=loss if isinstance(loss, bool) else None)
        )
    return steps


def _outcome(record: Record, reward: float | None) -> Outcome:
    """``outcome`` or ``success`` as the record states it; else a reward of 1 or 0 (tau-bench); else unknown."""
    for known in OUTCOMES:
        if record.get("outcome") == known:
            return known
    success = record.get("success")
    return outcome_of(success if isinstance(success, bool) else reward)
