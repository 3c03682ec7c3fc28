"""ShareGPT and Glaive: ``conversations`` of ``{from: human | gpt | function_call | observation | system, value}``, with
``tools`` as JSON text and the system prompt in a field of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from forge.schema import Step
from forge.trajectories.formats.fields import (
    Found,
    Record,
    UnusableRecordError,
    call_of,
    content_of,
    objects,
    parsed_json,
    role_of,
)
from forge.trajectories.formats.openai_messages import conversation


def matches(record: Record) -> bool:
    turns = record.get("conversations")
    return isinstance(turns, list) and (not turns or (isinstance(turns[0], dict) and "value" in turns[0]))


def read(record: Record) -> Iterator[Found]:
    yield conversation(record, _steps(objects(record["conversations"], "conversations")))


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
        else:
            steps.append(Step(role, (value or "") if role == "tool" else value or None))
    return steps
