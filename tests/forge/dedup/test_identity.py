from __future__ import annotations

from forge.dedup.identity import guard_group, lost_entities


def test_groups() -> None:
    assert guard_group("aws/s3/PutObject", "api_doc", "reference") != guard_group(
        "aws/s3/GetObject", "api_doc", "reference"
    )
    assert guard_group("aws/s3/PutObject", "api_doc", "reference") != guard_group(
        "aws/s3/PutObject", "api_doc", "schema"
    )
    assert guard_group(None, "code", "file") == guard_group("", "code", "file")
    assert guard_group(None, "code", "file") != guard_group(None, "text", "file")


def test_an_entity_without_documents_is_lost() -> None:
    before = [("1", "a"), ("2", "a"), ("3", "b"), ("4", None)]
    assert lost_entities(before, ["1", "4"]) == []
    assert lost_entities(before, ["1", "2", "3"]) == ["a", "b"]
