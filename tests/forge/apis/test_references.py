"""JSON pointers and the expansion of schemas."""

from __future__ import annotations

import contextlib
import re
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from forge.apis.references import ReferenceError_, References, SchemaExpander, resolve, schema_in

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab/~{%0", max_size=4), inner, max_size=4),
    max_leaves=20,
)


def _places(value: Any, pointer: str = "") -> list[tuple[str, Any]]:
    found = [(pointer, value)]
    if isinstance(value, dict):
        for key, inner in value.items():
            found += _places(inner, f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            found += _places(inner, f"{pointer}/{number}")
    return found


@given(JSON)
def test_every_place_of_a_document_is_found_by_its_pointer(document: Any) -> None:
    for pointer, value in _places(document):
        assert References(document).at("#" + quote(pointer, safe="/~")) is value


@example({}, "¹")  # str.isdigit says yes, int() does not
@given(JSON, st.text(max_size=20))
def test_any_other_reference_is_refused_or_found(document: Any, reference: str) -> None:
    for text in (reference, "#" + reference, "#/" + reference):
        with contextlib.suppress(ReferenceError_):
            References(document).at(text)


@given(JSON, JSON)
def test_schemas_of_any_document_expand_without_references(document: Any, schema: Any) -> None:
    def references(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                ("$ref" if key == "a" else "properties" if key == "b" else key): references(v)
                for key, v in value.items()
            }
        return [references(inner) for inner in value] if isinstance(value, list) else value

    assert "$ref" not in schema_in(references(document), references(schema))


@pytest.mark.parametrize(
    "reference",
    [
        "other.yaml#/a",
        "#/missing",
        "#/list/2",
        "#/list/-1",
        "#/list/x",
        "#a",
        "#/",
        "#/list/-1/x",
        "#/list/0/a",
        "#/text/a",
        "#/" + "a" * 5000,
    ],
)
def test_references_to_nothing(reference: str) -> None:
    with pytest.raises(ReferenceError_, match=re.escape("reference") + "|" + re.escape("pointer")):
        References({"list": [1, 2], "text": "abc"}).at(reference)


def test_a_circle_of_references_ends() -> None:
    document = {"a": {"$ref": "#/b"}, "b": {"$ref": "#/a"}}
    with pytest.raises(ReferenceError_, match="circle"):
        resolve(document, {"$ref": "#/a"})
    assert schema_in(document, {"$ref": "#/a"}) == {}


def test_a_schema_inside_itself_is_cut_to_its_type_and_name() -> None:
    document = {"Node": {"type": "object", "properties": {"next": {"$ref": "#/Node"}, "value": {"type": "integer"}}}}
    assert schema_in(document, {"$ref": "#/Node"}) == {
        "type": "object",
        "properties": {"next": {"type": "object", "title": "Node"}, "value": {"type": "integer"}},
    }


def test_all_of_is_merged_and_what_a_schema_says_itself_counts_more() -> None:
    merged = schema_in(
        {"Named": {"properties": {"a": {"type": "string"}}, "required": ["a"], "description": "A name."}},
        {
            "allOf": [
                {"$ref": "#/Named"},
                {"properties": {"b": {"type": "integer"}, "a": {"type": "string", "format": "uuid"}}},
            ],
            "description": "Both.",
            "required": ["b", "c"],
        },
    )
    assert merged == {
        "description": "Both.",
        "type": "object",
        "properties": {"a": {"type": "string", "format": "uuid"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    }


@pytest.mark.parametrize(
    "choices",
    [
        {"anyOf": [{"$ref": "#/Pet"}, {"type": "null"}]},
        {"oneOf": [{"$ref": "#/Pet"}, {"type": "object", "nullable": True}]},
    ],
)
def test_a_choice_between_something_and_null_is_nullable(choices: Any) -> None:
    document = {"Pet": {"type": "object", "properties": {"name": {"type": "string"}}}}
    assert schema_in(document, choices) == {
        "type": "object",
        "properties": {"name": {"type": "string"}},
        "nullable": True,
    }


def test_a_real_choice_is_kept() -> None:
    assert schema_in({}, {"oneOf": [{"type": "string"}, {"type": "integer"}]}) == {
        "oneOf": [{"type": "string"}, {"type": "integer"}]
    }


def test_keywords_of_openapi_3_1() -> None:
    schema = {
        "type": ["object", "null"],
        "properties": {
            "size": {"type": ["integer", "null"], "exclusiveMinimum": 0, "examples": [3, 4]},
            "pair": {"type": "array", "prefixItems": [{"const": "x"}, {"type": "number"}]},
            "more": {"$ref": "#/Text", "description": "Said beside the reference.", "deprecated": True},
            "map": {"additionalProperties": {"type": "string"}},
        },
    }
    assert schema_in({"Text": {"type": "string", "description": "A text."}}, schema) == {
        "type": ["object", "null"],
        "properties": {
            "size": {"type": ["integer", "null"], "exclusiveMinimum": 0, "example": 3},
            "pair": {"type": "array", "prefixItems": [{"const": "x"}, {"type": "number"}]},
            "more": {"type": "string", "description": "Said beside the reference.", "deprecated": True},
            "map": {"additionalProperties": {"type": "string"}},
        },
    }


def test_bounds_hold_and_the_first_level_is_complete() -> None:
    wide: dict[str, Any] = {"type": "integer"}
    for _ in range(30):
        wide = {"type": "object", "properties": {f"p{number}": wide for number in range(12)}}
    expanded = schema_in({}, wide)
    assert len(expanded["properties"]) == 12
    assert str(expanded).count("properties") <= 200
    many = {"type": "object", "properties": {f"p{number}": {"type": "string"} for number in range(900)}}
    assert len(schema_in({}, many)["properties"]) == 900


def test_all_of_that_refers_to_itself_a_thousand_times_costs_nothing() -> None:
    document = {"A": {"allOf": [{"$ref": "#/A"}] * 1000, "type": "object"}}
    assert schema_in(document, {"$ref": "#/A"}) == {"type": "object"}


def test_schemas_of_one_document_are_expanded_once() -> None:
    document = {"Pet": {"type": "object", "properties": {"name": {"type": "string"}}}}
    expander = SchemaExpander(References(document))
    reference = {"$ref": "#/Pet"}
    assert expander.expand(reference) is expander.expand(reference)
    assert expander.expand({"$ref": "#/Pet"}) == expander.expand(reference)
