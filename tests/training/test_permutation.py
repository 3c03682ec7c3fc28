from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.permutation import permutation_key, permuted


@given(st.integers(1, 400), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_every_element_is_reached_once(size, seed):
    key = permutation_key("test", seed)
    assert sorted(permuted(index, size, key) for index in range(size)) == list(range(size))


def test_it_shuffles_and_the_key_decides():
    one = [permuted(index, 1000, permutation_key("a", 1)) for index in range(1000)]
    two = [permuted(index, 1000, permutation_key("a", 2)) for index in range(1000)]
    assert sum(first == second for first, second in zip(one, two, strict=True)) < 10
    assert sum(value == index for index, value in enumerate(one)) < 10
    steps = [abs(one[index + 1] - one[index]) for index in range(999)]
    assert 250 < sum(steps) / 999 < 420  # 333 for a random order
    assert one[:5] == [permuted(index, 1000, permutation_key("a", 1)) for index in range(5)]


@pytest.mark.parametrize("index", [-1, 7])
def test_outside_the_range_is_an_error(index):
    with pytest.raises(ValueError, match="outside"):
        permuted(index, 7, b"k")


def test_key_parts_do_not_run_together():
    assert permutation_key("a", 12) != permutation_key("a1", 2)
