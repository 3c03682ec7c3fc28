from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.permutation import permutation, permutation_key, permuted


@given(st.integers(0, 400), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_every_element_is_reached_once_and_both_forms_agree(size, seed):
    key = permutation_key("test", seed)
    whole = permutation(size, key).tolist()
    assert sorted(whole) == list(range(size))
    assert whole == [permuted(index, size, key) for index in range(size)]


def test_it_shuffles_and_the_key_decides():
    one = permutation(1000, permutation_key("a", 1)).tolist()
    two = permutation(1000, permutation_key("a", 2)).tolist()
    assert sum(first == second for first, second in zip(one, two, strict=True)) < 10
    assert sum(value == index for index, value in enumerate(one)) < 10
    steps = [abs(one[index + 1] - one[index]) for index in range(999)]
    assert 250 < sum(steps) / 999 < 420  # 333 for a random order


@pytest.mark.parametrize("size", [2, 5, 13])
def test_every_place_is_equally_likely(size):
    """Chi-square over many keys, of the place that the first and the last element go to: 99.99 % of fair ones pass."""
    keys = 4000
    places = [permutation(size, permutation_key("fair", number)) for number in range(keys)]
    for element in (0, size - 1):
        counts = [sum(int(place[element]) == other for place in places) for other in range(size)]
        expected = keys / size
        assert sum((count - expected) ** 2 / expected for count in counts) < size - 1 + 6 * (2 * size) ** 0.5


def test_the_order_does_not_change_between_versions():
    assert permutation(8, permutation_key("fixed", 1)).tolist() == [4, 5, 2, 3, 1, 7, 0, 6]


@pytest.mark.parametrize("index", [-1, 7])
def test_outside_the_range_is_an_error(index):
    with pytest.raises(ValueError, match="outside"):
        permuted(index, 7, b"k")


def test_key_parts_do_not_run_together():
    assert permutation_key("a", 12) != permutation_key("a1", 2)
