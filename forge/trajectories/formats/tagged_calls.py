"""What a model says with tags in the text: ``<think>``, ``<tool_call>`` and ``<response>`` (Hermes, Qwen, ToolRL)."""

from __future__ import annotations

import re
from typing import Any

from forge.schema import Step, ToolCall
from forge.trajectories.formats.embedded_json import values_only
from forge.trajectories.formats.fields import UnusableRecordError, call_of

_OPENING = re.compile(r"<(think|tool_call|response)>")


def has_calls_or_thoughts(said: str) -> bool:
    """Whether the text begins with a thought or holds a call."""
    return said.lstrip().startswith("<think>") or "<tool_call>" in said


def tagged_step(said: str, turn: int, *, loss: bool | None = None) -> Step:
    """The assistant's step. Raises ``malformed_arguments`` for a tool call that is no JSON."""
    thoughts: list[str] = []
    calls: list[ToolCall] = []
    texts: list[str] = []
    end = 0
    while opening := _OPENING.search(said, end):
        texts.append(said[end : opening.start()])
        tag = opening.group(1)
        closing = said.find(f"</{tag}>", opening.end())
        inside = said[opening.end() : closing if closing >= 0 else len(said)]
        end = closing + len(tag) + 3 if closing >= 0 else len(said)
        if tag == "tool_call":
            calls += json_calls(inside, turn)
        else:
            (thoughts if tag == "think" else texts).append(inside)
    texts.append(said[end:])
    content = "\n".join(part.strip() for part in texts if part.strip())
    thought = "\n".join(part.strip() for part in thoughts)
    return Step("assistant", content or None, thought=thought if thoughts else None, calls=tuple(calls), loss=loss)


def json_calls(text: str, turn: int) -> list[ToolCall]:
    """The calls of a text of JSON objects, one after the other or in a list."""
    values = values_only(text)
    if values is None:
        raise UnusableRecordError(
            "malformed_arguments", f"turn {turn}: a tool call is not JSON: {text.strip()[:100]!r}"
        )
    calls: list[Any] = []
    for value in values:
        calls += value if isinstance(value, list) else [value]
    return [call_of(call, turn) for call in calls]
