"""What was measured of each item: one line of JSON per item, written as it is measured, read again after a kill.

Every figure is a ratio of sums over items (:mod:`training.evaluation.statistics`): an item brings a numerator and a
denominator for each measure. Accuracy is (right, 1), nats per token (nats, tokens), bits per byte (bits, bytes), the
mean over items (nats / tokens, 1).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

MAX_ANSWER_CHARACTERS = 20_000
FLUSH_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class ItemRecord:
    """One item of a task. ``measures``: name to (numerator, denominator); ``answer``: what the model wrote, if it was
    asked to; ``problem``: "" or why the answer is wrong; ``detail``: what a reader of a single item wants to see."""

    item_id: str
    category: str
    measures: Mapping[str, tuple[float, float]]
    answer: str = ""
    problem: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)


class RecordFile:
    """``<task>.jsonl``: a first line with ``key``, then an item a line.

    Lines that another key wrote are dropped when the file is opened, and so is a last line that a kill has cut.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path = path
        self.key = key
        self._records = self._read()

    @property
    def records(self) -> Mapping[str, ItemRecord]:
        """What is measured so far, by item id."""
        return self._records

    def append(self, records: Iterable[ItemRecord]) -> None:
        """Add items; they are on the disk when this returns. An item that is there already is left as it is."""
        new = [record for record in records if record.item_id not in self._records]
        with self.path.open("ab") as file:
            for record in new:
                written = asdict(record) | {"answer": _storable(record.answer), "problem": _storable(record.problem)}
                file.write(orjson.dumps(written, option=orjson.OPT_SORT_KEYS) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._records.update({record.item_id: record for record in new})

    def extend(self, records: Iterable[ItemRecord], stop: object) -> None:
        """Add items as they come, at least every :data:`FLUSH_SECONDS`, until there are no more or ``stop`` is true."""
        waiting: list[ItemRecord] = []
        flushed = time.monotonic()
        try:
            for record in records:
                waiting.append(record)
                if stop or time.monotonic() - flushed >= FLUSH_SECONDS:
                    self.append(waiting)
                    waiting, flushed = [], time.monotonic()
                if stop:
                    return
        finally:
            self.append(waiting)

    def _read(self) -> dict[str, ItemRecord]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        header = _header(self.key)
        lines = self.path.read_bytes().splitlines(keepends=True) if self.path.is_file() else []
        if not lines or lines[0] != header:
            self.path.write_bytes(header)
            return {}
        whole = [line for line in lines[1:] if line.endswith(b"\n")]
        if len(whole) < len(lines) - 1:
            with self.path.open("r+b") as file:
                file.truncate(len(header) + sum(map(len, whole)))
        return {record.item_id: record for record in map(_record, whole)}


def read_records(path: Path, key: str) -> dict[str, ItemRecord]:
    """The whole lines of a record file; nothing is changed. {} when there is no file, or another key wrote it."""
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    if not lines or lines[0] != _header(key):
        return {}
    return {record.item_id: record for record in (_record(line) for line in lines[1:] if line.endswith(b"\n"))}


def _storable(text: str) -> str:
    """Cut, and without halves of surrogate pairs, which a model may write and UTF-8 has no bytes for."""
    return text[:MAX_ANSWER_CHARACTERS].encode("utf-8", "replace").decode()


def _header(key: str) -> bytes:
    return orjson.dumps({"key": key}) + b"\n"


def _record(line: bytes) -> ItemRecord:
    found = orjson.loads(line)
    measures = {name: (pair[0], pair[1]) for name, pair in found.pop("measures").items()}
    return ItemRecord(measures=measures, **found)
