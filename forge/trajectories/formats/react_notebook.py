"""Jupyter notebooks in which ReAct agents ran: what the cells printed, read as one log."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from itertools import chain

from forge.trajectories.formats.fields import Found, Record, UnusableRecordError
from forge.trajectories.formats.react_text import read_text


def matches(record: Record) -> bool:
    return isinstance(record.get("cells"), list) and "nbformat" in record


def read(record: Record) -> Iterator[Found]:
    """Raises ``no_steps`` where nothing that was printed is an episode."""
    found = read_text(StringIO("".join(_printed(record))))
    first = next(found, None)
    if first is None:
        raise UnusableRecordError("no_steps", "no cell printed an episode")
    yield from chain((first,), found)


def _printed(record: Record) -> Iterator[str]:
    cells = record.get("cells")
    for cell in cells if isinstance(cells, list) else []:
        outputs = cell.get("outputs") if isinstance(cell, dict) else None
        for output in outputs if isinstance(outputs, list) else []:
            if not isinstance(output, dict) or output.get("name", "stdout") != "stdout":
                continue
            data = output.get("data")
            text = output.get("text", data.get("text/plain") if isinstance(data, dict) else None)
            pieces = text if isinstance(text, list) else [text]
            yield from (piece for piece in pieces if isinstance(piece, str))
