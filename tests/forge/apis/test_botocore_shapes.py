"""Shapes of botocore's models as JSON Schemas."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from forge.apis.botocore_shapes import ShapeExpander


def test_expansion_is_bounded_and_keeps_the_first_level() -> None:
    shapes: dict[str, Any] = {"String": {"type": "string"}}
    for level in range(8):
        inner = f"Level{level + 1}" if level < 7 else "String"
        shapes[f"Level{level}"] = {
            "type": "structure",
            "members": {f"m{number}": {"shape": inner} for number in range(300 if level == 0 else 20)},
        }
    schema = ShapeExpander(shapes).expand("Level0")
    assert len(schema["properties"]) == 300
    assert len(orjson.dumps(schema)) < 60_000


def test_a_shape_inside_itself_is_cut_to_its_name() -> None:
    shapes = {
        "Tree": {"type": "structure", "members": {"children": {"shape": "Trees"}, "byName": {"shape": "Map"}}},
        "Trees": {"type": "list", "member": {"shape": "Tree"}, "min": 1, "max": 5},
        "Map": {"type": "map", "key": {"shape": "Word"}, "value": {"shape": "Tree"}},
        "Word": {"type": "string", "enum": ["a", 3, "b"]},
    }
    assert ShapeExpander(shapes).expand("Tree") == {
        "type": "object",
        "properties": {
            "children": {"type": "array", "minItems": 1, "maxItems": 5, "items": {"type": "object", "title": "Tree"}},
            "byName": {
                "type": "object",
                "propertyNames": {"enum": ["a", "b"]},
                "additionalProperties": {"type": "object", "title": "Tree"},
            },
        },
    }


@pytest.mark.parametrize(
    ("shape", "schema"),
    [
        ({"type": "string", "min": 1, "max": 9, "pattern": "[a-z]+"},
         {"type": "string", "minLength": 1, "maxLength": 9, "pattern": "[a-z]+"}),
        ({"type": "string", "pattern": "x" * 201}, {"type": "string"}),
        ({"type": "long", "min": 0, "max": "many"}, {"type": "integer", "minimum": 0}),
        ({"type": "double", "max": 0.5}, {"type": "number", "maximum": 0.5}),
        ({"type": "timestamp", "timestampFormat": "iso8601"}, {"type": "string", "format": "date-time"}),
        ({"type": "blob", "streaming": True}, {"type": "string", "format": "byte"}),
        ({"type": "boolean", "box": True}, {"type": "boolean"}),
        ({"type": "structure", "document": True}, {"type": "object"}),
        ({"type": "never heard of"}, {"type": "string"}),
    ],
)  # fmt: skip
def test_scalars(shape: dict[str, Any], schema: dict[str, Any]) -> None:
    assert ShapeExpander({"S": shape}).expand("S") == schema


def test_nested_descriptions_are_one_sentence() -> None:
    inner = {"type": "structure", "members": {"x": {"shape": "S", "documentation": "<p>One. Two.</p>"}}}
    shapes = {
        "Outer": {"type": "structure", "members": {"i": {"shape": "Inner"}}},
        "Inner": inner,
        "S": {"type": "string"},
    }
    inner["documentation"] = "<p>Three. Four.</p>"
    schema = ShapeExpander(shapes).expand("Outer")
    assert schema["properties"]["i"]["description"] == "Three. Four."
    assert schema["properties"]["i"]["properties"]["x"]["description"] == "One."


def test_what_all_schemas_weigh_is_counted() -> None:
    expander = ShapeExpander({"T": {"type": "structure", "members": {}}})
    expander.expand("T")
    once = expander.written
    expander.expand("T")
    assert expander.written == 2 * once > 0
