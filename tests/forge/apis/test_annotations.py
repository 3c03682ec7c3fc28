"""Annotations and defaults as JSON Schema."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.apis.annotations import default_of, schema_of, schema_of_prose


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        ("", {}),
        ("int", {"type": "integer"}),
        ("Optional[str]", {"type": ["string", "null"]}),
        ("str | None", {"type": ["string", "null"]}),
        ("typing.List[int]", {"type": "array", "items": {"type": "integer"}}),
        ("dict[str, float]", {"type": "object", "additionalProperties": {"type": "number"}}),
        ("tuple[int, ...]", {"type": "array", "items": {"type": "integer"}}),
        ("Literal['a', 'b']", {"enum": ["a", "b"]}),
        ("Union[int, list[str]]", {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "string"}}]}),
        ("'str'", {"type": "string"}),
        ("Tensor", {"x-annotation": "Tensor"}),
        ("Tensor | None", {"x-annotation": "Tensor | None"}),
        ("Any", {}),
        ("not ( valid", {"x-annotation": "not ( valid"}),
    ],
)
def test_schema_of(annotation: str, schema: dict[str, Any]) -> None:
    assert schema_of(annotation) == schema


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        ("", {}),
        ("int, optional", {"type": "integer", "x-type": "int, optional"}),
        ("`str`", {"type": "string", "x-type": "str"}),
        ("int (default: 3)", {"type": "integer", "x-type": "int (default: 3)"}),
        ("list of str", {"type": "array", "x-type": "list of str"}),
        ("int or None", {"type": ["integer", "null"], "x-type": "int or None"}),
        ("int, float, inf", {"x-type": "int, float, inf"}),
        ("array-like", {"x-type": "array-like"}),
        ("`str`, *optional*, defaults to `'x'`", {"type": "string", "x-type": "str, *optional*, defaults to 'x'"}),
        ("{'a', 'b'}, optional", {"enum": ["a", "b"], "x-type": "{'a', 'b'}, optional"}),
        ("'a', 'b'", {"enum": ["a", "b"], "x-type": "'a', 'b'"}),
        ("{int, str}", {"x-type": "{int, str}"}),
        ("array-like of shape (n,)", {"x-type": "array-like of shape (n,)"}),
    ],
)
def test_schema_of_prose(annotation: str, schema: dict[str, Any]) -> None:
    assert schema_of_prose(annotation) == schema


@pytest.mark.parametrize(
    ("text", "schema"),
    [
        ("None", {"default": None}),
        ("3", {"default": 3}),
        ("'a'", {"default": "a"}),
        ("[1, 2]", {"default": [1, 2]}),
        ("{'a': 1.5}", {"default": {"a": 1.5}}),
        ("(1, 2)", {"x-default": "(1, 2)"}),
        ("1e999", {"x-default": "1e999"}),
        ("torch.float32", {"x-default": "torch.float32"}),
        ("9" * 40, {"x-default": "9" * 40}),
    ],
)
def test_default_of(text: str, schema: dict[str, Any]) -> None:
    assert default_of(text) == schema


@given(st.text(max_size=80) | st.text("[](){},|'\"-0ab.", max_size=80))
def test_no_text_raises_and_all_is_json(text: str) -> None:
    for schema in (schema_of(text), schema_of_prose(text), default_of(text)):
        json.dumps(schema, allow_nan=False)


def test_deep_nesting_is_refused_quietly() -> None:
    for text in ("[" * 299, "list[" * 50 + "int" + "]" * 50, "(" * 200 + ")" * 200, "-" * 299 + "1"):
        schema_of(text)
        default_of(text)
