from __future__ import annotations

from typing import Any

import pytest

from forge.trajectories.formats.parameter_types import Parameter, described_tool, parameters_schema, typed_tools


@pytest.mark.parametrize(
    ("stated", "schema"),
    [
        ("string", {"type": "string"}),
        ("str", {"type": "string"}),
        ("float, optional", {"type": "number", "x-type": "float, optional"}),
        ("dict", {"type": "object"}),
        ("List[List[int]]", {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}),
        ("Callable[[float], float]", {"x-type": "Callable[[float], float]"}),
        ("any", {"x-type": "any"}),
        (["string", "null"], {"type": ["string", "null"]}),
    ],
)
def test_types_as_python_names_them(stated: object, schema: dict[str, Any]) -> None:
    parameters = {"a": {"type": stated, "description": "A."}}
    assert parameters_schema(parameters)["properties"] == {"a": {**schema, "description": "A."}}


def test_a_schema_stays_one_also_inside() -> None:
    schema = {
        "type": "dict",
        "properties": {
            "type": {"type": "str", "enum": ["a"]},
            "rows": {"type": "list", "items": {"type": "dict", "properties": {"n": {"type": "int"}}}},
            "odd": "text",
        },
        "required": ["rows"],
    }
    assert parameters_schema(schema) == {
        "type": "object",
        "properties": {
            "type": {"type": "string", "enum": ["a"]},
            "rows": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer"}}}},
            "odd": "text",
        },
        "required": ["rows"],
    }


def test_parameters_of_any_name_and_none() -> None:
    assert parameters_schema({"type": {"type": "str"}, "properties": {"type": "int"}}) == {
        "type": "object",
        "properties": {"type": {"type": "string"}, "properties": {"type": "integer"}},
    }
    assert parameters_schema({}) == {"type": "object", "properties": {}}
    assert parameters_schema(None) == {"type": "object", "properties": {}}
    assert parameters_schema({"$ref": "#/x"}) == {"$ref": "#/x"}
    assert typed_tools([{"name": "a"}]) == [{"name": "a"}]


def test_tools_described_in_text() -> None:
    parameters = [
        Parameter("line", "integer", True, "Where to."),
        Parameter("to", "str", False, "Where from."),
        Parameter("until", "whatever", False, ""),
        Parameter("to", "string", True, "Where to."),
    ]
    assert described_tool("goto", "Moves.", parameters) == {
        "name": "goto",
        "description": "Moves.",
        "parameters": {
            "type": "object",
            "properties": {
                "line": {"type": "integer", "description": "Where to."},
                "to": {"type": "string", "description": "Where to."},
                "until": {"x-type": "whatever", "description": ""},
            },
            "required": ["line", "to"],
        },
    }
