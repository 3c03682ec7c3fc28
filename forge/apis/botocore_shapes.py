"""The shapes of a botocore service model as self-contained JSON Schemas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from forge.apis.descriptions import plain_text
from forge.text.markup import cut, first_sentence, text_of

_MAX_DEPTH = 4
_MAX_SCHEMA_NODES = 160
_MAX_MEMBERS = 2000
_MAX_ENUM = 100
_MAX_NESTED_DESCRIPTION = 300
_MAX_DESCRIPTION = 6000
_MAX_NAME = 500
_NODE_CHARACTERS = 60
_CONTAINERS = frozenset({"structure", "list", "map"})

_Place = tuple[str, dict[str, Any], tuple[str, ...]]
"""A shape, the schema to write it into, the shapes around it."""


class ShapeExpander:
    """Turns named shapes into JSON Schemas.

    Breadth first, so that the size bound cuts the deepest levels and never a parameter of the operation itself:
    at most 4 levels and 160 sub-schemas a shape (every member of the first level is always there, up to 2,000); a
    shape inside itself is cut. What is cut keeps its type and, as "title", its shape's name. Descriptions below the
    first level are shortened to their first sentence. ``written`` counts about how many characters all schemas have.
    """

    def __init__(self, shapes: Mapping[str, Mapping[str, Any]]) -> None:
        self._shapes = shapes
        self._texts: dict[str, str] = {}
        self._sentences: dict[str, str] = {}
        self.written = 0

    def text(self, fragment: object) -> str:
        """A piece of documentation as plain text, "" for what is none."""
        if not isinstance(fragment, str) or not fragment:
            return ""
        if fragment not in self._texts:
            self._texts[fragment] = plain_text(text_of(fragment))
        return self._texts[fragment]

    def documentation(self, shape_name: str) -> str:
        shape = self._shapes.get(shape_name)
        return self.text(shape.get("documentation")) if isinstance(shape, dict) else ""

    def expand(self, shape_name: str) -> dict[str, Any]:
        """The JSON Schema of one shape. Raises KeyError for an unknown shape; TypeError, ValueError or AttributeError
        for one that is none."""
        root: dict[str, Any] = {}
        queue: list[_Place] = [(shape_name, root, ())]
        for name, schema, inside in queue:  # grows while it is walked
            queue += self._fill(name, schema, inside, has_room=len(queue) <= _MAX_SCHEMA_NODES)
        return root

    def _fill(self, name: str, schema: dict[str, Any], inside: tuple[str, ...], has_room: bool) -> list[_Place]:
        """Writes one shape into ``schema``; gives the schemas that are still to be filled."""
        shape = self._shapes[name]
        kind = shape["type"]
        self.written += _NODE_CHARACTERS
        if kind not in _CONTAINERS:
            _fill_scalar(shape, schema)
            self.written += sum(map(len, schema.get("enum", ())))
            return []
        level = sum(1 for outer in inside if self._shapes[outer]["type"] == "structure")
        is_cut = name in inside or level >= _MAX_DEPTH or len(inside) >= 2 * _MAX_DEPTH or (inside and not has_room)
        schema["type"] = "array" if kind == "list" else "object"
        if kind == "list":
            _copy_bounds(shape, schema, ("minItems", "maxItems"))
        if is_cut:
            schema["title"] = _name(name)
            return []
        within = (*inside, name)
        if kind == "list":
            schema["items"] = {}
            return [(shape["member"]["shape"], schema["items"], within)]
        if kind == "map":
            schema["additionalProperties"] = {}
            if keys := _enum(self._shapes[shape["key"]["shape"]]):
                schema["propertyNames"] = {"enum": keys}
                self.written += sum(map(len, keys))
            return [(shape["value"]["shape"], schema["additionalProperties"], within)]
        return [] if shape.get("document") is True else self._fill_members(shape, schema, within, level)

    def _fill_members(
        self, shape: Mapping[str, Any], schema: dict[str, Any], within: tuple[str, ...], level: int
    ) -> list[_Place]:
        members = shape.get("members", {})
        if len(members) > _MAX_MEMBERS:
            raise ValueError(f"{len(members):,} members, at most {_MAX_MEMBERS:,} are read")
        properties: dict[str, Any] = {}
        places: list[_Place] = []
        for member, reference in members.items():
            node: dict[str, Any] = {}
            stated = reference.get("documentation") or self._shapes[reference["shape"]].get("documentation")
            if description := self._description(stated, level):
                node["description"] = description
                self.written += len(description)
            if reference.get("deprecated"):
                node["deprecated"] = True
            properties[_name(member)] = node
            places.append((reference["shape"], node, within))
        schema["properties"] = properties
        required = [name for name in shape.get("required") or () if isinstance(name, str) and name in members]
        if required:
            schema["required"] = [_name(name) for name in dict.fromkeys(required)]
        if shape.get("union"):
            schema["minProperties"] = schema["maxProperties"] = 1
        return places

    def _description(self, fragment: object, level: int) -> str:
        text = self.text(fragment)
        if level == 0 or not text:
            return cut(text, _MAX_DESCRIPTION)
        if text not in self._sentences:
            self._sentences[text] = first_sentence(text, _MAX_NESTED_DESCRIPTION)
        return self._sentences[text]


def _name(stated: str) -> str:
    if len(stated) > _MAX_NAME:
        raise ValueError(f"a name of {len(stated):,} characters")
    return plain_text(stated)


_SCALARS: Mapping[str, Mapping[str, str]] = {
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "long": {"type": "integer"},
    "float": {"type": "number"},
    "double": {"type": "number"},
    "boolean": {"type": "boolean"},
    "timestamp": {"type": "string", "format": "date-time"},
    "blob": {"type": "string", "format": "byte"},
}
_BOUNDS: Mapping[str, tuple[str, str]] = {
    "string": ("minLength", "maxLength"),
    "blob": ("minLength", "maxLength"),
    **dict.fromkeys(("integer", "long", "float", "double"), ("minimum", "maximum")),
}


def _fill_scalar(shape: Mapping[str, Any], schema: dict[str, Any]) -> None:
    kind = shape["type"]
    schema.update(_SCALARS.get(kind, {"type": "string"}))
    if kind == "string":
        if values := _enum(shape):
            schema["enum"] = values
            return
        pattern = shape.get("pattern")
        if isinstance(pattern, str) and 0 < len(pattern) <= 200:
            schema["pattern"] = plain_text(pattern)
    if kind in _BOUNDS:
        _copy_bounds(shape, schema, _BOUNDS[kind])


def _enum(shape: Mapping[str, Any]) -> list[str]:
    return [
        plain_text(value)
        for value in (shape.get("enum") or ())[:_MAX_ENUM]
        if isinstance(value, str) and len(value) <= _MAX_NAME
    ]


def _copy_bounds(shape: Mapping[str, Any], schema: dict[str, Any], keywords: tuple[str, str]) -> None:
    for bound, keyword in zip(("min", "max"), keywords, strict=True):
        if isinstance(shape.get(bound), int | float):
            schema[keyword] = shape[bound]
