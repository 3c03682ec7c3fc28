from __future__ import annotations

import random

import numpy as np
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forge.dedup.minhash import (
    MinHashSettings,
    band_keys,
    estimated_jaccard,
    jaccard,
    ngram_hashes,
    shingles,
    signature,
    words_of,
)  # fmt: skip

SETTINGS = MinHashSettings()
PINNED_SHINGLE = 6194943603980401371
PINNED_SIGNATURE = [2455942396, 979900617, 2385023033]
WORDS = st.lists(st.sampled_from(["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta"]), max_size=60)


def shingle_set(words: list[str], width: int) -> set[tuple[str, ...]]:
    width = min(width, max(1, len(words)))
    return {tuple(words[start : start + width]) for start in range(len(words) - width + 1)}


@given(left=WORDS, right=WORDS)
@hypothesis_settings(max_examples=150, deadline=None)
def test_jaccard_equals_that_of_sets_of_words(left: list[str], right: list[str]) -> None:
    one, two = shingle_set(left, 5), shingle_set(right, 5)
    expected = len(one & two) / len(one | two) if one | two else 1.0
    assert jaccard(shingles(" ".join(left), 5), shingles(" ".join(right), 5)) == expected


def test_case_and_punctuation_do_not_count() -> None:
    assert np.array_equal(shingles("One, two: THREE four five!", 5), shingles("one two three four five", 5))
    assert len(shingles("", 5)) == 0
    assert len(shingles("one two", 5)) == 1


def test_long_texts_are_hashed_in_blocks_to_the_same_signature() -> None:
    draw = random.Random(3)
    words = " ".join(f"w{draw.randint(0, 10**9)}" for _ in range(5000))
    hashes = shingles(words, 5)
    halves = np.minimum(signature(hashes[:2500], SETTINGS), signature(hashes[2500:], SETTINGS))
    assert np.array_equal(signature(hashes, SETTINGS), halves)


def test_the_estimate_is_as_good_as_theory_says() -> None:
    draw = random.Random(1)
    errors = []
    for _ in range(300):
        base = [f"w{draw.randint(0, 10**9)}" for _ in range(150)]
        other = [word if draw.random() < 0.97 else f"x{draw.randint(0, 10**9)}" for word in base]
        left, right = shingles(" ".join(base), 5), shingles(" ".join(other), 5)
        estimate = estimated_jaccard(signature(left, SETTINGS), signature(right, SETTINGS))
        errors.append(estimate - jaccard(left, right))
    assert float(np.sqrt(np.mean(np.square(errors)))) <= 0.05
    assert abs(float(np.mean(errors))) < 0.01


def test_documents_of_different_groups_never_share_a_band() -> None:
    values = signature(shingles("the same text in both of the groups here", 5), SETTINGS)
    one, two = band_keys(values, "one", SETTINGS), band_keys(values, "two", SETTINGS)
    assert np.array_equal(one, band_keys(values, "one", SETTINGS))
    assert not set(one.tolist()) & set(two.tolist())
    assert len(set(one.tolist())) == SETTINGS.bands


def test_hashes_are_pinned() -> None:
    """Stored keys must mean the same on another machine and in another year."""
    values = signature(shingles("a pinned text of a few words", 5), SETTINGS)
    assert shingles("a pinned text of a few words", 5)[0] == PINNED_SHINGLE
    assert values[:3].tolist() == PINNED_SIGNATURE


def test_ngrams_keep_their_order() -> None:
    words = words_of("a b c a b c")
    hashes = ngram_hashes(words, 3)
    assert hashes[0] == hashes[3]
    assert len(set(hashes.tolist())) == 3
    assert len(ngram_hashes(words, 7)) == 0
