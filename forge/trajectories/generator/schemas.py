"""Schemas of the keywords that endpoints, validators and the mock agree on, each well formed.

Nothing in them refers elsewhere, no regular expression is run, ``nullable`` is a type, ``oneOf`` is ``anyOf``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from forge.text.markup import cut

_TYPES = frozenset({"string", "integer", "number", "boolean", "object", "array", "null"})
_TEXTS = ("description", "format", "pattern", "x-in", "x-operation-id", "x-annotation", "x-type")
_NUMBERS = ("minimum", "maximum")
_COUNTS = ("minLength", "maxLength", "minItems", "maxItems")
_STATED = ("default", "const", "example")
_CHOICES = ("anyOf", "allOf")
_NOT_TOLD = frozenset({"example", "pattern", "writeOnly"})
MAX_NESTING = 60


def plain_schema(schema: Mapping[str, Any], level: int = 0) -> dict[str, Any]:
    """What of a schema is of use here; our own ``x-`` keywords stay."""
    result: dict[str, Any] = _type_and_enum(schema)
    for keyword in _TEXTS:
        if isinstance(schema.get(keyword), str):
            result[keyword] = schema[keyword]
    for keyword in _STATED:
        if schema.get(keyword) is not None:
            result[keyword] = schema[keyword]
    for keyword in (*_NUMBERS, *_COUNTS):
        if is_number(schema.get(keyword)) and (keyword in _NUMBERS or _is_count(schema[keyword])):
            result[keyword] = schema[keyword]
    if schema.get("writeOnly") is True:
        result["writeOnly"] = True
    if level == MAX_NESTING:
        return result
    properties = schema.get("properties")
    if isinstance(properties, Mapping):
        result["properties"] = {
            name: plain_schema(node, level + 1) for name, node in properties.items() if isinstance(node, Mapping)
        }
    for keyword in ("required", "x-order"):
        if names := _names(schema.get(keyword), result.get("properties")):
            result[keyword] = names
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), Mapping):
            result[keyword] = plain_schema(schema[keyword], level + 1)
    for keyword in ("oneOf", *_CHOICES):
        parts = schema.get(keyword)
        if isinstance(parts, list) and parts and all(isinstance(part, Mapping) for part in parts):
            # What was left out may be what told the choices apart.
            result["anyOf" if keyword == "oneOf" else keyword] = [plain_schema(part, level + 1) for part in parts]
    return result


def told_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A plain schema as a tool states it: a pattern is part of the description, because nobody checks it."""
    result = {keyword: value for keyword, value in schema.items() if keyword not in _NOT_TOLD}
    if pattern := schema.get("pattern"):
        result["description"] = f"{schema.get('description', '')} (pattern: {cut(pattern, 200)})".strip()
    if "properties" in result:
        result["properties"] = {name: told_schema(node) for name, node in result["properties"].items()}
    for keyword in ("items", "additionalProperties"):
        if keyword in result:
            result[keyword] = told_schema(result[keyword])
    for keyword in _CHOICES:
        if keyword in result:
            result[keyword] = [told_schema(part) for part in result[keyword]]
    return result


def type_of(schema: Mapping[str, Any]) -> str:
    """The first type that is not null; "object" or "array" where only their keywords stand; else "string"."""
    kind = schema.get("type")
    if isinstance(kind, list):
        return str(next(part for part in kind if part != "null"))
    if kind is not None:
        return str(kind)
    return "object" if "properties" in schema else "array" if "items" in schema else "string"


def is_number(value: object) -> bool:
    """Whether it is a finite number; true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300


def _type_and_enum(schema: Mapping[str, Any]) -> dict[str, Any]:
    stated = schema.get("type")
    kinds = stated if isinstance(stated, list) else [stated]
    told = list(dict.fromkeys(kind for kind in kinds if isinstance(kind, str) and kind in _TYPES))
    if told and schema.get("nullable") is True and "null" not in told:
        told.append("null")
    result: dict[str, Any] = {"type": told[0] if len(told) == 1 else told} if told else {}
    listed = schema.get("enum")
    if isinstance(listed, list) and listed:
        result["enum"] = [*listed, None] if "null" in told and None not in listed else listed
    return result


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value >= 0


def _names(value: object, known: Mapping[str, Any] | None) -> list[str]:
    """The names of a list, each once; only of properties that there are, where any are stated."""
    names = dict.fromkeys(name for name in value if isinstance(name, str)) if isinstance(value, list) else {}
    return [name for name in names if known is None or name in known]
