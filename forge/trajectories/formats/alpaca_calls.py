"""Calls in Alpaca's layout (Hammer, ToolRL): ``instruction`` with the tools in its text, ``input``, and ``output`` with
calls inside a code fence or ``<tool_call>``; the turns before it stand in ``input`` with tags, or in ``history``.

ToolRL's Parquet files for reinforcement learning hold the same as ``prompt`` and ``reward_model``, whose ground truth
is the output.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from forge.schema import Step
from forge.trajectories.formats.embedded_json import values_only
from forge.trajectories.formats.fields import (
    Found,
    Record,
    call_of,
    identifier,
    json_record,
    malformed,
    parsed_json,
    text,
    tools_of,
)
from forge.trajectories.formats.openai_messages import conversation
from forge.trajectories.formats.parameter_types import typed_tools
from forge.trajectories.formats.tagged_calls import tagged_step

_TOOLS = ("[BEGIN OF AVAILABLE TOOLS]", "[END OF AVAILABLE TOOLS]")
_QUERY = ("[BEGIN OF QUERY]", "[END OF QUERY]")
_NUMBERED = re.compile(r"^\d{1,9}\. Name: (.*)\nDescription: ((?:.*\n){1,50}?)Parameters: (\{.*\})$\n?", re.MULTILINE)
_HISTORY_TITLE = "**Dialogue Records History**"
_HISTORY = re.compile(r"<(user|think|tool_call|response|obs)>")
_MARKS = (_TOOLS[0], _HISTORY_TITLE, "**Available Tools**", "<tool_call>")


def matches(record: Record) -> bool:
    fields = _fields(record)
    return fields is not None and any(mark in field for mark in _MARKS for field in fields)


def read(record: Record) -> Iterator[Found]:
    fields = _fields(json_record(record))
    if fields is None:
        raise malformed("instruction and output are no texts")
    instruction, asked, answer = fields
    system, tools = _tools(instruction)
    before, query, behind = _cut(system, _QUERY)
    if query is not None:
        system, asked = f"{before}{behind}", "\n".join(part for part in (query, asked) if part)
    elif not tools and not _is_dialogue(asked):
        system, asked = "", "\n".join(part for part in (instruction, asked) if part)  # plain Alpaca
    steps = [Step("system", prompt) for prompt in (text(record.get("system")), system.strip()) if prompt]
    steps += _pairs(record.get("history"))
    steps += _turns(asked)
    steps.append(_answer(answer, len(steps)))
    if "reward_model" in record:
        extra = record.get("extra_info") if isinstance(record.get("extra_info"), dict) else {}
        steps[-1] = replace(steps[-1], loss=None)
        facts: dict[str, Any] = {"generator": "ground_truth", "id": identifier((extra or {}).get("index"))}
    else:
        facts = {name: value for name, value in record.items() if name != "system"}
    facts["tools"] = tools or facts.get("tools")
    yield conversation(facts, steps)


def _fields(record: Record) -> tuple[str, str, str] | None:
    """Instruction, input and output."""
    if isinstance(record.get("reward_model"), dict) and isinstance(record.get("prompt"), list):
        said = {turn.get("role"): turn.get("content") for turn in record["prompt"] if _is_turn(turn)}
        fields = (said.get("system", ""), said.get("user", ""), record["reward_model"].get("ground_truth"))
    else:
        fields = (record.get("instruction"), record.get("input") or "", record.get("output"))
    instruction, asked, answer = fields
    if isinstance(instruction, str) and isinstance(asked, str) and isinstance(answer, str):
        return instruction, asked, answer
    return None


def _is_turn(turn: object) -> bool:
    return isinstance(turn, dict) and isinstance(turn.get("role"), str)


def _cut(whole: str, marks: tuple[str, str]) -> tuple[str, str | None, str]:
    """The text before the first mark, between the two and behind the second; None when they are not there."""
    start = whole.find(marks[0])
    end = whole.find(marks[1], start)
    if start < 0 or end < 0:
        return whole, None, ""
    return whole[:start], whole[start + len(marks[0]) : end].strip(), whole[end + len(marks[1]) :]


def _tools(instruction: str) -> tuple[str, list[Mapping[str, Any]]]:
    """The instruction without the tools that it lists, and these."""
    before, listed, behind = _cut(instruction, _TOOLS)
    tools = typed_tools(tools_of(listed))
    if tools:
        return f"{before.rstrip()}\n\n{behind.lstrip()}", tools
    described = [
        {"name": name, "description": description.strip(), "parameters": parsed_json(parameters)}
        for name, description, parameters in _NUMBERED.findall(instruction)
    ]
    return (_NUMBERED.sub("", instruction), typed_tools(tools_of(described))) if described else (instruction, [])


def _pairs(history: object) -> list[Step]:
    """Alpaca's ``history``: pairs of what the user said and what the assistant answered."""
    steps: list[Step] = []
    for pair in history if isinstance(history, list) else []:
        if isinstance(pair, list) and len(pair) == 2 and all(isinstance(said, str) for said in pair):
            steps.append(Step("user", pair[0]))
            steps.append(tagged_step(pair[1], len(steps), loss=False))
    return steps


def _untitled(asked: str) -> str:
    return asked.strip().removeprefix(_HISTORY_TITLE).strip()


def _is_dialogue(asked: str) -> bool:
    return _untitled(asked).startswith("<user>")


def _turns(asked: str) -> list[Step]:
    """The dialogue so far: turns between tags, or all of it as one request."""
    if not _is_dialogue(asked):
        return [Step("user", asked.strip())] if asked.strip() else []
    untitled = _untitled(asked)
    steps: list[Step] = []
    said = ""
    end = 0
    while opening := _HISTORY.match(untitled, _skipped(untitled, end)):
        tag = opening.group(1)
        closing = untitled.find(f"</{tag}>", opening.end())
        if closing < 0:
            raise malformed(f"turn {len(steps)}: <{tag}> without an end")
        inside = untitled[opening.end() : closing].strip()
        end = closing + len(tag) + 3
        if said and tag not in ("tool_call", "response"):
            steps.append(tagged_step(said, len(steps), loss=False))
            said = ""
        if tag in ("user", "obs"):
            steps.append(Step("user" if tag == "user" else "tool", inside))
        else:
            said += untitled[opening.start() : end]
    if untitled[end:].strip():
        raise malformed(f"turn {len(steps)}: text outside of all tags: {untitled[end:].strip()[:100]!r}")
    return [*steps, tagged_step(said, len(steps), loss=False)] if said else steps


def _skipped(whole: str, start: int) -> int:
    while start < len(whole) and whole[start].isspace():
        start += 1
    return start


def _answer(output: str, turn: int) -> Step:
    """Only what Alpaca calls the output is trained on."""
    said = output.strip()
    inside = said.removeprefix("```").removesuffix("```").removeprefix("json")
    values = values_only(inside) if said.startswith(("```", "[", "{")) else None
    entries = [entry for value in values or () for entry in (value if isinstance(value, list) else [value])]
    if entries and all(isinstance(entry, dict) and "name" in entry for entry in entries):
        return Step("assistant", calls=tuple(call_of(entry, turn) for entry in entries), loss=True)
    return tagged_step(said, turn, loss=True)
