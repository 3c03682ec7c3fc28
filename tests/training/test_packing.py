"""Packing: every token once, best fit, spans."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from training.packing import PACKED_COLUMNS, TokenisedDocument, pack, pieces_of, whole_document

LENGTH, PAD = 16, 0
documents = st.lists(st.integers(0, 50), min_size=0, max_size=30).map(
    lambda lengths: [
        whole_document(f"d{number}", [number * 100 + 1 + position for position in range(length)])
        for number, length in enumerate(lengths)
    ]
)


def rows_of(given_documents, length=LENGTH):
    return pa.Table.from_batches(pack(given_documents, length, PAD), schema=PACKED_COLUMNS).to_pylist()


def packed_pieces(row):
    for number, doc_id in enumerate(row["doc_ids"]):
        start, end = row["document_offsets"][number : number + 2]
        yield doc_id, start, row["input_ids"][start:end]


@given(documents)
@settings(max_examples=80, deadline=None)
def test_every_token_of_every_document_is_in_exactly_one_sequence(given_documents):
    rows = rows_of(given_documents)
    assert all(len(row["input_ids"]) == LENGTH for row in rows)
    found = sorted(token for row in rows for _, _, tokens in packed_pieces(row) for token in tokens)
    assert found == sorted(token for document in given_documents for token in document.input_ids.tolist())
    for row in rows:
        assert len(row["document_offsets"]) == len(row["doc_ids"]) + 1
        assert set(row["input_ids"][row["document_offsets"][-1] :]) <= {PAD}
        for doc_id, _, tokens in packed_pieces(row):
            number = int(doc_id[1:])
            assert all(number * 100 < token <= number * 100 + 50 for token in tokens)
            assert tokens == list(range(tokens[0], tokens[0] + len(tokens)))


@given(documents)
@settings(max_examples=40, deadline=None)
def test_the_loss_counts_all_of_a_piece_but_its_first_token(given_documents):
    for row in rows_of(given_documents):
        spans = [(span["start"], span["end"]) for span in row["loss_spans"]]
        assert spans == [(start + 1, start + len(tokens)) for _, start, tokens in packed_pieces(row) if len(tokens) > 1]


@given(st.lists(st.integers(1, LENGTH), max_size=60))
@settings(max_examples=60, deadline=None)
def test_each_piece_goes_to_the_fullest_sequence_that_has_room(lengths):
    """The definition of best fit decreasing, written naively."""
    rows = rows_of([whole_document(f"d{number}", [1] * length) for number, length in enumerate(lengths)])
    bins: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [number for number, used in enumerate(bins) if used + length <= LENGTH]
        if fitting:
            bins[max(fitting, key=lambda number: bins[number])] += length
        else:
            bins.append(length)
    assert sorted(row["document_offsets"][-1] for row in rows) == sorted(bins)


def test_pieces_keep_the_loss_spans_of_what_they_hold():
    document = whole_document("d0", range(1, 36))
    assert [piece.loss_spans for piece in pieces_of(document, LENGTH)] == [((1, 16),), ((1, 16),), ((1, 3),)]
    assert [len(piece.input_ids) for piece in pieces_of(document, LENGTH)] == [16, 16, 3]
    chat = TokenisedDocument("d1", document.input_ids, ((3, 5), (14, 18), (33, 35)))
    assert [piece.loss_spans for piece in pieces_of(chat, LENGTH)] == [((3, 5), (14, 16)), ((1, 2),), ((1, 3),)]


def test_best_fit_wastes_little():
    given_documents = [whole_document(f"d{number}", range(1, 2 + number % 16)) for number in range(320)]
    tokens = sum(len(document.input_ids) for document in given_documents)
    assert len(rows_of(given_documents)) * LENGTH <= tokens * 1.02
