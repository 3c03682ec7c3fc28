"""xLAM and APIGen-60k: ``query`` and the ``answers`` to it, calls of ``tools``, both as JSON text. One turn, never run.

APIGen-MT, of several turns, is ShareGPT with ``tools`` and ``system`` beside it.
"""

from __future__ import annotations

from collections.abc import Iterator

from forge.schema import Step
from forge.trajectories.formats.fields import (
    Found,
    Record,
    UnusableRecordError,
    call_of,
    json_record,
    malformed,
    parsed_json,
    text,
    tools_of,
)
from forge.trajectories.formats.openai_messages import conversation
from forge.trajectories.formats.parameter_types import typed_tools


def matches(record: Record) -> bool:
    return "query" in record and "answers" in record and "tools" in record


def read(record: Record) -> Iterator[Found]:
    record = json_record(record)
    query = text(record.get("query"))
    if query is None:
        raise malformed("query is no text")
    answers = record.get("answers")
    calls = parsed_json(answers) if isinstance(answers, str) else answers
    if not isinstance(calls, list):
        raise UnusableRecordError("malformed_arguments", f"answers are no JSON list: {str(answers)[:100]!r}")
    steps = [Step("user", query), Step("assistant", calls=tuple(call_of(call, 1) for call in calls))]
    facts = {name: value for name, value in record.items() if name != "tools"}
    yield conversation({**facts, "tools": typed_tools(tools_of(record.get("tools")))}, steps)
