"""Documents into fixed-length sequences, isolated from each other (table ``packed``).

A sequence holds whole *pieces* one behind the other: a document, or a run of at most ``sequence_tokens`` tokens of a
longer one. Position ids restart at each piece, which is what isolates them (see :mod:`training.model_loss`). No token
is lost: every token of every document given is in exactly one sequence, and what is cropped before is counted.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

WINDOW_PIECES = 4096
"""Best fit decreasing runs over windows of this many pieces, so that packing needs bounded memory."""


@dataclass(frozen=True, slots=True)
class TokenisedDocument:
    """``loss_spans``: half-open ranges of ``input_ids`` that the loss counts."""

    doc_id: str
    input_ids: tuple[int, ...]
    loss_spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class PackedSequence:
    """``document_offsets`` has one entry more than ``doc_ids``: where each piece starts, and where the padding does."""

    input_ids: tuple[int, ...]
    doc_ids: tuple[str, ...]
    document_offsets: tuple[int, ...]
    loss_spans: tuple[tuple[int, int], ...]

    @property
    def tokens(self) -> int:
        """Tokens without padding."""
        return self.document_offsets[-1]

    @property
    def target_tokens(self) -> int:
        return sum(end - start for start, end in self.loss_spans)

    def row(self, sequence_id: int, stage: str, domain: str, partition_key: str) -> dict[str, Any]:
        return {
            "sequence_id": sequence_id,
            "stage": stage,
            "domain": domain,
            "input_ids": list(self.input_ids),
            "doc_ids": list(self.doc_ids),
            "document_offsets": list(self.document_offsets),
            "loss_spans": [{"start": start, "end": end} for start, end in self.loss_spans],
            "partition_key": partition_key,
        }

    @classmethod
    def of_row(cls, row: dict[str, Any]) -> PackedSequence:
        return cls(
            tuple(row["input_ids"]),
            tuple(row["doc_ids"]),
            tuple(row["document_offsets"]),
            tuple((span["start"], span["end"]) for span in row["loss_spans"]),
        )


def whole_document(doc_id: str, input_ids: Sequence[int]) -> TokenisedDocument:
    """A pre-training document: the loss counts every token but the first, which nothing precedes."""
    spans = ((1, len(input_ids)),) if len(input_ids) > 1 else ()
    return TokenisedDocument(doc_id, tuple(input_ids), spans)


def pieces_of(document: TokenisedDocument, sequence_tokens: int) -> Iterator[TokenisedDocument]:
    """The document in runs of at most ``sequence_tokens``; the first token of a later run is context, not a target."""
    for start in range(0, len(document.input_ids), sequence_tokens):
        end = min(start + sequence_tokens, len(document.input_ids))
        spans = tuple(
            (max(first, start + 1) - start, min(last, end) - start)
            for first, last in document.loss_spans
            if max(first, start + 1) < min(last, end)
        )
        yield TokenisedDocument(document.doc_id, document.input_ids[start:end], spans)


def pack(documents: Iterable[TokenisedDocument], sequence_tokens: int, padding_id: int) -> Iterator[PackedSequence]:
    """Pack documents of one domain into sequences of exactly ``sequence_tokens``, best fit decreasing per window."""
    window: list[TokenisedDocument] = []
    for document in documents:
        for piece in pieces_of(document, sequence_tokens):
            window.append(piece)
            if len(window) == WINDOW_PIECES:
                yield from _pack_window(window, sequence_tokens, padding_id)
                window = []
    yield from _pack_window(window, sequence_tokens, padding_id)


def _pack_window(
    window: Sequence[TokenisedDocument], sequence_tokens: int, padding_id: int
) -> Iterator[PackedSequence]:
    bins: list[list[TokenisedDocument]] = []
    free: list[tuple[int, int]] = []  # (free tokens, bin), sorted: the best fit is the first that is large enough
    for piece in sorted(window, key=lambda candidate: -len(candidate.input_ids)):  # stable: ties keep the given order
        length = len(piece.input_ids)
        place = bisect.bisect_left(free, (length, -1))
        if place == len(free):
            bins.append([piece])
            bisect.insort(free, (sequence_tokens - length, len(bins) - 1))
        else:
            room, number = free.pop(place)
            bins[number].append(piece)
            bisect.insort(free, (room - length, number))
    for content in bins:
        yield _sequence_of(content, sequence_tokens, padding_id)


def _sequence_of(content: Sequence[TokenisedDocument], sequence_tokens: int, padding_id: int) -> PackedSequence:
    tokens: list[int] = []
    offsets = [0]
    spans: list[tuple[int, int]] = []
    for piece in content:
        spans += [(start + offsets[-1], end + offsets[-1]) for start, end in piece.loss_spans]
        tokens += piece.input_ids
        offsets.append(len(tokens))
    tokens += [padding_id] * (sequence_tokens - len(tokens))
    return PackedSequence(tuple(tokens), tuple(piece.doc_id for piece in content), tuple(offsets), tuple(spans))


def position_ids(sequence: PackedSequence) -> NDArray[np.int64]:
    """0, 1, 2 ... from the start of each piece; the padding counts as a piece of its own. Shape (sequence_tokens,)."""
    length = len(sequence.input_ids)
    starts = np.zeros(length, dtype=np.int64)
    for offset in sequence.document_offsets:
        if offset < length:
            starts[offset:] = offset
    return np.arange(length, dtype=np.int64) - starts


def targets(sequence: PackedSequence) -> NDArray[np.bool_]:
    """Which tokens the loss counts as predicted. Shape (sequence_tokens,); the first one never is."""
    chosen = np.zeros(len(sequence.input_ids), dtype=np.bool_)
    for start, end in sequence.loss_spans:
        chosen[start:end] = True
    return chosen
