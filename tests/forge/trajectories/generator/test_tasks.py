"""Which operations an episode is about, and how they look as tools."""

from __future__ import annotations

import random
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forge.config import ConfigurationError
from forge.fixed_words import parse_words
from forge.schema import canonical_json
from forge.trajectories.generator.prompts import FILE, Prompts, prompts
from forge.trajectories.generator.schemas import plain_schema, told_schema
from forge.trajectories.generator.tasks import MAX_TOOL_CHARACTERS, choose, tools_of
from tests.forge.trajectories.generator.conftest import SHOP, operation, schema

MANY = [
    operation(f"{method} /{noun}s{place}", schema(), {}, provider=f"p{shop}.example", service=f"s{shop}")
    for shop in range(4)
    for noun in ("pet", "order", "user")
    for method, place in (("GET", ""), ("GET", "/{id}"), ("POST", ""), ("DELETE", "/{id}"))
]


def keys(count: int, max_operations: int, seed: int, entities: Any = MANY) -> list[tuple[str, ...]]:
    found = choose(entities, count, max_operations, seed)
    return [tuple(entity.entity_key for entity in each) for each in found]


def test_the_choice_depends_on_seed_and_operations_not_on_their_order() -> None:
    shuffled = random.Random(1).sample(MANY, len(MANY))
    assert keys(20, 5, 1) == keys(20, 5, 1, shuffled)
    assert keys(20, 5, 1) != keys(20, 5, 2)
    assert keys(10, 5, 1) == keys(20, 5, 1)[:10], "more episodes begin with the same ones"


def test_a_set_is_of_one_service_and_no_two_are_alike() -> None:
    found = keys(1000, 5, 1)
    assert len(found) == len(set(map(frozenset, found)))
    assert {len(each) for each in found} <= {1, 2, 3, 4}
    for each in found:
        assert len({key.rpartition("/")[0].split("/")[1] for key in each}) == 1
        assert len(set(each)) == len(each)
    assert {key for each in found for key in each} == {entity.entity_key for entity in MANY}, (
        "every operation has a turn"
    )


def test_services_take_turns() -> None:
    first = [each[0].split("/")[0] for each in keys(8, 5, 1)]
    assert sorted(first[:4]) == sorted(first[4:]) == [f"p{shop}.example" for shop in range(4)]


@pytest.mark.parametrize("most", [1, 2, 5])
def test_at_most_so_many_operations(most: int) -> None:
    assert max(map(len, keys(1000, most, 3))) <= most


def test_functions_and_commands_are_no_tools() -> None:
    function = operation("requests.get", schema(), {}, provider="python", entity_type="function")
    assert list(choose([function], 5, 5, 0)) == []


def test_tools_are_what_endpoints_take() -> None:
    named = [
        operation("PutItem", schema(), {}, provider="aws", service="dynamodb"),
        operation("query pet", schema(), {}),
        operation("a.b.Service/Get", schema(), {}),
        operation("tool with blanks & signs", schema(), {}, entity_type="tool"),
        operation("X" * 100, schema(), {}, entity_type="tool"),
        operation("Ä", schema(), {}, entity_type="tool"),
        operation("a-b", schema(), {}, entity_type="tool"),
        operation("a.b", schema(), {}, entity_type="tool"),
        operation("a_b", schema(), {}, entity_type="tool"),
    ]
    found = tools_of(named)
    assert len(found) == len(named), "names that would be equal are told apart"
    for name, (_, tool) in found.items():
        assert name == tool["name"]
        assert 0 < len(name) <= 64
        assert all(character.isascii() and (character.isalnum() or character in "_-") for character in name)


def test_an_interface_that_is_too_long_is_cut_then_left_out() -> None:
    long = {"type": "string", "description": "x" * 300}
    deep = schema(body=schema(inner=schema(**{f"field{number}": long for number in range(60)})))
    [(_, tool)] = tools_of([operation("POST /deep", deep, {})]).values()
    assert len(canonical_json(tool)) <= MAX_TOOL_CHARACTERS
    assert "field0" not in canonical_json(tool)
    wide = schema(**{f"field{number}": long for number in range(60)})
    assert tools_of([operation("POST /wide", wide, {})]) == {}


def test_what_a_tool_states_of_a_parameter() -> None:
    stated = {
        "type": "string", "nullable": True, "pattern": "(a+)+$", "description": "Which.", "enum": ["a", "b"],
        "example": "a", "x-in": "query", "minLength": "3", "maxLength": 9, "$ref": "http://example.com/x", "title": "T",
    }  # fmt: skip
    assert told_schema(plain_schema(stated)) == {
        "type": ["string", "null"],
        "enum": ["a", "b", None],
        "description": "Which. (pattern: (a+)+$)",
        "x-in": "query",
        "maxLength": 9,
    }
    [(_, tool)] = tools_of(SHOP[3:4]).values()
    assert tool["parameters"]["properties"]["name"] == {"type": "string"}


def test_choices_that_only_require_stay_choices() -> None:
    stated = {**schema(a={"type": "string"}, b={"type": "string"}), "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}
    [(_, tool)] = tools_of([operation("either", stated, {}, entity_type="tool")]).values()
    assert tool["parameters"]["anyOf"] == [{"required": ["a"]}, {"required": ["b"]}]


_KEYWORDS = ["type", "enum", "required", "properties", "items", "minimum", "maxLength", "anyOf", "const", "x-order",
             "additionalProperties", "nullable", "pattern", "description", "default", "minItems"]  # fmt: skip
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=4)
    | st.sampled_from(["string", "object", "array", "(a+)+$", "http://json-schema.org/x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYWORDS), inner, max_size=5),
    max_leaves=20,
)  # fmt: skip


@hypothesis_settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from([*_KEYWORDS, "$ref", "$dynamicRef", "uniqueItems"]), anything), anything)
def test_every_schema_becomes_one_that_any_validator_takes(stated: dict[str, Any], value: Any) -> None:
    found = told_schema(plain_schema(stated))
    jsonschema.Draft202012Validator.check_schema(found)
    list(jsonschema.Draft202012Validator(found).iter_errors(value))
    assert plain_schema(plain_schema(stated)) == plain_schema(stated) or "nan" in repr(stated)


def test_prompts_that_lack_a_place_are_refused_by_name() -> None:
    good = prompts().model_dump()
    for change, message in [
        ({"agent": "Hello."}, "agent: Value error, places: []; expected: ['api']"),
        ({"task_writer": "{api} {tools} {world} {secret}"}, "places: ['api', 'secret', 'tools', 'world']"),
        ({"extra": "x"}, "extra: Extra inputs are not permitted"),
        ({"version": 0}, "version: Input should be greater than 0"),
    ]:
        with pytest.raises(ConfigurationError) as caught:
            parse_words(Prompts, canonical_json({**good, **change}).encode(), FILE)
        assert message in str(caught.value)
    with pytest.raises(ConfigurationError, match=r"prompts\.yaml: "):
        parse_words(Prompts, b"{", FILE)
