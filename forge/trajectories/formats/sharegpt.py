"""ShareGPT and Glaive: ``conversations`` of ``{from: human | gpt | function_call | observation | system, value}``, with
``tools`` as JSON text and the system prompt in a field of its own; calls also as ``<tool_call>`` in the text (Hermes).

Glaive's second version is one text: ``system`` ends with its functions, ``chat`` has ``USER:``, ``ASSISTANT:`` with
``<functioncall> {…}`` and ``FUNCTION RESPONSE:``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from forge.schema import Step, ToolCall
from forge.trajectories.formats.embedded_json import embedded_values, without
from forge.trajectories.formats.fields import (
    Found,
    Record,
    UnusableRecordError,
    arguments_of,
    call_of,
    content_of,
    json_record,
    malformed,
    objects,
    parsed_json,
    role_of,
    text,
    tools_of,
)
from forge.trajectories.formats.openai_messages import conversation
from forge.trajectories.formats.parameter_types import typed_tools
from forge.trajectories.formats.tagged_calls import has_calls_or_thoughts, tagged_step

_END = "<|endoftext|>"
_CALL = "<functioncall>"
_GLAIVE_TURN = re.compile(r"(?:\A|(?<=\n)|(?<=<\|endoftext\|>))[ \t]*+(USER|ASSISTANT|FUNCTION RESPONSE):")
_QUOTED_CALL = re.compile(r'\{\s*"name"\s*:\s*"([^"]+)"\s*,\s*"arguments"\s*:\s*\'(.*)\'\s*\}', re.DOTALL)
_RESPONSE = ("<tool_response>", "</tool_response>")


def matches(record: Record) -> bool:
    turns = record.get("conversations")
    if isinstance(turns, list):
        return not turns or (isinstance(turns[0], dict) and "value" in turns[0])
    return isinstance(record.get("chat"), str) and isinstance(record.get("system"), str)


def read(record: Record) -> Iterator[Found]:
    if "conversations" in json_record(record):
        yield conversation(record, _steps(objects(record["conversations"], "conversations")))
        return
    system, tools = _glaive_system(text(record.get("system")) or "")
    facts = {name: value for name, value in record.items() if name not in ("system", "chat")}
    steps = [*([Step("system", system)] if system else []), *_glaive_steps(text(record.get("chat")) or "")]
    yield conversation({**facts, "tools": tools or record.get("tools")}, steps)


def _steps(turns: Sequence[Mapping[str, Any]]) -> list[Step]:
    steps: list[Step] = []
    for number, turn in enumerate(turns):
        said_by = turn.get("from", turn.get("role"))
        role = role_of(said_by, number)
        value = content_of(turn.get("value", turn.get("content")))
        if said_by == "function_call":
            parsed = parsed_json(value)
            if not isinstance(parsed, (dict, list)):
                raise UnusableRecordError(
                    "malformed_arguments", f"turn {number}: function_call is not JSON: {(value or '')[:100]!r}"
                )
            calls = parsed if isinstance(parsed, list) else [parsed]
            steps.append(Step("assistant", calls=tuple(call_of(call, number) for call in calls)))
        elif role == "assistant" and value and has_calls_or_thoughts(value):
            steps.append(tagged_step(value, number))
        elif role == "tool":
            steps += _observations(value or "")
        else:
            steps.append(Step(role, value or None))
    return steps


def _observations(value: str) -> list[Step]:
    """One step, or one of each ``<tool_response>`` when the turn is nothing but these."""
    opening, closing = _RESPONSE
    whole = value.strip()
    parts = [part.strip() for part in whole.removesuffix(closing).split(closing)]
    if not whole.endswith(closing) or not all(part.startswith(opening) for part in parts):
        return [Step("tool", value)]
    return [Step("tool", part.removeprefix(opening).strip()) for part in parts]


def _glaive_system(system: str) -> tuple[str, list[Mapping[str, Any]]]:
    """The system prompt without its functions, and these."""
    prompt = system.strip().removeprefix("SYSTEM:").strip()
    found = [value for value in embedded_values(prompt) if tools_of(value.value)]
    if not found:
        return prompt, []
    tools = [tool for value in found for tool in tools_of(value.value)]
    return without(prompt, found), typed_tools(tools)


def _glaive_steps(chat: str) -> list[Step]:
    marks = list(_GLAIVE_TURN.finditer(chat))
    if not marks or chat[: marks[0].start()].strip():
        raise malformed(f"chat begins with no turn: {chat[:100]!r}")
    steps: list[Step] = []
    for number, mark in enumerate(marks):
        end = marks[number + 1].start() if number + 1 < len(marks) else len(chat)
        said = chat[mark.end() : end].strip().removesuffix(_END).strip()
        if mark.group(1) == "USER":
            steps.append(Step("user", said or None))
        elif mark.group(1) == "FUNCTION RESPONSE":
            steps.append(Step("tool", said))
        else:
            before, called, call = said.partition(_CALL)
            calls = (_glaive_call(call.strip(), number),) if called else ()
            steps.append(Step("assistant", before.strip() or None, calls=calls))
    return steps


def _glaive_call(said: str, turn: int) -> ToolCall:
    """A call as JSON, or with its arguments' JSON between single quotes."""
    whole = parsed_json(said)
    if whole is not None:
        return call_of(whole, turn)
    quoted = _QUOTED_CALL.fullmatch(said)
    if quoted is None:
        raise UnusableRecordError("malformed_arguments", f"turn {turn}: a function call is not JSON: {said[:100]!r}")
    name, arguments = quoted.groups()
    usable = arguments if parsed_json(arguments) is not None else arguments.replace("\\'", "'")
    return ToolCall(name, arguments_of(usable, f"turn {turn}, {name}"))
