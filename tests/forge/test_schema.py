"""Ids are content; rows and objects convert both ways."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from forge.schema import (
    TABLES,
    ApiEntity,
    ApiExample,
    Document,
    Step,
    ToolCall,
    Trajectory,
    content_hash,
    entity_from_row,
    signature_key,
    split_of,
    table_of,
    trajectory_from_row,
)


def entity(**changes: object) -> ApiEntity:
    values: dict[str, object] = {
        "provider": "aws", "service": "iam", "name": "CreateUser", "version": "2010-05-08", "entity_type": "operation",
        "summary": "s", "description": "d",
        "parameters": {"type": "object", "properties": {"UserName": {"type": "string"}}},
        "returns": {}, "license": "Apache-2.0", "source": "a", "item_id": "iam", "source_uri": "u",
        "examples": (ApiExample("x", "{}", "{}"),),
    }  # fmt: skip
    return ApiEntity(**{**values, **changes})  # type: ignore[arg-type]


def test_entity_key_has_no_version_and_the_row_converts_back() -> None:
    assert entity().entity_key == entity(version="2099-01-01").entity_key == "aws/iam/CreateUser"
    stored = table_of("api_entities", [entity().row("2026-11-21")]).to_pylist()[0]
    assert entity_from_row(stored) == entity()


def test_signature_key_folds_case_and_separators() -> None:
    assert signature_key("CreateUser", ["UserName", "Path"]) == signature_key("create-user", ["path", "user_name"])
    assert signature_key("CreateUser", ["Path"]) != signature_key("CreateUser", ["Path", "Tags"])


def test_trajectory_row_converts_back_and_the_id_ignores_the_source() -> None:
    steps = (
        Step("user", "hi"),
        Step("assistant", None, "think", (ToolCall("f", {"a": [1, {"b": None}]}, "c1"),)),
        Step("tool", "ok", answers="c1"),
    )
    one = Trajectory("t", ({"name": "f"},), steps, "success", 1.0, "env", "MIT", "human", "a", "1")
    two = Trajectory("t", ({"name": "f"},), steps, "success", 1.0, "env", "MIT", "human", "b", "2")
    assert one.trajectory_id == two.trajectory_id
    assert trajectory_from_row(table_of("trajectories", [one.row("2026-11-21")]).to_pylist()[0]) == one


def test_indentation_is_part_of_the_id_but_not_of_the_text_key() -> None:
    flat, indented = Document("code", "file", "if x:\ny", "train"), Document("code", "file", "if x:\n    y", "train")
    assert flat.doc_id != indented.doc_id
    assert flat.text_key == indented.text_key


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_content_hash_separates_parts(one: list[str], two: list[str]) -> None:
    assert (content_hash(*one) == content_hash(*two)) == (one == two)


def test_split_share_is_about_what_was_asked() -> None:
    held_out = sum(split_of(f"group {n}", 0.05) == "held_out" for n in range(20_000))
    assert 850 < held_out < 1150


def test_every_table_has_a_partition_key() -> None:
    assert all("partition_key" in schema.names for schema in TABLES.values())
