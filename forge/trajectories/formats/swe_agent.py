"""SWE-agent runs (``.traj``): ``trajectory`` of ``{action, observation, response, thought, state}``, and ``history``,
the conversation as the agent saw it. Some demonstrations hold a ``history`` alone.

An entry of ``trajectory`` is an answer of the agent and what came back. The history has what the entries lack: system
prompt, task, tool calls with ids, and each observation with the state of the shell below it, as the agent was shown it.
Demonstrations in the prompt (``is_demo``) are other tasks' episodes and stay out. What has no action, or never ran, is
an answer that was refused or SWE-agent's own note at a limit: it is kept and not trained on. ``exit_status`` and
``submission`` do not say whether the task was solved.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from forge.schema import Step, ToolCall
from forge.trajectories.formats.fenced_text import SHELL
from forge.trajectories.formats.fields import (
    Found,
    Record,
    UnusableRecordError,
    call_of,
    content_of,
    first_request,
    identifier,
    malformed,
    number,
    objects,
    outcome_of,
    parsed_json,
    text,
    tools_of,
    trajectory,
)
from forge.trajectories.formats.parameter_types import Parameter, described_tool

_LOOK_AHEAD = 4
"""Answers of the history that an entry of the trajectory may skip: the two lists differ where files were edited."""
_TOOL = re.compile(r"([\w.-]+):")
_ARGUMENT = re.compile(r" {4}- (\S+) \((\w+)\) \[(required|optional)\]:(.*)")


def matches(record: Record) -> bool:
    entries, history = record.get("trajectory"), record.get("history")
    if isinstance(entries, list) and entries:
        first = entries[0]
        return isinstance(first, dict) and {"action", "observation"} <= first.keys() and "response" in first
    first = history[0] if isinstance(history, list) and history else None
    return isinstance(first, dict) and "role" in first and "agent" in first


def read(record: Record) -> Iterator[Found]:
    history = objects(record["history"], "history") if record.get("history") else []
    opening, answers = _split([message for message in history if message.get("is_demo") is not True])
    entries = record.get("trajectory")
    turns = _paired(objects(entries, "trajectory"), answers) if entries else answers
    if not turns:
        raise UnusableRecordError("no_steps", "neither trajectory nor history holds an answer of the agent")
    info, replay = _object(record.get("info")), _object(record.get("replay_config"))
    problem, agent = _object(replay.get("problem_statement")), _object(replay.get("agent"))
    tools = _tools(agent) if any(turn.calls for turn in turns) else ()
    names = frozenset(str(tool["name"]) for tool in tools)
    steps = [*opening, *(step for place, turn in enumerate(turns) for step in _steps(turn, place, names))]
    resolved = next((found["resolved"] for found in (record, info) if "resolved" in found), None)
    yield trajectory(
        first_request(steps) or text(problem.get("text")) or "",
        steps,
        tools=tools,
        outcome=outcome_of(resolved),
        environment=text(record.get("environment")) or "",
        generator=_generator(agent, info),
        episode=identifier(record.get("instance_id")) or identifier(problem.get("id")),
    )


@dataclass(frozen=True, slots=True)
class _Turn:
    """One answer of the agent, and what it was shown after it. ``is_in_history`` tells answers that stayed in the
    conversation from those that were asked for again."""

    action: str
    thought: str
    response: str
    reasoning: str | None
    calls: Sequence[Any]
    shown: str | None
    is_in_history: bool = True


def _split(history: Sequence[Mapping[str, Any]]) -> tuple[list[Step], list[_Turn]]:
    """What the history begins with, and the agent's answers in it, each with all that was shown until the next."""
    opening: list[Step] = []
    turns: list[tuple[Mapping[str, Any], list[str]]] = []
    for place, message in enumerate(history):
        role, content = message.get("role"), content_of(message.get("content")) or ""
        if role == "assistant":
            turns.append((message, []))
        elif role not in ("system", "user", "tool"):
            raise malformed(f"history, message {place}: unknown role {str(role)[:50]!r}")
        elif turns:
            turns[-1][1].append(content)
        else:
            opening.append(Step("system" if role == "system" else "user", content))
    return opening, [_answer(message, shown) for message, shown in turns]


def _answer(message: Mapping[str, Any], shown: Sequence[str]) -> _Turn:
    calls = message.get("tool_calls")
    blocks = message.get("thinking_blocks")
    thinking = [
        found
        for block in (blocks if isinstance(blocks, list) else [])
        if (found := text(_object(block).get("thinking")))
    ]
    return _Turn(
        action=text(message.get("action")) or "",
        thought=text(message.get("thought")) or "",
        response=content_of(message.get("content")) or "",
        reasoning="\n".join(thinking) or None,
        calls=calls if isinstance(calls, list) else [],
        shown="\n".join(shown) if shown else None,
    )


def _paired(entries: Sequence[Mapping[str, Any]], answers: Sequence[_Turn]) -> list[_Turn]:
    """The entries in their order, each with the calls and the observation of its answer in the history."""
    turns: list[_Turn] = []
    place = 0
    for entry in entries:
        action, observation = text(entry.get("action")) or "", content_of(entry.get("observation"))
        ahead = range(place, min(place + _LOOK_AHEAD, len(answers)))
        found = next((index for index in ahead if answers[index].action == action), None)
        answer = None if found is None else answers[found]
        if found is not None:
            place = found + 1
        turns.append(
            _Turn(
                action=action,
                thought=text(entry.get("thought")) or "",
                response=text(entry.get("response")) or "",
                reasoning=text(entry.get("reasoning_content")) or (answer.reasoning if answer else None),
                calls=answer.calls if answer else [],
                shown=answer.shown if answer and answer.shown is not None else observation,
                is_in_history=answer is not None or not answers,
            )
        )
    return turns


def _steps(turn: _Turn, place: int, tools: Set[str]) -> Iterator[Step]:
    """``tools``: names of the tools that the agent calls; the last one, ``submit``, may be missing in the history."""
    calls = [call_of(call, place) for call in turn.calls]
    action = turn.action.strip()
    if not calls and action:
        calls = [ToolCall(action, {}) if action in tools else ToolCall(SHELL, {"command": turn.action.strip("\n")})]
    said = turn.thought.strip() or ("" if calls else turn.response.strip())
    is_refused = not calls or not (turn.is_in_history or turn.shown)
    yield Step(
        "assistant",
        content=(said or None) if turn.reasoning else None,
        thought=turn.reasoning or said or None,
        calls=tuple(calls),
        loss=False if is_refused else None,
    )
    if calls and turn.shown is not None:
        yield Step("tool", turn.shown, answers=calls[0].call_id)
    elif turn.shown:
        yield Step("user", turn.shown)


def _object(value: object) -> Mapping[str, Any]:
    """An object, or the JSON text of one; else an empty one."""
    found = parsed_json(value) if isinstance(value, str) else value
    return found if isinstance(found, dict) else {}


def _generator(agent: Mapping[str, Any], info: Mapping[str, Any]) -> str:
    """The model of the configuration, unless no model was asked: a replay repeats another run's actions."""
    name = text(_object(agent.get("model")).get("name")) or ""
    was_asked = number(_object(info.get("model_stats")).get("tokens_sent")) != 0
    return "human" if name.startswith("human") else name if was_asked and name != "replay" else ""


def _tools(agent: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """The tools of a function-calling run, out of the ``command_docs`` that its prompt may show."""
    documentation = text(_object(agent.get("tools")).get("command_docs")) or ""
    lines = documentation.split("\n")
    starts = [
        index
        for index in range(len(lines) - 1)
        if _TOOL.fullmatch(lines[index]) and lines[index + 1].startswith("  docstring:")
    ]
    return tools_of([_tool(lines[start:end]) for start, end in pairwise([*starts, len(lines)])])


def _tool(lines: Sequence[str]) -> dict[str, Any]:
    """``name:``, then indented ``docstring:``, ``signature:`` and ``arguments:`` with one line or more each."""
    end = next((index for index, line in enumerate(lines) if line.startswith("  signature:")), len(lines))
    description = "\n".join(lines[1:end]).removeprefix("  docstring:").strip()
    parameters = [
        Parameter(found[1], found[2], found[3] == "required", found[4].strip())
        for found in map(_ARGUMENT.fullmatch, lines[end:])
        if found
    ]
    return described_tool(lines[0].removesuffix(":"), description, parameters)
