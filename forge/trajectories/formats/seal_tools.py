"""Seal-Tools: ``{id, query, calling[{api, parameters, responses[]}]}``, the calls that answer a query, planned in one
turn and not executed. ``responses`` are names for what a call will return; a later parameter may be such a name, and
stays one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from forge.schema import Step, ToolCall
from forge.trajectories.formats.fields import Found, Record, called, identifier, malformed, objects, text, trajectory


def matches(record: Record) -> bool:
    calls = record.get("calling")
    return "query" in record and isinstance(calls, list) and (not calls or isinstance(calls[0], dict))


def read(record: Record) -> Iterator[Found]:
    calls = objects(record.get("calling"), "calling")
    query = text(record.get("query"))
    if not query:
        raise malformed("a record without a query")
    names = [_names(call) for call in calls]
    uses = Counter(name for of_call in names for name in of_call)
    planned = [
        _call(call, ",".join(of_call) if all(uses[name] == 1 for name in of_call) else "", number)
        for number, (call, of_call) in enumerate(zip(calls, names, strict=True))
    ]
    steps = [Step("user", query), Step("assistant", calls=tuple(planned))]
    yield trajectory(query, steps, episode=identifier(record.get("id")))


def _names(call: Mapping[str, object]) -> list[str]:
    names = call.get("responses")
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _call(call: Mapping[str, object], call_id: str, number: int) -> ToolCall:
    """A call whose id is the names of what it returns, comma separated; none where another call has such a name."""
    return called(call.get("api"), call.get("parameters"), f"call {number}", call_id or None)
