"""One documented call as an episode."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.schema import ApiEntity, ApiExample, Decision, Step, ToolCall, Trajectory
from forge.trajectories.documented_calls import MAX_TOOL_CHARACTERS, episode_of, wording

PETS = ApiEntity(
    provider="pets.example",
    service="api",
    name="POST /shops/{shopId}/pets",
    version="1",
    entity_type="operation",
    summary="Creates a pet.",
    description="Creates a pet in a shop.",
    parameters={
        "type": "object",
        "properties": {
            "shopId": {"type": "integer"},
            "name": {"type": "string"},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["shopId", "name"],
        "x-order": ["shopId", "name", "tags"],
        "x-tags": ["pets"],
    },
    returns={},
    license="MIT",
    source="pets",
    item_id="pets.json",
    source_uri="pets.json",
)
CALL = ApiExample("", '{"name":"Rex","shopId":7,"tags":["dog"]}', '{"id":1}')


def _episode(entity: ApiEntity = PETS, example: ApiExample = CALL, number: int = 1) -> Trajectory:
    found = episode_of(entity, example, example.output, number)
    assert isinstance(found, Trajectory), found
    return found


def _refused(entity: ApiEntity, example: ApiExample) -> str:
    found = episode_of(entity, example, example.output)
    assert isinstance(found, Decision), found
    return found.reason


def test_a_call_is_an_episode_of_three_steps() -> None:
    found = _episode(number=2)
    request, call, observation = found.steps
    assert request == Step("user", found.task)
    assert found.task.splitlines()[-3:] == ["- shopId: 7", "- name: Rex", '- tags: ["dog"]']
    assert call == Step("assistant", calls=(ToolCall(PETS.name, {"name": "Rex", "shopId": 7, "tags": ["dog"]}),))
    assert observation == Step("tool", '{"id":1}')
    assert (found.outcome, found.reward, found.generator) == ("unknown", None, "documentation")
    assert (found.license, found.episode) == ("MIT", "POST /shops/{shopId}/pets#2")
    (tool,) = found.tools
    assert (tool["name"], tool["description"]) == (PETS.name, "Creates a pet.")
    assert tool["parameters"] == {key: value for key, value in PETS.parameters.items() if not key.startswith("x-")}


def test_environment_and_call_are_the_entity() -> None:
    entity = replace(PETS, provider="aws", service="s3", name="PutObject", summary="Adds an object to a bucket.")
    found = _episode(entity)
    assert f"{found.environment}/{found.steps[1].calls[0].name}" == entity.entity_key == "aws/s3/PutObject"


@pytest.mark.parametrize(
    ("summary", "shown", "task"),
    [
        ("Creates a pet.", "", "create a pet"),
        ("Creates a pet.", "Creating a dog", "create a pet"),
        ("Creates a pet.", "To create a dog with tags", "create a dog with tags"),
        ("Creates a pet.", "The following create-pet example creates a dog.", "create a dog"),
        ("Creates a pet.", "The following example shows how to add a dog.", "add a dog"),
        ("Create pet", "", "create pet"),
        ("createShopPet", "", "create shop pet"),
        ("Wire transfers of an account", "", "wire transfers of an account"),
    ],
)
def test_the_request_says_what_the_documentation_says(summary: str, shown: str, task: str) -> None:
    found = _episode(replace(PETS, summary=summary), replace(CALL, description=shown)).task
    asked = found.splitlines()[0].lower()
    assert task in asked
    said = asked.replace(task, "")
    for word in ("use", "please", "with", "the", "these", "api", "of", "pets.example", "values"):
        said = said.replace(word, "")
    assert not said.strip(" .:"), f"more than the documentation says: {said!r}"


def test_the_wording_is_chosen_by_the_call_and_varies() -> None:
    calls = [replace(CALL, input=f'{{"name":"Rex","shopId":{number}}}') for number in range(60)]
    openings = [_episode(example=call).task.splitlines()[0] for call in calls]
    assert openings == [_episode(example=call).task.splitlines()[0] for call in calls]
    assert len(set(openings)) > len(wording().orders)


@pytest.mark.parametrize(
    ("given_", "shown", "reason"),
    [
        ("[1]", "{}", "malformed_example"),
        ("name=Rex", "{}", "malformed_example"),
        ("", "{}", "malformed_example"),
        ('{"name":"Rex"}', "{}", "call_schema_mismatch"),  # without the required shopId
        ('{"name":"Rex","shopId":"seven"}', "{}", "call_schema_mismatch"),
        ('{"name":"string","shopId":7}', "{}", "unfilled_example"),
        ('{"name":"{petName}","shopId":7}', "{}", "unfilled_example"),
        ('{"name":"<pet name>","shopId":7}', "{}", "unfilled_example"),
        ('{"name":"Rex","shopId":7,"tags":["YOUR_TAG"]}', "{}", "unfilled_example"),
        ('{"name":"Rex","shopId":7}', '{"pets":[{"name":"string"}]}', "unfilled_example"),
        (f'{{"name":"Rex","shopId":7,"deep":{"[" * 80}{"]" * 80}}}', "{}", "too_deeply_nested"),
    ],
)
def test_what_is_no_episode(given_: str, shown: str, reason: str) -> None:
    assert _refused(PETS, ApiExample("", given_, shown)) == reason


@pytest.mark.parametrize("text", ['{"a": 1}', "<p>Hello</p>, you", "a string", "your", "[1, 2]"])
def test_texts_that_only_look_unfilled(text: str) -> None:
    given_ = orjson.dumps({"name": text, "shopId": 7}).decode()
    assert _episode(example=replace(CALL, input=given_)).steps[1].calls[0].arguments["name"] == text


def test_an_operation_without_a_summary_has_no_task() -> None:
    assert _refused(replace(PETS, summary="", description=""), CALL) == "no_task"
    assert _refused(replace(PETS, summary="Pets"), CALL) == "no_task"


def test_a_long_schema_is_shown_less_deep_or_not_at_all() -> None:
    leaves = {
        f"field{number}": {"type": "string", "description": "Of it."} for number in range(MAX_TOOL_CHARACTERS // 40)
    }
    deep = {
        "type": "object",
        "properties": {**PETS.parameters["properties"], "more": {"type": "object", "properties": leaves}},
    }
    (tool,) = _episode(replace(PETS, parameters=deep)).tools
    assert tool["parameters"]["properties"]["more"] == {"type": "object"}
    wide = {"type": "object", "properties": {**PETS.parameters["properties"], **leaves}}
    assert _refused(replace(PETS, parameters=wide), CALL) == "oversized_tool"


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(
    given_=st.text(max_size=20) | VALUES.map(lambda value: orjson.dumps(value).decode()),
    summary=st.text(max_size=30),
    shown=st.text(max_size=30),
)
def test_any_example_is_an_episode_or_a_decision(given_: str, summary: str, shown: str) -> None:
    found = episode_of(replace(PETS, summary=summary), ApiExample(shown, given_, shown), shown)
    assert found.row("2026-01-01")
