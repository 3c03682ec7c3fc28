"""Packing: every token once, isolation, spans, positions; and that packed logits equal unpacked ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.base_model import load_model
from training.model_loss import PackedLoss
from training.packing import pack, pieces_of, position_ids, targets, whole_document

LENGTH, PAD = 16, 0
documents = st.lists(st.integers(1, 50), min_size=0, max_size=30).map(
    lambda lengths: [
        whole_document(f"d{number}", [number * 100 + 1 + position for position in range(length)])
        for number, length in enumerate(lengths)
    ]
)


def packed_pieces(sequence):
    for number, doc_id in enumerate(sequence.doc_ids):
        start, end = sequence.document_offsets[number : number + 2]
        yield doc_id, start, sequence.input_ids[start:end]


@given(documents)
@settings(max_examples=80, deadline=None)
def test_every_token_of_every_document_is_in_exactly_one_sequence(given_documents):
    sequences = list(pack(given_documents, LENGTH, PAD))
    assert all(len(sequence.input_ids) == LENGTH for sequence in sequences)
    found = sorted(token for sequence in sequences for _, _, tokens in packed_pieces(sequence) for token in tokens)
    assert found == sorted(token for document in given_documents for token in document.input_ids)
    for sequence in sequences:
        assert set(sequence.input_ids[sequence.tokens :]) <= {PAD}
        for doc_id, _, tokens in packed_pieces(sequence):
            number = int(doc_id[1:])
            assert all(number * 100 < token <= number * 100 + 50 for token in tokens)
            assert list(tokens) == list(range(tokens[0], tokens[0] + len(tokens)))


@given(documents)
@settings(max_examples=40, deadline=None)
def test_positions_restart_and_the_first_token_of_a_piece_is_no_target(given_documents):
    for sequence in pack(given_documents, LENGTH, PAD):
        positions, chosen = position_ids(sequence), targets(sequence)
        assert not chosen[sequence.tokens :].any()
        for _, start, tokens in packed_pieces(sequence):
            assert positions[start : start + len(tokens)].tolist() == list(range(len(tokens)))
            assert not chosen[start]
            assert chosen[start + 1 : start + len(tokens)].all()
        assert int(chosen.sum()) == sequence.target_tokens


def test_pieces_keep_the_loss_spans_of_what_they_hold():
    document = whole_document("d0", range(1, 36))
    assert [piece.loss_spans for piece in pieces_of(document, LENGTH)] == [((1, 16),), ((1, 16),), ((1, 3),)]
    assert [len(piece.input_ids) for piece in pieces_of(document, LENGTH)] == [16, 16, 3]


def test_best_fit_wastes_little():
    given_documents = [whole_document(f"d{number}", range(1, 2 + number % 16)) for number in range(320)]
    sequences = list(pack(given_documents, LENGTH, PAD))
    tokens = sum(len(document.input_ids) for document in given_documents)
    assert len(sequences) * LENGTH <= tokens * 1.02


@pytest.fixture(scope="module")
def packed_and_model(tiny_model):
    model = load_model(tiny_model)
    rng = np.random.default_rng(0)
    given_documents = [
        whole_document(f"d{number}", rng.integers(5, 280, length).tolist()) for number, length in enumerate((7, 1, 6))
    ]
    (sequence,) = pack(given_documents, LENGTH, PAD)
    return model, sequence


@pytest.mark.parametrize("training", [True, False])
def test_packed_documents_do_not_see_each_other(packed_and_model, training):
    model, sequence = packed_and_model
    model.train(training)
    ids, positions = torch.tensor([sequence.input_ids]), torch.from_numpy(position_ids(sequence))[None]
    with torch.no_grad():
        packed = model(input_ids=ids, position_ids=positions, use_cache=False).logits[0]
        for _, start, tokens in packed_pieces(sequence):
            alone = model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0]
            torch.testing.assert_close(packed[start : start + len(tokens)], alone, atol=1e-5, rtol=1e-5)
        leaking = model(input_ids=ids, position_ids=positions, attention_mask=torch.ones_like(ids), use_cache=False)
    assert float((leaking.logits[0] - packed).abs().max()) > 1e-3, (
        "transformers changed: the trap is gone, see model_loss"
    )


def test_the_loss_of_packed_documents_is_the_sum_of_their_own(packed_and_model):
    model, sequence = packed_and_model
    model.eval()
    with torch.no_grad():
        (loss,) = PackedLoss(model)(
            torch.tensor([sequence.input_ids]),
            torch.from_numpy(position_ids(sequence))[None],
            torch.from_numpy(targets(sequence))[None],
        )
        expected = 0.0
        for _, _, tokens in packed_pieces(sequence):
            if len(tokens) > 1:
                ids = torch.tensor([tokens])
                logits = model(input_ids=ids, use_cache=False).logits
                expected += float(torch.nn.functional.cross_entropy(logits[0, :-1], ids[0, 1:], reduction="sum"))
    assert float(loss) == pytest.approx(expected, rel=1e-5)
