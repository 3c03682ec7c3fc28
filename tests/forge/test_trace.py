"""A document is traced to its sources, decisions, releases and checkpoints."""

from __future__ import annotations

from typing import Any

import pytest

from forge.lake import Lake
from forge.removals import request_removal
from forge.schema import Document, table_of
from forge.trace import UnknownDocument, document_id, rows_matching, trace_document


def trace(published: Any, name: str) -> dict[str, Any]:
    return trace_document(published.lake, published.settings.home_path / "runs", published.ids[name])


def test_a_document_of_the_corpus_is_traced_everywhere(published: Any) -> None:
    found = trace(published, "api")
    assert found["document"]["doc_id"] == published.ids["api"]
    assert len(found["document"]["head"]) == 1200
    assert not found["document"]["head_is_whole"]
    assert [(place["source"], place["license"]) for place in found["sources"]] == [("apis", "MIT")]
    assert found["items"] == [{"source": "apis", "item_id": "api.json", "state": "present", "since": "2026-11-20"}]
    assert [(row["step"], row["doc_id"]) for row in found["decisions"]] == [("parse_apis", None)]
    assert found["duplicates"]["is_survivor"]
    assert found["duplicates"]["members"] == sorted([published.ids["api"], published.ids["duplicate"]])
    assert [row["release_id"] for row in found["releases"]] == [published.first.release_id, published.second.release_id]
    [seen] = found["checkpoints"]
    assert (seen["run_id"], seen["release_id"], seen["stage"]) == ("run1", published.first.release_id, "I")
    assert seen["descendants"] == []
    assert found["neighbours"]["retrieved"][0]["doc_id"] == published.ids["page"]


def test_models_of_later_stages_hold_what_an_earlier_stage_saw(published: Any) -> None:
    (published.settings.home_path / "runs" / "run1" / "models" / "stage-II").mkdir()
    [seen] = trace(published, "api")["checkpoints"]
    assert seen["descendants"] == ["run1/models/stage-II"]


def test_a_dropped_document_says_why(published: Any) -> None:
    found = trace(published, "duplicate")
    assert [(row["step"], row["reason"], row["score"]) for row in found["decisions"]] == [
        ("mix", "near_duplicate", 0.9)
    ]
    assert not found["duplicates"]["is_survivor"]
    assert found["duplicates"]["survivor_id"] == published.ids["api"]
    assert found["releases"] == []
    assert found["checkpoints"] == []


def test_judgements_and_removed_items_are_shown(published: Any) -> None:
    page = trace(published, "page")
    assert page["signals"][0]["quality"] == {"characters": 31.0}
    assert [row["rank"] for row in page["neighbours"]["seeds"]] == [1], "rank 0 is the random page of a gate"
    assert trace(published, "code")["contamination"][0]["item"] == "simple_1"
    gone = trace(published, "hostile")
    assert gone["items"][0]["state"] == "removed"
    assert [row["partition_key"] for row in gone["releases"]] == ["2026-11-20"]


def test_removal_requests_that_name_it_are_shown(published: Any) -> None:
    request_removal(published.lake, "uri_prefix", "https://example.org/apis/", "asked by its author")
    assert [row["reason"] for row in trace(published, "api")["removals"]] == ["asked by its author"]
    assert trace(published, "code")["removals"] == []


def test_a_prefix_must_name_one_document(published: Any, lake: Lake) -> None:
    whole = published.ids["api"]
    assert document_id(published.lake, whole[:12].upper()) == whole
    with pytest.raises(UnknownDocument, match="at least 4 characters"):
        document_id(published.lake, "a")
    with pytest.raises(UnknownDocument, match="no document's id begins with 'zzzz'; 6 documents"):
        document_id(published.lake, "zzzz")
    rows = [{**Document("text", "article", f"text {n}", "train").row("n"), "doc_id": f"abcd{n:028d}"} for n in range(9)]
    lake.write("documents", table_of("documents", rows), "n", "x")
    with pytest.raises(UnknownDocument, match=r"9 documents begin with 'abcd': abcd.*, \.\.\."):
        document_id(lake, "abcd")


def test_rows_matching_reads_any_table_by_one_column(lake: Lake) -> None:
    assert rows_matching(lake, "documents", "doc_id", {"x"}).num_rows == 0
    rows = [Document("text", "article", f"text {n}", "train").row("n") for n in range(10_000)]
    lake.write("documents", table_of("documents", sorted(rows, key=lambda row: str(row["doc_id"]))), "n", "x")
    wanted = {str(rows[3]["doc_id"]), str(rows[9_000]["doc_id"]), "nowhere"}
    found = rows_matching(lake, "documents", "doc_id", wanted, columns=["doc_id", "text", "partition_key"])
    assert set(found["text"].to_pylist()) == {"text 3", "text 9000"}
    assert set(found["partition_key"].to_pylist()) == {"n"}
    assert rows_matching(lake, "documents", "kind", {"text"}, columns=["doc_id"], partition_key="m").num_rows == 0
