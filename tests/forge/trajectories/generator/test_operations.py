"""What an operation does to which kind of object."""

from __future__ import annotations

from typing import Any

import pytest

from forge.trajectories.generator.operations import by_name, fold, list_property, operation_of, singular
from tests.forge.trajectories.generator.conftest import PET, operation, schema

WORD = {"type": "string"}
LISTED = schema(things={"type": "array", "items": PET})


def named(name: str, *required: str, returns: dict[str, Any] | None = None, **columns: Any) -> tuple[Any, ...]:
    entity = operation(name, schema(required, **dict.fromkeys(required, WORD)), returns or {}, **columns)
    found = operation_of(entity)
    assert by_name(entity).resource == found.resource
    return found.action, found.resource, found.noun, found.identity, found.owners


@pytest.mark.parametrize(
    ("name", "required", "expected"),
    [
        ("POST /pets", (), ("create", "/pets", "pet", None, ())),
        ("GET /pets/{petId}", ("petId",), ("get", "/pets", "pet", "petId", ())),
        ("PUT /pets/{petId}", ("petId",), ("update", "/pets", "pet", "petId", ())),
        ("PATCH /pets/{petId}", ("petId",), ("update", "/pets", "pet", "petId", ())),
        ("POST /pets/{petId}", ("petId",), ("update", "/pets", "pet", "petId", ())),
        ("DELETE /pets/{petId}", ("petId",), ("delete", "/pets", "pet", "petId", ())),
        ("POST /pets/{petId}/feed", ("petId",), ("other", "/pets/{}/feed", "feed", None, ("petId",))),
        ("GET /me", (), ("get", "/me", "me", None, ())),
        ("POST /pets/search", (), ("list", "/pets", "pet", None, ())),
        ("GET /users/{user}/pets/{id}", ("user", "id"), ("get", "/users/{}/pets", "pet", "id", ("user",))),
        ("HEAD /pets/{petId}", ("petId",), ("other", "/pets", "pet", "petId", ())),
    ],
)
def test_http(name: str, required: tuple[str, ...], expected: tuple[Any, ...]) -> None:
    returns = LISTED if expected[0] == "list" else {}
    assert named(name, *required, returns=returns) == expected


@pytest.mark.parametrize(
    ("name", "required", "expected"),
    [
        ("CreateTable", ("TableName",), ("create", "table", "table", None, ())),
        ("DescribeTable", ("TableName",), ("get", "table", "table", "TableName", ())),
        ("DeleteObject", ("Bucket", "Key"), ("delete", "object", "object", "Key", ())),
        ("PutBucketPolicy", ("Bucket", "Policy"), ("put", "bucket_policy", "bucket_policy", None, ())),
        ("BatchGetItem", ("RequestItems",), ("other", "batch_get_item", "batch_get_item", None, ())),
        ("ListObjectsV2", ("Bucket",), ("list", "object", "object", None, ())),
        ("DescribeInstances", (), ("list", "instance", "instance", None, ())),
        ("RebootInstance", ("InstanceId",), ("other", "reboot_instance", "reboot_instance", None, ())),
    ],
)
def test_aws(name: str, required: tuple[str, ...], expected: tuple[Any, ...]) -> None:
    returns = LISTED if expected[0] == "list" else {}
    assert named(name, *required, returns=returns, provider="aws", service="x") == expected


@pytest.mark.parametrize(
    ("name", "required", "expected"),
    [
        ("drive.files.get", ("fileId",), ("get", "drive.files", "file", "fileId", ())),
        ("drive.files.list", (), ("list", "drive.files", "file", None, ())),
        ("drive.replies.delete", ("fileId", "replyId"), ("delete", "drive.replies", "reply", "replyId", ("fileId",))),
        ("run.services.getIamPolicy", ("resource",), ("get", "run.services.iam.policy", "iam_policy", "resource", ())),
    ],
)
def test_google(name: str, required: tuple[str, ...], expected: tuple[Any, ...]) -> None:
    returns = LISTED if expected[0] == "list" else {}
    assert named(name, *required, returns=returns, provider="google", service="x") == expected


@pytest.mark.parametrize(
    ("name", "required", "expected"),
    [
        ("create_issue", ("title",), ("create", "issue", "issue", None, ())),
        ("github_get_issue", ("issue_number", "id"), ("get", "issue", "issue", "id", ())),
        ("listIssues", (), ("list", "issue", "issue", None, ())),
        ("issue_delete", ("issue_id",), ("delete", "issue", "issue", "issue_id", ())),
        ("weather", ("city",), ("other", "weather", "weather", None, ())),
        ("", (), ("other", "_", "_", None, ())),
    ],
)
def test_tools(name: str, required: tuple[str, ...], expected: tuple[Any, ...]) -> None:
    returns = LISTED if expected[0] == "list" else {}
    found = named(name, *required, returns=returns, entity_type="tool")
    assert (found[0], found[3]) == (expected[0], expected[3])
    assert name == "" or found == expected


def test_a_get_that_lists_nothing_is_none_of_a_list() -> None:
    tags = schema(tags={"type": "array", "items": WORD})
    assert named("GetBucketPolicy", returns=tags, provider="aws", service="s3")[0] == "get"
    assert named("ListPets", returns=schema(name=WORD), provider="aws", service="s3")[0] == "get"


def test_what_a_result_lists() -> None:
    assert list_property({"type": "array", "items": PET}) == ""
    assert list_property(LISTED) == "things"
    assert list_property(schema(a={"type": "array", "items": WORD}, b={"type": "array", "items": PET})) == "b"
    assert list_property(PET) is None
    assert list_property({}) is None


def test_a_parameter_that_may_be_null_names_an_object_too() -> None:
    either = {"type": ["string", "null"]}
    entity = operation(
        "get_note", schema(("note_id",), note_id=either), {"type": ["object", "null"]}, entity_type="tool"
    )
    assert operation_of(entity).identity == "note_id"
    assert list_property(schema(notes={"type": ["array", "null"], "items": PET})) == "notes"


def test_words() -> None:
    assert fold("Pet-Id") == fold("petID") == fold("pet_id") == "petid"
    assert [singular(word) for word in ("pets", "boxes", "status", "class", "policies", "addresses", "bus")] == [
        "pet", "box", "status", "class", "policy", "address", "bus"
    ]  # fmt: skip
