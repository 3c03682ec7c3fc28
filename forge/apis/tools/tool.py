"""What every format of tool lists says of one tool, and the pieces that their readers share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from forge.apis.descriptions import plain_text
from forge.apis.property_order import with_order
from forge.apis.references import References, SchemaExpander
from forge.schema import ApiExample, canonical_json, is_deeper_than
from forge.text.markup import cut

_EMPTY_LINES = re.compile(r"\n(?:[ \t]*\n)+")
_MAX_NAME = 300
_MAX_DESCRIPTION = 20_000
_MAX_EXAMPLE_CHARACTERS = 20_000
_MAX_EXAMPLES = 10
_MAX_NESTING = 60
_MAX_PARAMETERS = 1000
_JSON_TYPES = {
    "bool": "boolean", "bytes": "string", "dict": "object", "dictionary": "object", "date": "string",
    "datetime": "string", "decimal": "number", "double": "number", "enum": "string", "file": "string",
    "float": "number", "hashtable": "object", "hash": "object", "int": "integer", "json": "object", "list": "array",
    "long": "integer", "map": "object", "none": "null", "num": "number", "set": "array", "str": "string",
    "text": "string", "tuple": "array", "uuid": "string", "url": "string",
}  # fmt: skip
"""What lists call a type -> JSON Schema's word."""
_HIDDEN = "\ue000"
"""Stands for "<" in descriptions while references are followed: what looks like a tag in them is a placeholder."""
_WORD = re.compile(r"\s*([a-z]+)")
_MAPS_OF_SCHEMAS = frozenset({"properties", "$defs", "definitions", "patternProperties"})
_LISTS_OF_SCHEMAS = frozenset({"oneOf", "anyOf", "allOf", "prefixItems"})
_SCHEMAS = frozenset({"items", "additionalProperties"})
_KNOWN_TYPES = frozenset({"string", "integer", "number", "boolean", "array", "object", "null"})


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool as its list describes it. ``parameters`` and ``returns`` are as :func:`parameter_schema` and
    :func:`schema` give them. ``provider``, ``service`` and so on are "" where only the source can say it."""

    name: str
    description: str = ""
    summary: str = ""
    parameters: Mapping[str, Any] | None = None
    returns: Mapping[str, Any] | None = None
    examples: Sequence[ApiExample] = ()
    auth: str = ""
    declaration: str = ""
    provider: str = ""
    service: str = ""
    version: str = ""
    license: str = ""
    entity_type: str = "tool"


class ToolError(ValueError):
    """An entry of a list that describes no tool, though the format says it should."""


def tool_name(stated: object) -> str:
    """Raises :class:`ToolError` for what is no name."""
    name = line(stated)
    if not name:
        raise ToolError("an entry without a name")
    if len(name) > _MAX_NAME:
        raise ToolError(f"a name of {len(name):,} characters: {name[:60]}")
    return name


def line(stated: object) -> str:
    """A text on one line; "" for what is no text."""
    return " ".join(plain_text(stated).split()) if isinstance(stated, str) else ""


def prose(stated: object) -> str:
    """A description as it stands: what looks like a tag in it is a placeholder."""
    return (
        cut(_EMPTY_LINES.sub("\n\n", plain_text(stated).strip()), _MAX_DESCRIPTION) if isinstance(stated, str) else ""
    )


def paragraphs(*texts: str) -> str:
    return "\n\n".join(dict.fromkeys(text for text in texts if text))


def example(arguments: object, description: str = "", output: object = "") -> ApiExample | None:
    """One call with its arguments, None where it is too large or holds nothing."""
    if not arguments or is_deeper_than(arguments, _MAX_NESTING) or is_deeper_than(output, _MAX_NESTING):
        return None
    given, got = (value if isinstance(value, str) else canonical_json(value) for value in (arguments, output))
    if len(given) + len(got) > _MAX_EXAMPLE_CHARACTERS:
        return None
    return ApiExample(description, plain_text(given), plain_text(got))


def examples(found: Sequence[ApiExample | None]) -> tuple[ApiExample, ...]:
    return tuple(dict.fromkeys(shown for shown in found if shown is not None))[:_MAX_EXAMPLES]


# --- schemas ------------------------------------------------------------------------------------------------------


def parameter_schema(stated: object) -> dict[str, Any]:
    """The parameters of a call as one object. Lists write them as JSON Schema; as a map of names to schemas, of which
    each may say ``required: true``; or as a list of such schemas with their names in them."""
    if isinstance(stated, list):
        named = [entry for entry in stated[:_MAX_PARAMETERS] if isinstance(entry, dict) and line(entry.get("name"))]
        stated = {line(entry["name"]): {key: entry[key] for key in entry if key != "name"} for entry in named}
        return _of_properties(stated)
    if not isinstance(stated, dict):
        return {"type": "object", "properties": {}}
    if not isinstance(stated.get("type"), str | list) and "properties" not in stated and "$ref" not in stated:
        return _of_properties({key: value for key, value in stated.items() if isinstance(value, dict)})
    found = schema(stated)
    found.pop("description", None)
    if not isinstance(found.get("properties"), dict):
        found["properties"] = {}
    own = stated.get("properties")
    flagged = _flagged(own) if isinstance(own, dict) and "required" not in stated else []
    if flagged:
        found["required"] = flagged
    return with_order({**found, "type": "object"})


def _of_properties(stated: dict[str, Any]) -> dict[str, Any]:
    found = schema({"type": "object", "properties": stated})
    required = _flagged(stated)
    return with_order({"properties": {}, **found, **({"required": required} if required else {})})


def _flagged(properties: Mapping[str, Any]) -> list[str]:
    """Names of the parameters that say of themselves that they are required."""
    return [
        plain_text(name)
        for name, value in properties.items()
        if isinstance(value, dict) and value.get("required") is True
    ]


def schema(stated: object) -> dict[str, Any]:
    """A JSON Schema freed of references and of what is beyond all measure, with JSON Schema's own words for types;
    {} for what is none."""
    if not isinstance(stated, dict):
        return {}
    stated = _with_json_types(stated)
    return cast("dict[str, Any]", _printable(SchemaExpander(References(stated)).expand(stated)))


def _with_json_types(stated: dict[str, Any]) -> dict[str, Any]:
    """A copy with JSON Schema's words for types, and with hidden tags, as following the references wants it."""
    root: dict[str, Any] = {}
    todo: list[tuple[dict[str, Any], dict[str, Any]]] = [(stated, root)]
    while todo:
        raw, copy = todo.pop()
        for keyword, value in raw.items():
            if keyword in _MAPS_OF_SCHEMAS and isinstance(value, dict):
                copy[keyword] = {name: _copied(inner, todo) for name, inner in value.items()}
            elif keyword in _LISTS_OF_SCHEMAS and isinstance(value, list):
                copy[keyword] = [_copied(inner, todo) for inner in value]
            elif keyword in _SCHEMAS:
                copy[keyword] = _copied(value, todo)
            elif keyword == "description" and isinstance(value, str):
                copy[keyword] = value.replace("<", _HIDDEN)
            elif keyword != "type":
                copy[keyword] = value
            elif (kind := _json_type(value)) is not None:
                copy[keyword] = kind
    return root


def _copied(value: Any, todo: list[tuple[dict[str, Any], dict[str, Any]]]) -> Any:
    if not isinstance(value, dict):
        return value
    place: dict[str, Any] = {}
    todo.append((value, place))
    return place


def _json_type(stated: Any) -> str | list[str] | None:
    """JSON Schema's word for a type, by the first word of what is written ("array of objects"); None for none."""
    if isinstance(stated, list):
        kinds = [kind for kind in map(_json_type, stated) if isinstance(kind, str)]
        return kinds if kinds and len(kinds) == len(stated) else None
    word = _WORD.match(stated.lower()) if isinstance(stated, str) else None
    if word is None:
        return None
    return word[1] if word[1] in _KNOWN_TYPES else _JSON_TYPES.get(word[1])


def _printable(value: Any) -> Any:
    """A copy without control characters in its texts. Expanded schemas are shallow."""
    if isinstance(value, str):
        return plain_text(value).replace(_HIDDEN, "<")
    if isinstance(value, list):
        return [_printable(member) for member in value]
    if isinstance(value, dict):
        return {keyword: _printable(member) for keyword, member in value.items()}
    return value
