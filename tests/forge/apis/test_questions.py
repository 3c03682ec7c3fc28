"""Questions with the call that answers them."""

from __future__ import annotations

from typing import Any

import pytest

from forge.apis.questions import imperative, question, task_of
from forge.schema import ApiEntity, ApiExample


def _entity(name: str = "DeleteThing", provider: str = "aws", **fields: Any) -> ApiEntity:
    stated: dict[str, Any] = {
        "service": "thing", "version": "v1", "entity_type": "operation", "summary": "Deletes a thing for good.",
        "description": "", "parameters": {"properties": {"Name": {"type": "string", "description": "Which."}}},
        "returns": {}, "license": "MIT", "source": "s", "item_id": "i", "source_uri": "u",
    }  # fmt: skip
    return ApiEntity(**{**stated, "name": name, "provider": provider, **fields})


@pytest.mark.parametrize(
    ("sentence", "task"),
    [
        ("Deletes a pet.", "Delete a pet."),
        ("Applies a tag and returns the pet.", "Apply a tag and return the pet."),
        ("Lists users and posts of a group.", "List users and posts of a group."),
        ("Fetches it.", "Fetch it."),
        ("list pets", "List pets"),
        ("pets of a user.", "Pets of a user."),
        ("", ""),
    ],
)
def test_imperatives(sentence: str, task: str) -> None:
    assert imperative(sentence) == task


@pytest.mark.parametrize(
    ("shown", "task"),
    [
        ("The following example deletes the snapshot snap-1.", "Delete the snapshot snap-1."),
        ("This example shows how to delete the snapshot snap-1:", "Delete the snapshot snap-1."),
        ("Removes one tag of it", "Remove one tag of it."),
        ("Example 1", "Delete a thing for good."),  # says nothing: the summary does
        ("", "Delete a thing for good."),
    ],
)
def test_tasks(shown: str, task: str) -> None:
    assert task_of(_entity(), shown) == task


def test_no_task_from_what_says_nothing() -> None:
    assert task_of(_entity(summary="Note: old."), "") == ""
    assert task_of(_entity(summary="Delete"), "") == ""


def test_only_what_is_recorded_or_stated_makes_a_question() -> None:
    recorded = ApiExample("", '{"Name": "a\\nb", "Size": 2}', '{"Ok": true}')
    assert question(_entity()) == ""  # the name is not stated
    assert question(_entity(summary="", examples=(recorded,))) == ""  # there is no task
    stated = {"properties": {"Name": {"enum": ["a"], "description": "Which."}}}
    assert "- Name: a" in question(_entity(parameters=stated))
    assert question(_entity(parameters={"properties": {"Name": {"enum": ["a"]}}})) == ""  # nobody says what it is
    text = question(_entity(examples=(recorded,)))
    assert '- Name: "a\\nb"\n- Size: 2' in text
    assert text.endswith('Response:\n{\n  "Ok": true\n}')
    assert question(_entity(examples=(recorded,)), 30) == ""  # a call is not cut


@pytest.mark.parametrize(
    "value",
    ['"string"', '"<Name>"', '"YOUR_API_KEY"', '{"deep": ["your-key"]}', '"00000000-0000-0000-0000-000000000000"'],
)
def test_placeholders_of_the_source_are_no_values(value: str) -> None:
    assert question(_entity(examples=(ApiExample("", f'{{"Name": {value}}}', ""),))) == ""


def test_code_of_a_language_answers_with_the_sources_own_example() -> None:
    java = {"name": "a.List.of(E)", "provider": "java", "entity_type": "method", "summary": "Returns a list of one."}
    bare = _entity(**java)
    assert question(bare) == ""
    example = ApiExample("With a string:", 'var list = List.of("a");', "")
    text = question(_entity(**java, examples=(example,)))
    assert "with a.List.of(E)" in text
    assert text.endswith('With a string:\n\nvar list = List.of("a");')
