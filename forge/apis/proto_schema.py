"""What a protobuf schema says of its services: messages, enums and methods, from `.proto` text or descriptors alike.

Type names are as the source writes them: full (".pets.Pet" in descriptors) or relative to where they stand.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from forge.apis.property_order import with_order
from forge.text.markup import cut

_MAX_DEPTH = 4
_MAX_NODES = 300
_MAX_ENUM = 100
_MAX_DESCRIPTION = 4000

SCALARS: Mapping[str, Mapping[str, str]] = {
    **{name: {"type": "integer", "format": name} for name in (
        "int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64", "sfixed32", "sfixed64")},
    "double": {"type": "number", "format": "double"},
    "float": {"type": "number", "format": "float"},
    "bool": {"type": "boolean"},
    "string": {"type": "string"},
    "bytes": {"type": "string", "format": "byte"},
}  # fmt: skip
_WELL_KNOWN: Mapping[str, Mapping[str, Any]] = {
    "Timestamp": {"type": "string", "format": "date-time"},
    "Duration": {"type": "string", "format": "duration"},
    "FieldMask": {"type": "string", "format": "field-mask"},
    "Struct": {"type": "object"},
    "Any": {"type": "object"},
    "Empty": {"type": "object"},
    "Value": {},
    "ListValue": {"type": "array"},
    "NullValue": {"type": "null"},
    "StringValue": {"type": "string"},
    "BytesValue": {"type": "string", "format": "byte"},
    "BoolValue": {"type": "boolean"},
    "DoubleValue": {"type": "number"},
    "FloatValue": {"type": "number"},
    **{f"{name}Value": {"type": "integer"} for name in ("Int32", "Int64", "UInt32", "UInt64")},
}
"""Messages of ``google.protobuf``, as proto3's JSON mapping writes them."""


@dataclass(frozen=True, slots=True)
class ProtoField:
    """``type`` is a scalar or type name; of a map that of its values."""

    name: str
    type: str
    label: str = ""  # "repeated", "required", "optional", "map" or ""
    oneof: str = ""
    comment: str = ""
    deprecated: bool = False


@dataclass(frozen=True, slots=True)
class ProtoMethod:
    """``http`` is "GET /v1/pets/{id}" where an annotation states it."""

    name: str
    request: str
    response: str
    request_is_stream: bool = False
    response_is_stream: bool = False
    comment: str = ""
    http: str = ""
    deprecated: bool = False


@dataclass(frozen=True, slots=True)
class ProtoService:
    full_name: str
    methods: tuple[ProtoMethod, ...]
    comment: str = ""


@dataclass
class ProtoSchema:
    """The messages, enums (their value names) and services of some files, by full name without a leading dot."""

    messages: dict[str, tuple[ProtoField, ...]] = field(default_factory=dict)
    enums: dict[str, tuple[str, ...]] = field(default_factory=dict)
    services: list[tuple[str, ProtoService]] = field(default_factory=list)  # with the package
    comments: dict[str, str] = field(default_factory=dict)
    written_fields: int = 0
    """Fields in all schemas that were made: a small file can state huge ones, when every method takes one message."""

    def full_name(self, name: str, scope: str) -> str:
        """The full name of a type that is named inside ``scope``: the innermost one that exists; itself if none."""
        if name.startswith("."):
            return name[1:]
        parts = scope.split(".") if scope else []
        for count in range(len(parts), -1, -1):
            candidate = ".".join([*parts[:count], name])
            if candidate in self.messages or candidate in self.enums:
                return candidate
        return name

    def json_schema(self, name: str, scope: str) -> dict[str, Any]:
        """A message as a self-contained JSON Schema, breadth first within 4 levels and 300 fields; a message inside
        itself, or one that these files do not define, keeps its name as "title"."""
        root: dict[str, Any] = {}
        queue: deque[tuple[str, str, dict[str, Any], tuple[str, ...]]] = deque([(name, scope, root, ())])
        nodes = 0
        while queue:
            found, where, target, inside = queue.popleft()
            full = self.full_name(found, where)
            known = self._leaf(found, full)
            if known is not None:
                target.update({key: value for key, value in known.items() if key not in target})
                continue
            target["type"] = "object"
            fields = self.messages.get(full)
            if fields is None or full in inside or len(inside) >= _MAX_DEPTH or (nodes > _MAX_NODES and inside):
                target["title"] = full
                continue
            nodes += len(fields)
            self.written_fields += len(fields)
            required = [one.name for one in fields if one.label == "required"]
            target["properties"] = {}
            for one in fields:
                node = target["properties"][one.name] = _described(one)
                value = node
                if one.label == "repeated":
                    node["type"] = "array"
                    value = node["items"] = {}
                elif one.label == "map":
                    node["type"] = "object"
                    value = node["additionalProperties"] = {}
                queue.append((one.type, full, value, (*inside, full)))
            if required:
                target["required"] = required
            with_order(target)
        return root

    def _leaf(self, name: str, full: str) -> Mapping[str, Any] | None:
        if name in SCALARS:
            return SCALARS[name]
        if full in self.enums:
            return {"type": "string", "enum": list(self.enums[full][:_MAX_ENUM])}
        package, _, last = full.rpartition(".")
        return _WELL_KNOWN.get(last) if package == "google.protobuf" else None


def _described(one: ProtoField) -> dict[str, Any]:
    node: dict[str, Any] = {}
    text = cut(one.comment, _MAX_DESCRIPTION)
    if one.oneof:
        text = f"{text}\n\nOne of the group {one.oneof}.".lstrip()
    if text:
        node["description"] = text
    if one.deprecated:
        node["deprecated"] = True
    return node
