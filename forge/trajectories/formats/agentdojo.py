"""AgentDojo: logs of runs, ``{suite_name, user_task_id, injection_task_id, messages, utility, security}``; episodes as
an array, ``[suite, user_task_id, prompt, messages, utility]``; and the lines of our script that runs its ground truth.

``utility`` is whether the user's task was solved. ``security`` of a run with an injection task is whether the injection
was obeyed: such a run is no success, whatever its utility.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from forge.schema import Step, ToolCall, Trajectory
from forge.trajectories.formats.fields import (
    Found,
    Record,
    call_of,
    content_of,
    first_request,
    identifier,
    malformed,
    objects,
    outcome_of,
    role_of,
    text,
    tools_of,
    trajectory,
)

_ARRAY_FIELDS = ("suite", "user_task_id", "prompt", "messages", "utility")


def matches(record: Record) -> bool:
    is_run = "suite_name" in record or ("suite" in record and "prompt" in record)
    return is_run and "user_task_id" in record and isinstance(record.get("messages"), list)


def read(record: Record) -> Iterator[Found]:
    yield _episode(record)


def matches_array(values: Sequence[object]) -> bool:
    """Whether an array is one episode."""
    return (
        len(values) == len(_ARRAY_FIELDS)
        and all(isinstance(value, str) for value in values[:3])
        and isinstance(values[3], list)
    )


def read_episode_array(values: Sequence[object]) -> Iterator[Found]:
    """The episode that an array is. Raises :class:`UnusableRecordError`."""
    if not matches_array(values):
        raise malformed(f"no array of {', '.join(_ARRAY_FIELDS)}")
    yield _episode(dict(zip(_ARRAY_FIELDS, values, strict=True)))


def steps_of(messages: Sequence[Mapping[str, Any]]) -> list[Step]:
    """AgentDojo's messages as steps. A call is ``{function, args, id}``; ground truth has no ids. An answer without
    words and calls, with which a ground truth may end, is no step."""
    steps: list[Step] = []
    for place, message in enumerate(messages):
        role = role_of(message.get("role"), place)
        thought, content = _parts(message.get("content"))
        if role == "tool":
            answers = text(message.get("tool_call_id")) or None
            steps.append(Step(role, content or "", answers=answers, error=text(message.get("error")) or None))
            continue
        calls = message.get("tool_calls") or []
        if not isinstance(calls, list):
            raise malformed(f"turn {place}: tool_calls is no list")
        if calls or content or thought:
            steps.append(Step(role, content or None, thought, tuple(_call(call, place) for call in calls)))
    return steps


def _episode(record: Record) -> Trajectory:
    steps = steps_of(objects(record.get("messages"), "messages"))
    prompt = text(record.get("prompt"))
    if prompt and not any(step.role == "user" for step in steps):
        steps.insert(
            next((place for place, step in enumerate(steps) if step.role != "system"), 0), Step("user", prompt)
        )
    suite = text(record.get("suite_name")) or text(record.get("suite"))
    utility = record.get("utility")
    is_hijacked = bool(record.get("injection_task_id")) and record.get("security") is True
    names = ("user_task_id", "attack_type", "injection_task_id")
    return trajectory(
        prompt or first_request(steps),
        steps,
        tools=tools_of(record.get("tools")),
        outcome="failure" if is_hijacked else outcome_of(utility),
        reward=float(utility) if isinstance(utility, bool) else None,
        environment=f"agentdojo/{suite}" if suite else "",
        generator=text(record.get("pipeline_name")) or "",
        episode="/".join(found for name in names if (found := identifier(record.get(name)))),
    )


def _parts(content: object) -> tuple[str | None, str | None]:
    """What a message thinks, in blocks of their own type, and what it says."""
    if not isinstance(content, list):
        return None, content_of(content)
    said: list[Any] = []
    thoughts: list[str] = []
    for block in content:
        thought = text(block.get("content")) if isinstance(block, dict) and block.get("type") == "thinking" else None
        if thought is None:
            said.append(block)
        else:
            thoughts.append(thought)
    return "\n".join(thoughts) or None, content_of(said) if said else None


def _call(call: object, place: int) -> ToolCall:
    if isinstance(call, dict) and isinstance(call.get("function"), str):
        call = {"name": call["function"], "arguments": call.get("args"), "id": call.get("id")}
    made = call_of(call, place)
    return replace(made, call_id=made.call_id or None)
