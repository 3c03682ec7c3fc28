"""A user's own trajectories: JSON Lines, JSON or Parquet in the layouts that :mod:`forge.trajectories.jsonl` knows (an
item is one file)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from forge.config import Settings, SourceSettings
from forge.files import FileKind, OpenedFile, file_options, list_files
from forge.schema import Decision, Item, Trajectory, canonical_json
from forge.stored_files import Problem
from forge.trajectories.jsonl import read_trajectories

_STEP = "parse_trajectories"
_KINDS: tuple[FileKind, ...] = ("trajectory",)


def list_items(name: str, source: SourceSettings, settings: Settings) -> Iterator[Item]:
    """The files of a source of kind ``trajectory``."""
    return list_files(name, source, settings, _KINDS)


def read_item(item: Item, source: SourceSettings, settings: Settings) -> Iterator[Trajectory | Decision]:
    """Every episode of a file, and a decision for every record that is none. One record is in memory at a time."""
    file = OpenedFile(item, file_options(item.source, source), settings)
    problem = file.problem()
    if problem is not None:
        yield problem.decision(item, _STEP)
        return
    for found in file.lines() if file.format == "jsonl" else file.rows():
        if isinstance(found, Problem):
            yield found.decision(item, _STEP)
            continue
        number, record = found
        try:
            line = record if isinstance(record, bytes) else canonical_json(record).encode()
        except TypeError as error:  # a Parquet column of bytes or the like
            yield Problem(str(number), "malformed_record", str(error)).decision(item, _STEP)
            continue
        yield from (_at_line(one, item, number) for one in _one_record(line, item, source))


def _one_record(line: bytes, item: Item, source: SourceSettings) -> Iterator[Trajectory | Decision]:
    return read_trajectories(line, source=item.source, item_id=item.item_id, license=source.license)


def _at_line(found: Trajectory | Decision, item: Item, number: int) -> Trajectory | Decision:
    if isinstance(found, Trajectory):
        return found
    return replace(
        found, item_id=f"{item.item_id}#{number}", detail=f"line {number}: {found.detail.partition(': ')[2]}"
    )
