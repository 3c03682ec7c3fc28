"""OpenAI messages: ``messages`` of ``{role, content, tool_calls | function_call, tool_call_id}``, also under the key
``traj`` where people put them, and as a JSON text (SWE-smith).

The legacy ``function_call`` and the role ``function`` are the same things without ids. Content may be a list of blocks,
also of LLaMA-Factory's ``{type: text | reasoning | tool_call, value}``. Read and written; what OpenAI has no place for
stands beside it: ``reasoning_content``, ``error`` and ``loss`` in a message, ``task``, ``outcome``, ``reward``,
``environment``, ``license``, ``generator`` and ``id`` in the record.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from forge.schema import Outcome, Step, ToolCall, Trajectory, canonical_json, is_deeper_than
from forge.trajectories.formats import remainder
from forge.trajectories.formats.fields import (
    MAX_NESTING,
    OUTCOMES,
    Found,
    Record,
    call_of,
    content_of,
    first_request,
    flag,
    identifier,
    json_record,
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
_THOUGHTS = ("reasoning", "thinking")


def matches(record: Record) -> bool:
    turns = _turns(record)
    return isinstance(turns, list) and (not turns or (isinstance(turns[0], dict) and "role" in turns[0]))


def read(record: Record) -> Iterator[Found]:
    yield _episode(json_record(record))


def write(trajectory: Trajectory) -> dict[str, Any]:
    """The episode as a record of messages; :func:`read` gives it back exactly, its source and item aside."""
    record: dict[str, Any] = {"messages": [_message(step) for step in trajectory.steps], **facts(trajectory)}
    if trajectory.tools:
        record["tools"] = function_tools(trajectory.tools)
    if trajectory.generator:
        record["generator"] = trajectory.generator
    if trajectory.episode:
        record["id"] = trajectory.episode
    left = remainder.remainder(trajectory, _episode(record))
    return {**record, remainder.KEY: left} if left else record


def facts(trajectory: Trajectory) -> dict[str, Any]:
    """What a record says of an episode as a whole, where :func:`conversation` would not find the same without it."""
    stated: dict[str, Any] = {}
    if trajectory.task != first_request(trajectory.steps):
        stated["task"] = trajectory.task
    if trajectory.outcome != outcome_of(trajectory.reward):
        stated["outcome"] = trajectory.outcome
    if trajectory.reward is not None:
        stated["reward"] = trajectory.reward
    if trajectory.environment:
        stated["environment"] = trajectory.environment
    if trajectory.license:
        stated["license"] = trajectory.license
    return stated


def function_tools(tools: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Function descriptions as OpenAI's ``tools``."""
    return [{"type": "function", "function": dict(tool)} for tool in tools]


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
        content, reasoning, calls = _parts(turn.get("content"), turn_number)
        if role == "tool":
            steps.append(
                Step("tool", content or "", answers=text(turn.get("tool_call_id")), error=text(turn.get("error")))
            )
            continue
        if turn.get("tool_calls"):
            if not isinstance(turn["tool_calls"], list):
                raise malformed(f"turn {turn_number}: tool_calls is no list")
            calls = tuple(call_of(call, turn_number) for call in turn["tool_calls"])
        elif turn.get("function_call"):
            calls = (call_of(turn["function_call"], turn_number),)
        thought = text(turn.get("reasoning_content")) or text(turn.get("thought")) or reasoning
        steps.append(Step(role, content or None, thought=thought, calls=calls, loss=flag(turn.get("loss"))))
    return steps


def _episode(record: Record) -> Trajectory:
    found = conversation(record, openai_steps(objects(_turns(record), "messages")))
    return remainder.restored(found, record.get(remainder.KEY))


def _turns(record: Record) -> object:
    found = next((record[key] for key in KEYS if key in record), None)
    if not isinstance(found, str):
        return found
    turns = parsed_json(found)
    return turns if isinstance(turns, list) and not is_deeper_than(turns, MAX_NESTING) else None


def _parts(value: object, turn: int) -> tuple[str | None, str | None, tuple[ToolCall, ...]]:
    """Content, thought and calls out of a message's content: a text, or blocks of several types."""
    if not isinstance(value, list) or not any(isinstance(block, dict) and "value" in block for block in value):
        return content_of(value), None, ()
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[ToolCall] = []
    for block in value:
        kind, inner = (block.get("type"), block.get("value")) if isinstance(block, dict) else (None, block)
        if kind == "tool_call":
            calls.append(call_of(parsed_json(inner) if isinstance(inner, str) else inner, turn))
        elif kind in _THOUGHTS and isinstance(inner, str):
            thoughts.append(inner)
        elif isinstance(inner, str):
            texts.append(inner)
        else:
            texts.append(canonical_json(block))
    return "\n".join(texts) if texts else None, "\n".join(thoughts) if thoughts else None, tuple(calls)


def _message(step: Step) -> dict[str, Any]:
    message: dict[str, Any] = {"role": step.role, "content": step.content}
    if step.thought is not None:
        message["reasoning_content"] = step.thought
    if step.calls:
        message["tool_calls"] = [_tool_call(call) for call in step.calls]
    if step.answers is not None:
        message["tool_call_id"] = step.answers
    if step.error is not None:
        message["error"] = step.error
    if step.loss is not None:
        message["loss"] = step.loss
    return message


def _tool_call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": canonical_json(call.arguments)}
    return {**({} if call.call_id is None else {"id": call.call_id}), "type": "function", "function": function}


def _outcome(record: Record, reward: float | None) -> Outcome:
    """``outcome`` or ``success`` as the record states it; else a reward of 1 or 0 (tau-bench); else unknown."""
    for known in OUTCOMES:
        if record.get("outcome") == known:
            return known
    success = record.get("success")
    return outcome_of(success if isinstance(success, bool) else reward)
