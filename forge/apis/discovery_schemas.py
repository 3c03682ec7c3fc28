"""The dialect of JSON Schema that Google's discovery documents speak, as plain JSON Schema.

References name a schema instead of pointing at it, each value of an enumeration has a description of its own, defaults
and bounds are texts whatever the type, and what a field is for stands at the beginning of its description.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from forge.apis.descriptions import description_text, plain_text
from forge.text.markup import cut

_MAX_DESCRIPTION = 4000
_MAX_ENUM = 100
_FORMATS = {"google-datetime": "date-time"}
_BEHAVIOUR = re.compile(
    r"(?:(?:required|optional|output only|input only|immutable|identifier|deprecated|unordered list)\.\s+)+(?=\S)",
    re.IGNORECASE,
)
"""How Google's descriptions begin: "Required. Immutable. The name of the topic." """
_OUTPUT_ONLY = re.compile(r"\[?(?:\w+, )?output only\b", re.IGNORECASE)


def parameter_schema(stated: Mapping[str, Any]) -> dict[str, Any]:
    """One path or query parameter as JSON Schema."""
    node: dict[str, Any] = {}
    for keyword in ("type", "format", "pattern"):
        value = stated.get(keyword)
        if isinstance(value, str) and len(value) <= 500:
            node[keyword] = plain_text(value)
    if node.get("type") == "any":
        del node["type"]
    if node.get("format") in _FORMATS:
        node["format"] = _FORMATS[node["format"]]
    values = _enum(stated)
    if values:
        node["enum"] = values
    for keyword in ("default", "minimum", "maximum"):
        value = _typed(stated.get(keyword), node.get("type"))
        if value is not None:
            node[keyword] = value
    if stated.get("repeated") is True:
        default = {"default": [node.pop("default")]} if "default" in node else {}
        node = {"type": "array", "items": node, **default}
    if description := cut(_described(stated), _MAX_DESCRIPTION):
        node["description"] = description
    if stated.get("deprecated") is True:
        node["deprecated"] = True
    if stated.get("location") == "query":
        node["x-in"] = "query"
    return node


def _enum(stated: Mapping[str, Any]) -> list[str]:
    values = stated.get("enum")
    return (
        [plain_text(value) for value in values[:_MAX_ENUM] if isinstance(value, str) and len(value) <= 500]
        if isinstance(values, list)
        else []
    )


def _typed(stated: object, kind: object) -> Any:
    """Discovery writes every default and bound as a text; None for what is not of its type."""
    if not isinstance(stated, str) or len(stated) > 500:
        return None
    try:
        if kind == "integer":
            value = int(stated)
            return value if abs(value) < 2**63 else None
        if kind == "number":
            number = float(stated)
            return number if math.isfinite(number) else None
    except ValueError:
        return None
    if kind == "boolean":
        return {"true": True, "false": False}.get(stated.lower())
    return plain_text(stated) if kind == "string" else None


def _described(stated: Mapping[str, Any]) -> str:
    """The description with what each value of an enumeration means, a line a value. How it begins becomes part of
    its first sentence, which is all that is kept of nested fields."""
    description = description_text(stated.get("description"))
    if begins := _BEHAVIOUR.match(description):
        words = ", ".join(begins[0].rstrip(". \n").split(". "))
        description = f"{words.capitalize()}: {description[begins.end() :]}"
    values, meanings, old = stated.get("enum"), stated.get("enumDescriptions"), stated.get("enumDeprecated")
    if not isinstance(values, list) or not isinstance(meanings, list):
        return description
    deprecated = old if isinstance(old, list) else []
    lines = []
    for number, (value, meaning) in enumerate(zip(values[:_MAX_ENUM], meanings, strict=False)):
        text = " ".join(description_text(meaning).split())
        if not isinstance(value, str) or not text:
            continue
        is_old = number < len(deprecated) and deprecated[number] is True
        lines.append(f"- `{plain_text(value)}`: {text}{' (deprecated)' if is_old else ''}")
    return "\n\n".join(part for part in (description, "\n".join(lines)) if part)


def to_json_schema(schemas: dict[str, Any]) -> None:
    """Rewrites all schemas in place, so that :class:`forge.apis.references.SchemaExpander` can read them."""
    stack = [schema for schema in schemas.values() if isinstance(schema, dict)]
    for schema in stack:  # grows while it is walked
        reference = schema.get("$ref")
        if isinstance(reference, str):
            schema["$ref"] = pointer(reference)
        if schema.get("type") == "any":
            del schema["type"]
        if isinstance(schema.get("format"), str):
            schema["format"] = _FORMATS.get(schema["format"], schema["format"])
        if "description" in schema or "enum" in schema:
            schema["description"] = text = _described(schema)
            if _OUTPUT_ONLY.match(text):
                schema["readOnly"] = True  # 1,447 of the properties of 2026 say so in words alone
        for keyword in ("default", "minimum", "maximum"):
            if keyword in schema:
                value = _typed(schema.pop(keyword), schema.get("type"))
                if value is not None:
                    schema[keyword] = value
        properties = schema.get("properties")
        inner = list(properties.values()) if isinstance(properties, dict) else []
        inner += [schema.get("items"), schema.get("additionalProperties")]
        stack += [child for child in inner if isinstance(child, dict)]


def to_be_sent(schema: dict[str, Any]) -> dict[str, Any]:
    """An expanded schema without the fields that only the server sets."""
    sent = dict(schema)
    if "properties" in schema:
        kept = {name: node for name, node in schema["properties"].items() if node.get("readOnly") is not True}
        sent["properties"] = {name: to_be_sent(node) for name, node in kept.items()}
    for keyword in ("items", "additionalProperties"):
        if keyword in schema:
            sent[keyword] = to_be_sent(schema[keyword])
    return sent


def pointer(name: str) -> str:
    return "#/schemas/" + quote(name.replace("~", "~0").replace("/", "~1"), safe="~")


def requiring_methods(node: object) -> list[Any]:
    """The ids of the methods that require a property: ``"annotations": {"required": ["drive.files.insert"]}``."""
    annotations = node.get("annotations") if isinstance(node, dict) else None
    required = annotations.get("required") if isinstance(annotations, dict) else None
    return required if isinstance(required, list) else []
