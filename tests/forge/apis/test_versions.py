"""Versions sort as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.apis.versions import version_rank


@pytest.mark.parametrize(
    "oldest_first",
    [
        ["", "v2alpha2", "v2beta1", "v1", "v2"],
        ["1.2rc1", "1.2", "1.2.1", "1.9", "1.10"],
        ["2006-03-01", "2016-11-15"],
        ["1.0-preview", "9.99", "10"],
    ],
)
def test_newer_versions_rank_higher(oldest_first: list[str]) -> None:
    first, *rest = oldest_first
    ranks = [version_rank(version) for version in rest]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) == len(ranks)
    assert version_rank(first) < ranks[-1]


def test_the_api_itself_ranks_above_its_mirrors_and_mirrors_by_their_name() -> None:
    ranks = [version_rank("9", "ghes-3.2"), version_rank("1", "ghes-3.10"), version_rank("0.1")]
    assert ranks == sorted(ranks)


@given(st.text(), st.text())
def test_any_text_has_a_rank(version: str, mirror: str) -> None:
    assert version_rank(version, mirror).isascii()
