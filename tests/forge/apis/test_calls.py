"""Calls with values that the source states."""

from __future__ import annotations

import ast
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.apis.calls import call_of, cli_words, python_call, snake_case, value_of
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


def test_else_required_parameters_with_stated_values_or_placeholders() -> None:
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
    assert call.arguments == {"Name": "<Name>", "Kind": "BIG", "Count": 3, "Tags": [{"Key": "<Key>"}]}
    assert call_of(_entity({"properties": {}})) is None


SCHEMAS = st.recursive(
    st.sampled_from(
        [{"type": "string"}, {"type": "integer", "minimum": 2}, {"type": "boolean"}, {"enum": ["a"]}, {"type": "null"}]
    ),
    lambda inner: st.one_of(
        inner.map(lambda items: {"type": "array", "items": items}),
        inner.map(lambda values: {"type": "object", "additionalProperties": values}),
        st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=2).map(
            lambda members: {"type": "object", "properties": members, "required": sorted(members)[:1]}
        ),
        inner.map(lambda part: {"anyOf": [part, {"type": "null"}]}),
    ),
    max_leaves=3,
)


@given(SCHEMAS.filter(lambda schema: str(schema).count("'type'") <= 3))
def test_values_satisfy_their_schema(schema: dict[str, Any]) -> None:
    jsonschema.validate(value_of(schema, "thing"), schema)


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
    ("fields", "source"),
    [
        ({}, "import boto3\n\nclient = boto3.client(\"s3\")\nresponse = client.put_thing(Name='<Name>')"),
        (
            {"provider": "python", "name": "a.b.load", "entity_type": "function"},
            "from a.b import load\n\nresult = load(Name='<Name>')",
        ),
        (
            {"provider": "python", "name": "a.Box.load", "entity_type": "method"},
            "# box is an instance of a.Box\nresult = box.load(Name='<Name>')",
        ),
        (
            {"provider": "p", "name": "GET /things/{Name}"},
            'import requests\n\nresponse = requests.get(base_url + "/things/<Name>")',
        ),
    ],
)
def test_python_calls_are_python(fields: dict[str, Any], source: str) -> None:
    entity = _entity({"properties": {"Name": {"type": "string"}}, "required": ["Name"]}, **fields)
    call = call_of(entity)
    assert call is not None
    written = python_call(entity, call)
    assert written == source
    ast.parse(written)


def test_a_value_that_json_cannot_write_is_a_variable() -> None:
    entity = _entity(
        {"properties": {"input": {"x-annotation": "Tensor"}, "dim": {"type": "integer"}}, "required": ["input", "dim"]},
        provider="python",
        name="softmax",
        entity_type="function",
    )
    call = call_of(entity)
    assert call is not None
    assert python_call(entity, call) == "result = softmax(input=input, dim=1)"
