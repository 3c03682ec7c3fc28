"""Documents into fixed-length sequences, isolated from each other (table ``packed``).

A sequence holds whole *pieces* one behind the other: a document, or a run of at most ``sequence_tokens`` tokens of a
longer one. Position ids restart at each piece, which is what isolates them (see :mod:`training.attention`). No token
is lost: every token of every document given is in exactly one sequence, and what is cropped before is counted.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forge.schema import TABLES

WINDOW_PIECES = 4096
"""Best fit decreasing runs over windows of this many pieces, so that packing needs bounded memory."""

PACKED_COLUMNS = pa.schema(
    [TABLES["packed"].field(name) for name in ("input_ids", "doc_ids", "document_offsets", "loss_spans")]
)
"""What a sequence consists of. ``document_offsets`` has one entry more than ``doc_ids``: where each piece starts, and
where the padding does. ``loss_spans`` are half-open ranges of ``input_ids`` that the loss counts as predicted."""


@dataclass(frozen=True, slots=True)
class TokenisedDocument:
    """``input_ids`` int32, shape (tokens,). ``loss_spans``: half-open ranges of it that the loss counts."""

    doc_id: str
    input_ids: NDArray[np.int32]
    loss_spans: tuple[tuple[int, int], ...]


def whole_document(doc_id: str, input_ids: Sequence[int] | NDArray[np.int32]) -> TokenisedDocument:
    """A pre-training document: the loss counts every token but the first, which nothing precedes."""
    spans = ((1, len(input_ids)),) if len(input_ids) > 1 else ()
    return TokenisedDocument(doc_id, np.asarray(input_ids, dtype=np.int32), spans)


def pieces_of(document: TokenisedDocument, sequence_tokens: int) -> Iterator[TokenisedDocument]:
    """The document in runs of at most ``sequence_tokens``; the first token of a later run is context, not a target."""
    size = len(document.input_ids)
    if 0 < size <= sequence_tokens:
        yield document
        return
    for start in range(0, size, sequence_tokens):
        end = min(start + sequence_tokens, size)
        spans = tuple(
            (max(first, start + 1) - start, min(last, end) - start)
            for first, last in document.loss_spans
            if max(first, start + 1) < min(last, end)
        )
        yield TokenisedDocument(document.doc_id, document.input_ids[start:end], spans)


class Packer:
    """Packs the documents of one stratum, a window of :data:`WINDOW_PIECES` pieces at a time, best fit decreasing.

    ``add`` and ``rest`` give batches of sequences with the columns :data:`PACKED_COLUMNS`.
    """

    def __init__(self, sequence_tokens: int, padding_id: int) -> None:
        self.sequence_tokens, self.padding_id = sequence_tokens, padding_id
        self._window: list[TokenisedDocument] = []

    def add(self, document: TokenisedDocument) -> Iterator[pa.RecordBatch]:
        for piece in pieces_of(document, self.sequence_tokens):
            self._window.append(piece)
            if len(self._window) == WINDOW_PIECES:
                yield from self.rest()

    def rest(self) -> Iterator[pa.RecordBatch]:
        """What the pieces that still wait make."""
        window, self._window = self._window, []
        if window:
            yield _sequences(_best_fit_decreasing(window, self.sequence_tokens), self.sequence_tokens, self.padding_id)


def pack(documents: Iterable[TokenisedDocument], sequence_tokens: int, padding_id: int) -> Iterator[pa.RecordBatch]:
    """Pack documents of one stratum into sequences of exactly ``sequence_tokens``."""
    packer = Packer(sequence_tokens, padding_id)
    for document in documents:
        yield from packer.add(document)
    yield from packer.rest()


def _best_fit_decreasing(window: Sequence[TokenisedDocument], sequence_tokens: int) -> list[list[TokenisedDocument]]:
    bins: list[list[TokenisedDocument]] = []
    with_room: list[list[int]] = [[] for _ in range(sequence_tokens + 1)]  # bins by their free tokens
    rooms: list[int] = []  # free tokens that some bin has, sorted: the best fit is the first that is large enough
    lengths = np.array([len(piece.input_ids) for piece in window])
    for number in np.argsort(-lengths, kind="stable").tolist():  # ties keep the given order
        piece, length = window[number], int(lengths[number])
        place = bisect.bisect_left(rooms, length)
        if place == len(rooms):
            room, chosen = sequence_tokens, len(bins)
            bins.append([piece])
        else:
            room = rooms[place]
            chosen = with_room[room].pop()
            bins[chosen].append(piece)
            if not with_room[room]:
                del rooms[place]
        left = room - length
        if left:
            if not with_room[left]:
                bisect.insort(rooms, left)
            with_room[left].append(chosen)
    return bins


def _sequences(bins: Sequence[Sequence[TokenisedDocument]], sequence_tokens: int, padding_id: int) -> pa.RecordBatch:
    input_ids = np.full(len(bins) * sequence_tokens, padding_id, dtype=np.int32)
    doc_ids: list[str] = []
    offsets: list[int] = []
    starts: list[int] = []
    ends: list[int] = []
    bounds: dict[str, list[int]] = {"doc_ids": [0], "document_offsets": [0], "loss_spans": [0]}
    for number, content in enumerate(bins):
        base, offset = number * sequence_tokens, 0
        for piece in content:
            end = offset + len(piece.input_ids)
            input_ids[base + offset : base + end] = piece.input_ids
            doc_ids.append(piece.doc_id)
            offsets.append(offset)
            for first, last in piece.loss_spans:
                starts.append(offset + first)
                ends.append(offset + last)
            offset = end
        offsets.append(offset)
        for name, values in (("doc_ids", doc_ids), ("document_offsets", offsets), ("loss_spans", starts)):
            bounds[name].append(len(values))
    spans = pa.StructArray.from_arrays([pa.array(starts, pa.int32()), pa.array(ends, pa.int32())], ["start", "end"])
    columns = {
        "input_ids": _lists(np.arange(0, len(input_ids) + 1, sequence_tokens), pa.array(input_ids)),
        "doc_ids": _lists(bounds["doc_ids"], pa.array(doc_ids, pa.string())),
        "document_offsets": _lists(bounds["document_offsets"], pa.array(offsets, pa.int32())),
        "loss_spans": _lists(bounds["loss_spans"], spans),
    }
    return pa.RecordBatch.from_arrays(
        [columns[field.name].cast(field.type) for field in PACKED_COLUMNS], schema=PACKED_COLUMNS
    )


def _lists(bounds: Sequence[int] | NDArray[np.int64], values: Any) -> Any:
    return pa.ListArray.from_arrays(pa.array(bounds, pa.int32()), values)
