"""ToolTalk: ``{conversation_id, metadata, conversation[{role, text, apis[{request{api_name, parameters}, response,
exception}]}]}``. The calls of an assistant turn were made one after another before its text was said.

``metadata`` (place, time, user name, session token) is what the assistant knows; calls use it, so it is the system
prompt, a line for each entry. ``predictions`` of a model, which evaluations add to the turns, are not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from forge.schema import Step
from forge.trajectories.formats.fields import (
    Found,
    Record,
    UnusableRecordError,
    called,
    first_request,
    identifier,
    malformed,
    objects,
    observation,
    role_of,
    trajectory,
    written,
)


def matches(record: Record) -> bool:
    turns = record.get("conversation")
    return (
        isinstance(turns, list) and bool(turns) and isinstance(turns[0], dict) and {"role", "text"} <= turns[0].keys()
    )


def read(record: Record) -> Iterator[Found]:
    steps = [*_known(record.get("metadata"))]
    for number, turn in enumerate(objects(record.get("conversation"), "conversation")):
        role = role_of(turn.get("role"), number)
        for call in objects(turn["apis"], f"turn {number}: apis") if turn.get("apis") else ():
            steps.extend(_call_steps(call, number))
        said = turn.get("text")
        if said is not None and not isinstance(said, str):
            raise malformed(f"turn {number}: text is no text")
        if said:
            steps.append(Step(role, said))
    episode = identifier(record.get("conversation_id")) or identifier(record.get("name"))
    yield trajectory(first_request(steps), steps, episode=episode)


def _known(metadata: object) -> Iterator[Step]:
    if isinstance(metadata, dict):
        lines = [f"{key}: {written(value)}" for key, value in metadata.items() if value is not None]
        if lines:
            yield Step("system", "\n".join(lines))


def _call_steps(call: Mapping[str, object], number: int) -> Iterator[Step]:
    request = call.get("request")
    if not isinstance(request, dict):
        raise malformed(f"turn {number}: a call without a request")
    if request.get("parameters") is None:  # not yet annotated, or an answer that no one could parse
        raise UnusableRecordError("malformed_arguments", f"turn {number}: a call without parameters")
    yield Step("assistant", calls=(called(request.get("api_name"), request["parameters"], f"turn {number}"),))
    if call.get("response") is not None or call.get("exception") is not None:
        yield observation(call.get("response"), call.get("exception"))
