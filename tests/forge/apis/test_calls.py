"""Calls with values that the source states."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.apis.calls import (
    Call,
    Variable,
    base_url,
    call_of,
    cli_words,
    ecosystem,
    snake_case,
    value_of,
    variable_name,
)
from forge.schema import ApiEntity, ApiExample


def _entity(parameters: dict[str, Any], **fields: Any) -> ApiEntity:
    stated: dict[str, Any] = {
        "provider": "aws", "service": "s3", "name": "PutThing", "version": "1", "entity_type": "operation",
        "summary": "", "description": "", "parameters": parameters, "returns": {}, "license": "MIT",
        "source": "s", "item_id": "i",
        "source_uri": "u",
    }  # fmt: skip
    return ApiEntity(**{**stated, **fields})


@pytest.mark.parametrize(
    ("name", "words"),
    [("DescribeDBInstances", "describe-db-instances"), ("GetObject", "get-object"), ("userName", "user-name"),
     ("MD5OfBody", "md5-of-body"), ("ListEC2Hosts", "list-ec2-hosts"), ("snake_case", "snake-case"), ("日本", "-")],
)  # fmt: skip
def test_names_in_words(name: str, words: str) -> None:
    assert cli_words(name) == words
    assert snake_case(name) == words.replace("-", "_")


def test_a_recorded_request_comes_first() -> None:
    example = ApiExample("Puts it.", '{"Name":"a","Size":2}', '{"Ok":true}')
    call = call_of(_entity({"properties": {"Name": {"type": "string"}}, "required": ["Name"]}, examples=(example,)))
    assert call is not None
    assert (dict(call.arguments), call.response, call.description) == (
        {"Name": "a", "Size": 2},
        '{\n  "Ok": true\n}',
        "Puts it.",
    )


def test_else_required_parameters_with_stated_values_or_variables() -> None:
    properties = {
        "Name": {"type": "string"},
        "Kind": {"enum": ["BIG", "SMALL"]},
        "Count": {"type": "integer", "minimum": 3},
        "Tags": {
            "type": "array",
            "items": {"type": "object", "properties": {"Key": {"type": "string"}}, "required": ["Key"]},
        },
        "Other": {"type": "string"},
    }
    call = call_of(_entity({"properties": properties, "required": ["Name", "Kind", "Count", "Tags"]}))
    assert call is not None
    name, count, key = Variable("Name"), Variable("Count"), Variable("Key")
    assert call.arguments == {"Name": name, "Kind": "BIG", "Count": count, "Tags": [{"Key": key}]}
    assert (call.recorded, call.is_stated, call.states_a_value) == (False, False, True)
    assert call_of(_entity({"properties": {}})) is None
    assert call_of(_entity({"properties": properties}, entity_type="class", provider="python")) is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "aws"),
        ({"provider": "example.com", "name": "GET /pets/{id}"}, "http"),
        ({"provider": "google", "name": "drive.files.get"}, "google"),
        ({"provider": "google", "name": "google.pubsub.v1.Publisher/Publish"}, "grpc"),
        ({"provider": "github", "name": "query repository"}, "graphql"),
        ({"provider": "mcp", "name": "search", "entity_type": "tool"}, "tool"),
        ({"provider": "python", "name": "a.b", "entity_type": "function"}, "python"),
        ({"provider": "shell", "name": "ls", "entity_type": "command"}, "shell"),
        ({"provider": "java", "name": "java.util.List.of(E, E)", "entity_type": "method"}, "other"),
        ({"provider": "acme", "name": "pets.get"}, "tool"),
    ],
)
def test_ecosystems(fields: dict[str, Any], expected: str) -> None:
    assert ecosystem(_entity({}, **fields)) == expected


@pytest.mark.parametrize(
    ("declaration", "base"),
    [
        ("GET https://a.example/v1/pets/{id}", "https://a.example/v1"),
        ("GET https://a.example/v1/pets/{id}#x", "https://a.example/v1"),
        ("POST https://a.example/v1/pets/{id}", ""),
        ("GET /v1/pets/{id}", ""),
        ("", ""),
    ],
)
def test_the_base_of_an_http_operation(declaration: str, base: str) -> None:
    assert base_url(_entity({}, provider="a", name="GET /pets/{id}", declaration=declaration)) == base


SCHEMAS = st.recursive(
    st.sampled_from(
        [{"type": "string", "example": "x"}, {"type": "integer", "default": 2}, {"enum": ["a"]}, {"type": "null"}]
    ),
    lambda inner: st.one_of(
        inner.map(lambda items: {"type": "array", "items": items}),
        st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=2).map(
            lambda members: {"type": "object", "properties": members, "required": sorted(members)[:1]}
        ),
        inner.map(lambda part: {"anyOf": [part, {"type": "null"}]}),
    ),
    max_leaves=3,
)


@given(SCHEMAS.filter(lambda schema: str(schema).count("'type'") <= 3))
def test_stated_values_satisfy_their_schema(schema: dict[str, Any]) -> None:
    value = value_of(schema, "thing")
    if Call({"thing": value}).is_stated:
        jsonschema.validate(value, schema)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda i: st.lists(i, max_size=2) | st.dictionaries(st.text(max_size=4), i, max_size=3),
        max_leaves=8,
    )
)
def test_no_schema_raises(value: Any) -> None:
    value_of(value if isinstance(value, dict) else {"enum": value}, "x")


@pytest.mark.parametrize(
    ("name", "variable"),
    [("maxResults", "max_results"), ("class", "class_"), ("id", "id_"), ("2fa", "value_2fa"), ("日本", "_")],
)
def test_variables_are_identifiers(name: str, variable: str) -> None:
    assert variable_name(name) == variable
    assert variable.isidentifier()
