"""ATIF, the Agent Trajectory Interchange Format of Harbor: ``schema_version`` "ATIF-v1.x", ``agent`` and ``steps`` of
``{source: system | user | agent, message, reasoning_content, tool_calls, observation}``.

Read, and written as 1.7 or 1.8. An agent's step carries the results of its own calls, so one step may become several
of ours; observations that belong to no such step stand alone under an empty message. What ATIF has no field for is in
its places for extensions: ``error`` in a result's ``extra``, ``loss`` in a step's, ``id_generated`` in a call's, the
rest in the document's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any, Literal

from forge.schema import Role, Step, ToolCall, Trajectory
from forge.stored_files import Problem
from forge.trajectories.formats import remainder
from forge.trajectories.formats.fields import (
    Found,
    Record,
    UnusableRecordError,
    arguments_of,
    content_of,
    flag,
    identifier,
    json_record,
    malformed,
    object_of,
    objects,
    text,
)
from forge.trajectories.formats.openai_messages import conversation, facts, function_tools

Version = Literal["ATIF-v1.7", "ATIF-v1.8"]

_PREFIX = "ATIF-v1."
_ROLES: Mapping[str, Literal["system", "user", "assistant"]] = {
    "system": "system",
    "user": "user",
    "agent": "assistant",
}
_SOURCES: Mapping[Role, str] = {role: source for source, role in _ROLES.items()}
_FACTS = ("task", "outcome", "success", "reward", "environment", "license")
_UNKNOWN = "unknown"


def matches(record: Record) -> bool:
    version = record.get("schema_version")
    return isinstance(version, str) and version.startswith(_PREFIX) and isinstance(record.get("steps"), list)


def read(record: Record) -> Iterator[Found]:
    """The document's episode, then those of the subagents that are embedded in it."""
    yield _episode(json_record(record))
    embedded = _subagents(record)
    for place, document in enumerate(embedded):  # the list grows by the subagents of subagents
        part = identifier(document.get("trajectory_id")) or f"subagent_trajectories[{place}]"
        try:
            yield _episode(document)
        except UnusableRecordError as error:
            yield Problem(part, error.reason, str(error))
        embedded += _subagents(document)


def write(trajectory: Trajectory, version: Version = "ATIF-v1.8") -> dict[str, Any]:
    """The episode as an ATIF document; :func:`read` gives it back exactly, its source and item aside."""
    document: dict[str, Any] = {
        "schema_version": version,
        "agent": {"name": trajectory.generator or _UNKNOWN, "version": _UNKNOWN},
        "steps": _written(trajectory.steps),
    }
    if trajectory.episode:
        document["trajectory_id"] = trajectory.episode
    if trajectory.tools:
        document["agent"]["tool_definitions"] = function_tools(trajectory.tools)
    extra = facts(trajectory)
    if extra:
        document["extra"] = extra
    left = remainder.remainder(trajectory, _episode(document))
    if left:
        document["extra"] = {**extra, remainder.KEY: left}
    return document


def _episode(document: Record) -> Trajectory:
    extra = object_of(document.get("extra"))
    agent = object_of(document.get("agent"))
    name = text(agent.get("name"))
    found = conversation(
        {
            **{fact: extra[fact] for fact in _FACTS if fact in extra},
            "tools": agent.get("tool_definitions"),
            "generator": text(agent.get("model_name")) or ("" if name == _UNKNOWN else name),
            "id": identifier(document.get("trajectory_id")) or identifier(document.get("session_id")),
        },
        [step for turn in enumerate(objects(document.get("steps"), "steps")) for step in _read_step(*turn)],
    )
    return remainder.restored(found, extra.get(remainder.KEY))


def _subagents(document: Record) -> list[Record]:
    embedded = document.get("subagent_trajectories")
    return [one for one in embedded if isinstance(one, dict)] if isinstance(embedded, list) else []


def _read_step(turn: int, step: Record) -> Iterator[Step]:
    source = text(step.get("source"))
    role = _ROLES.get(source or "")
    if role is None:
        raise malformed(f"step {turn}: unknown source {(source or '')[:50]!r}")
    stated_calls = objects(step["tool_calls"], f"step {turn}: tool_calls") if step.get("tool_calls") else []
    generated = {call.get("tool_call_id") for call in stated_calls if _is_generated(call)}
    calls = tuple(_read_call(call, turn) for call in stated_calls)
    message, thought = _message(step.get("message")) or None, text(step.get("reasoning_content"))
    results = object_of(step.get("observation")).get("results")
    answers = objects(results, f"step {turn}: results") if results else []
    if message is not None or thought is not None or calls or not answers:
        yield Step(role, message, thought=thought, calls=calls, loss=_loss(step))
    for result in answers:
        call_id = text(result.get("source_call_id"))
        error = text(object_of(result.get("extra")).get("error"))
        answered = None if call_id in generated else call_id
        yield Step("tool", _message(result.get("content")), answers=answered, error=error)


def _read_call(call: Record, turn: int) -> ToolCall:
    name = call.get("function_name")
    if not isinstance(name, str) or not name:
        raise malformed(f"step {turn}: a tool call without a function_name")
    call_id = None if _is_generated(call) else text(call.get("tool_call_id"))
    return ToolCall(name, arguments_of(call.get("arguments"), f"step {turn}, {name}"), call_id)


def _is_generated(call: Record) -> bool:
    return object_of(call.get("extra")).get("id_generated") is True and isinstance(call.get("tool_call_id"), str)


def _loss(step: Record) -> bool | None:
    """Nobody may train on what an agent did before, where the step is a copy of it for context."""
    if step.get("is_copied_context") is True and step.get("source") == "agent":
        return False
    return flag(object_of(step.get("extra")).get("loss"))


def _message(value: object) -> str | None:
    """A message or a result: a text, or the texts of its parts with a note where an image or a sound was."""
    if not isinstance(value, list) or not all(isinstance(part, dict) for part in value):
        return content_of(value)
    texts = []
    for part in value:
        path = text(object_of(part.get("source")).get("path"))
        if isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif path is not None:
            texts.append(f"[{str(part.get('type')).capitalize()}: {path}]")
        else:
            texts.append(content_of(part) or "")
    return "\n".join(texts)


def _written(steps: Sequence[Step]) -> list[dict[str, Any]]:
    taken = {name for step in steps for name in (step.answers, *(call.call_id for call in step.calls))}
    fresh = (name for name in map("call_{}".format, count(1)) if name not in taken)
    written: list[dict[str, Any]] = []
    takes_results = False
    known: set[str] = set()
    unanswered: deque[str] = deque()
    for step in steps:
        if step.role != "tool":
            turn = _written_turn(step, fresh)
            written.append({"step_id": len(written) + 1, **turn})
            says = bool(turn["message"]) or "reasoning_content" in turn or "tool_calls" in turn
            takes_results = step.role == "assistant" and says
            known = {call["tool_call_id"] for call in turn.get("tool_calls", ())}
            unanswered = deque(call["tool_call_id"] for call in turn.get("tool_calls", ()) if _is_generated(call))
            continue
        if not takes_results or (known and step.answers is not None and step.answers not in known):
            written.append({"step_id": len(written) + 1, "source": "system", "message": ""})
            takes_results, known, unanswered = True, set(), deque()
        answered = unanswered.popleft() if step.answers is None and unanswered else step.answers
        written[-1].setdefault("observation", {"results": []})["results"].append(_written_result(step, answered))
    return written


def _written_turn(step: Step, fresh: Iterator[str]) -> dict[str, Any]:
    turn: dict[str, Any] = {"source": _SOURCES[step.role], "message": step.content or ""}
    if step.role == "assistant":
        if step.thought is not None:
            turn["reasoning_content"] = step.thought
        if step.calls:
            turn["tool_calls"] = list(_written_calls(step.calls, fresh))
    if step.loss is not None:
        turn["extra"] = {"loss": step.loss}
    return turn


def _written_calls(calls: Iterable[ToolCall], fresh: Iterator[str]) -> Iterator[dict[str, Any]]:
    for call in calls:
        written = {"function_name": call.name, "arguments": dict(call.arguments)}
        if call.call_id is None:
            yield {"tool_call_id": next(fresh), **written, "extra": {"id_generated": True}}
        else:
            yield {"tool_call_id": call.call_id, **written}


def _written_result(step: Step, answered: str | None) -> dict[str, Any]:
    result: dict[str, Any] = {}
    if answered is not None:
        result["source_call_id"] = answered
    if step.content is not None:
        result["content"] = step.content
    if step.error is not None:
        result["extra"] = {"error": step.error}
    return result
