"""nebius' SWE-agent runs: ``trajectory`` of ``{role: system | user | ai, text, system_prompt, mask}`` on one
``instance_id``. ``target`` is whether the instance's tests passed, ``mask`` whether a turn is trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from forge.schema import Step
from forge.trajectories.formats.fenced_text import with_commands
from forge.trajectories.formats.fields import (
    Found,
    Record,
    content_of,
    first_request,
    identifier,
    objects,
    outcome_of,
    role_of,
    text,
    trajectory,
)


def matches(record: Record) -> bool:
    turns = record.get("trajectory")
    if not isinstance(turns, list) or "instance_id" not in record:
        return False
    return (isinstance(turns[0], dict) and {"role", "text"} <= turns[0].keys()) if turns else "target" in record


def read(record: Record) -> Iterator[Found]:
    turns = objects(record.get("trajectory"), "trajectory")
    said = [_step(turn, place) for place, turn in enumerate(turns)]
    steps = with_commands([step for step in said if step.role != "system" or step.content])
    yield trajectory(
        first_request(steps),
        steps,
        outcome=outcome_of(record.get("target")),
        generator=text(record.get("model_name")) or "",
        episode=identifier(record.get("instance_id")),
    )


def _step(turn: Mapping[str, Any], place: int) -> Step:
    role = role_of(turn.get("role"), place)
    said = [found for name in ("system_prompt", "text") if (found := content_of(turn.get(name)))]
    mask = turn.get("mask")
    return Step(
        role,
        "\n".join(said) or ("" if role == "tool" else None),
        loss=mask if role == "assistant" and isinstance(mask, bool) else None,
    )
