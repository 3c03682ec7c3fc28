"""API-Bank, levels 1 and 2: a file is one dialogue, each line a turn: ``{role: User | AI, text}``, and for a call with
its real result ``{role: API, api_name, param_dict, result{input, output, exception}}``.

``output`` is what the assistant is shown; ``input`` repeats ``param_dict`` as the API converted it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from forge.schema import Step
from forge.trajectories.formats.fields import (
    Found,
    Record,
    called,
    first_request,
    malformed,
    observation,
    text,
    trajectory,
)

_ROLES = ("User", "AI", "API")


def matches_first(record: Record) -> bool:
    return record.get("role") in _ROLES and ("text" in record or "api_name" in record)


def read_file(records: Sequence[Record]) -> Iterator[Found]:
    steps = [step for number, record in enumerate(records) for step in _turn(record, number)]
    yield trajectory(first_request(steps), steps)


def _turn(record: Record, number: int) -> Iterator[Step]:
    role = record.get("role")
    if role == "API":
        yield Step("assistant", calls=(called(record.get("api_name"), record.get("param_dict"), f"turn {number}"),))
        result = record.get("result")
        if isinstance(result, dict) and "output" in result:
            yield observation(result["output"], result.get("exception"))
        elif result is not None:
            yield observation(result)
        return
    said = text(record.get("text"))
    if said is None or role not in ("User", "AI"):
        raise malformed(f"turn {number}: role {str(role)[:50]!r} and no text of it")
    yield Step("user" if role == "User" else "assistant", said)
