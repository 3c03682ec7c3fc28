"""Discovery's dialect of JSON Schema."""

from __future__ import annotations

from typing import Any

import pytest

from forge.apis.discovery_schemas import parameter_schema, pointer, to_be_sent, to_json_schema
from forge.apis.references import References


@pytest.mark.parametrize(
    ("stated", "schema"),
    [
        ({"type": "boolean", "default": "TRUE"}, {"type": "boolean", "default": True}),
        ({"type": "boolean", "default": "perhaps"}, {"type": "boolean"}),
        ({"type": "integer", "default": "ten", "maximum": "9", "minimum": "-1"},
         {"type": "integer", "maximum": 9, "minimum": -1}),
        ({"type": "integer", "default": "1" * 40}, {"type": "integer"}),
        ({"type": "number", "default": "inf", "maximum": "1.5"}, {"type": "number", "maximum": 1.5}),
        ({"type": "string", "default": "x", "location": "query"}, {"type": "string", "default": "x", "x-in": "query"}),
        ({"type": "any", "format": "google-datetime"}, {"format": "date-time"}),
        ({"type": "string", "repeated": True, "default": "x"},
         {"type": "array", "items": {"type": "string"}, "default": ["x"]}),
    ],
)  # fmt: skip
def test_parameters(stated: dict[str, Any], schema: dict[str, Any]) -> None:
    assert parameter_schema(stated) == schema


@pytest.mark.parametrize(
    ("stated", "description", "is_set_by_server"),
    [
        ("Required. Immutable. The name. Of it.", "Required, immutable: The name. Of it.", False),
        ("Output only. The state. Now.", "Output only: The state. Now.", True),
        ("Immutable. Output only. When.", "Immutable, output only: When.", True),
        ("[Output Only] The state.", "[Output Only] The state.", True),
        ("Output only.", "Output only.", True),
        ("The output only grows.", "The output only grows.", False),
        ("Optional.", "Optional.", False),
    ],
)
def test_how_descriptions_begin(stated: str, description: str, is_set_by_server: bool) -> None:
    schemas = {"A": {"type": "string", "description": stated}}
    to_json_schema(schemas)
    assert schemas["A"]["description"] == description
    assert schemas["A"].get("readOnly", False) is is_set_by_server


def test_enumerations_say_what_each_value_means() -> None:
    values = {
        "enum": ["A", "B", "C"],
        "enumDescriptions": ["First.\n One.", "", "Third."],
        "enumDeprecated": [False, True],
    }
    schemas = {"E": {"type": "array", "items": {"type": "string", **values}}}
    to_json_schema(schemas)
    assert schemas["E"]["items"]["description"] == "- `A`: First. One.\n- `C`: Third."


@pytest.mark.parametrize("name", ["Book", "a/b", "a~b", "a~1b", "50%", "%7E", "ä b"])
def test_pointers_lead_to_the_name(name: str) -> None:
    assert References({"schemas": {name: 7, "other": 8}}).at(pointer(name)) == 7


def test_what_only_the_server_sets_is_not_sent() -> None:
    inner = {"properties": {"kept": {}, "made": {"readOnly": True}}}
    schema = {
        "properties": {"list": {"items": inner}, "map": {"additionalProperties": inner}, "id": {"readOnly": True}}
    }
    kept = {"properties": {"kept": {}}}
    assert to_be_sent(schema) == {"properties": {"list": {"items": kept}, "map": {"additionalProperties": kept}}}
    assert "made" in inner["properties"]
