"""Results of Reflexion's ALFWorld runs: a flag of success and the memories of each environment, no steps."""

from __future__ import annotations

from collections.abc import Iterator

from forge.trajectories.formats.fields import Found, Record, UnusableRecordError, identifier


def matches(record: Record) -> bool:
    return {"name", "memory", "is_success"} <= record.keys()


def read(record: Record) -> Iterator[Found]:
    """Always raises ``no_steps``: the steps of these runs were printed to a log of their own."""
    name = identifier(record.get("name")) or "an environment"
    raise UnusableRecordError("no_steps", f"{name[:50]}: memories and a flag of success, not the steps between them")
