"""Removal requests: kept beside earlier ones, asked once, safe when two people ask at the same time."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from forge.lake import CommitRefused, Lake
from forge.removals import (
    EVERY_NIGHT,
    Removal,
    RemovalRefused,
    applies_to,
    matching_documents,
    removals,
    request_removal,
)


def test_requests_are_kept_and_hold_for_every_night(lake: Lake) -> None:
    first, is_new = request_removal(lake, "source", "apis", "licence withdrawn")
    assert is_new
    request_removal(lake, "uri_prefix", "https://example.org/", "asked")
    assert {found.value for found in removals(lake)} == {"apis", "https://example.org/"}
    rows = lake.read("removals", up_to="2020-01-01").to_pylist()
    assert len(rows) == 2, "a night that is run again honours requests of later days"
    assert {row["partition_key"] for row in rows} == {EVERY_NIGHT}
    assert {row["selector"] for row in rows} == {"source", "uri_prefix"}
    assert first in removals(lake)


def test_asking_twice_is_one_request(lake: Lake) -> None:
    first, _ = request_removal(lake, "source", "apis", "one reason")
    again, is_new = request_removal(lake, "source", " apis ", "another reason")
    assert (again, is_new) == (first, False)
    assert len(removals(lake)) == 1


@pytest.mark.parametrize(
    ("selector", "value", "reason", "message"),
    [
        ("source", " ", "x", "not empty"),
        ("source", "x", "", "not empty"),
        ("text", "x", "x", "doc_id, source, uri_prefix"),
    ],
)
def test_bad_requests_are_refused(lake: Lake, selector: Any, value: str, reason: str, message: str) -> None:
    with pytest.raises(RemovalRefused, match=message):
        request_removal(lake, selector, value, reason)


def test_requests_at_the_same_time_are_all_kept(lake: Lake) -> None:
    request_removal(lake, "source", "first", "x")  # the table is there
    barrier = threading.Barrier(4)
    failures: list[CommitRefused] = []

    def ask(number: int) -> None:
        barrier.wait()
        try:
            request_removal(lake, "source", f"source {number}", "x")
        except CommitRefused as error:
            failures.append(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert {found.value for found in removals(lake)} == {"first", *(f"source {number}" for number in range(4))}


def test_matching_documents_by_each_selector(published: Any) -> None:
    lake, ids = published.lake, published.ids
    assert matching_documents(lake, "doc_id", ids["code"]) == {ids["code"]}
    assert matching_documents(lake, "source", "apis") == {ids["api"], ids["hostile"], ids["duplicate"]}
    assert matching_documents(lake, "uri_prefix", "https://example.org/articles/") == {ids["text"]}
    assert matching_documents(lake, "source", "nowhere") == set()


def test_applies_to_agrees_with_matching_documents(published: Any) -> None:
    lake, ids = published.lake, published.ids
    places = lake.read("document_sources").to_pylist()
    for selector, value in (("doc_id", ids["api"]), ("source", "site"), ("uri_prefix", "https://example.org/a")):
        removal = Removal(selector, value, "x", "now")
        named = {
            doc_id
            for doc_id in ids.values()
            if applies_to(removal, doc_id, [place for place in places if place["doc_id"] == doc_id])
        }
        assert named == matching_documents(lake, selector, value)
