"""A GraphQL schema as plain data, from SDL or from the answer to an introspection query, and its JSON Schemas.

The schema is not validated: a file of a schema that is written in several files is read like a whole one, and a type
that stands elsewhere is known by its name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal, TypeGuard

from graphql import (
    DEFAULT_DEPRECATION_REASON,
    GraphQLError,
    Source,
    parse,
    parse_value,
    print_ast,
    value_from_ast_untyped,
)
from graphql.language import ast

from forge.apis.descriptions import description_text
from forge.schema import is_deeper_than
from forge.text.markup import cut, first_sentence

Root = Literal["query", "mutation", "subscription"]
ROOTS: tuple[Root, ...] = ("query", "mutation", "subscription")

_MAX_TOKENS = 300_000
"""The schema of GitHub has 61,142 tokens, parsed in 0.7 s."""
_MAX_VALUE_CHARACTERS = 2000
_MAX_WRAPPERS = 12
_MAX_LEVELS = 5
_MAX_NODES = 200
_MAX_RESULT_NODES = 80
_MAX_WIDTH = 500
_MAX_ENUM = 100
_MAX_NESTING = 20
_NAME = re.compile(r"[_A-Za-z]\w{0,199}")
_SCALARS = {"Int": "integer", "Float": "number", "String": "string", "ID": "string", "Boolean": "boolean"}


class GraphqlError(ValueError):
    """The text is no GraphQL, or too much of it. The message names line and column where there is a place."""


@dataclass(frozen=True, slots=True)
class Value:
    """A default: as the source writes it, and as JSON."""

    text: str
    json: Any


@dataclass(frozen=True, slots=True)
class Input:
    """An argument, or a field of an input object. ``type`` is as GraphQL writes it: "[ID!]!"."""

    name: str
    type: str
    description: str = ""
    default: Value | None = None
    deprecated: str | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an object or interface. ``deprecated`` is the reason, None when it is not."""

    name: str
    type: str
    description: str = ""
    arguments: tuple[Input, ...] = ()
    deprecated: str | None = None


@dataclass(slots=True)
class TypeDefinition:
    """One named type; what its extensions add is in it. ``members`` are a union's."""

    name: str
    description: str = ""
    fields: dict[str, Field] = field(default_factory=dict)
    inputs: dict[str, Input] = field(default_factory=dict)
    values: list[str] = field(default_factory=list)
    members: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Schema:
    types: dict[str, TypeDefinition] = field(default_factory=dict)
    roots: dict[str, str] = field(default_factory=lambda: {root: root.capitalize() for root in ROOTS})

    def type(self, name: str) -> TypeDefinition:
        return self.types.setdefault(name, TypeDefinition(name))

    def operations(self) -> Iterator[tuple[Root, Field]]:
        for root in ROOTS:
            definition = self.types.get(self.roots.get(root, ""))
            if definition is not None:
                for operation in definition.fields.values():
                    yield root, operation


# --- SDL ----------------------------------------------------------------------------------------------------------


def schema_of_sdl(text: str) -> Schema:
    """Raises :class:`GraphqlError`."""
    try:
        document = parse(Source(text), no_location=True, max_tokens=_MAX_TOKENS)
        schema = Schema()
        for definition in document.definitions:
            _define(schema, definition)
    except GraphQLError as error:
        place = error.locations[0] if error.locations else None
        where = f" at line {place.line} column {place.column}" if place else ""
        raise GraphqlError(f"{cut(error.message, 300)}{where}") from None
    except RecursionError:
        raise GraphqlError("nested too deep") from None
    return schema


def _define(schema: Schema, node: ast.DefinitionNode) -> None:
    if isinstance(node, ast.SchemaDefinitionNode | ast.SchemaExtensionNode):
        if isinstance(node, ast.SchemaDefinitionNode):  # it names all that there are
            schema.roots.clear()
        for operation in node.operation_types or ():
            schema.roots[operation.operation.value] = operation.type.name.value
    elif isinstance(node, ast.TypeDefinitionNode | ast.TypeExtensionNode):
        found = schema.type(node.name.value)
        found.description = found.description or _text(getattr(node, "description", None))
        if isinstance(node, ast.InputObjectTypeDefinitionNode | ast.InputObjectTypeExtensionNode):
            for entry in node.fields or ():
                found.inputs.setdefault(entry.name.value, _input_of_node(entry))
        elif isinstance(node, ast.EnumTypeDefinitionNode | ast.EnumTypeExtensionNode):
            found.values += [value.name.value for value in node.values or ()]
        elif isinstance(node, ast.UnionTypeDefinitionNode | ast.UnionTypeExtensionNode):
            found.members += [member.name.value for member in node.types or ()]
        elif not isinstance(node, ast.ScalarTypeDefinitionNode | ast.ScalarTypeExtensionNode):
            for stated in getattr(node, "fields", None) or ():
                found.fields.setdefault(stated.name.value, _field_of_node(stated))


def _field_of_node(node: ast.FieldDefinitionNode) -> Field:
    return Field(
        name=node.name.value,
        type=_type_of_node(node.type),
        description=_text(node.description),
        arguments=tuple(_input_of_node(argument) for argument in node.arguments or ()),
        deprecated=_deprecation(node.directives or ()),
    )


def _input_of_node(node: ast.InputValueDefinitionNode) -> Input:
    return Input(
        name=node.name.value,
        type=_type_of_node(node.type),
        description=_text(node.description),
        default=None if node.default_value is None else _value(node.default_value),
        deprecated=_deprecation(node.directives or ()),
    )


def _type_of_node(node: ast.TypeNode) -> str:
    begin = end = ""
    while isinstance(node, ast.ListTypeNode | ast.NonNullTypeNode):
        if isinstance(node, ast.ListTypeNode):
            begin, end = f"{begin}[", f"]{end}"
        else:
            end = f"!{end}"
        node = node.type
    return f"{begin}{node.name.value}{end}" if isinstance(node, ast.NamedTypeNode) else ""


def _deprecation(directives: Iterable[ast.DirectiveNode]) -> str | None:
    for directive in directives:
        if directive.name.value == "deprecated":
            reasons = [argument.value for argument in directive.arguments or () if argument.name.value == "reason"]
            return _reason(getattr(reasons[0], "value", "")) if reasons else ""
    return None


def _value(node: ast.ValueNode) -> Value | None:
    try:
        text, value = print_ast(node), value_from_ast_untyped(node)
    except ValueError:  # a number of thousands of digits
        return None
    if len(text) > _MAX_VALUE_CHARACTERS or is_deeper_than([value], _MAX_NESTING) or _holds_huge_number(value):
        return None
    return Value(text, value)


def _holds_huge_number(value: Any) -> bool:
    """What JSON cannot write."""
    todo = [value]
    while todo:
        place = todo.pop()
        if isinstance(place, dict):
            todo += place.values()
        elif isinstance(place, list):
            todo += place
        elif isinstance(place, int | float) and abs(place) >= 2**63:
            return True
    return False


def _text(node: ast.StringValueNode | None) -> str:
    return description_text(node.value) if node is not None else ""


# --- introspection ------------------------------------------------------------------------------------------------


def schema_of_introspection(document: Mapping[str, Any]) -> Schema:
    """Of ``{"data": {"__schema": ...}}`` or what is in it. Raises :class:`GraphqlError`."""
    data = document.get("data")
    stated = (data if isinstance(data, dict) else document).get("__schema")
    if not isinstance(stated, dict) or not isinstance(stated.get("types"), list):
        raise GraphqlError("no introspection result: __schema.types is not there")
    schema = Schema()
    for root in ROOTS:
        named = stated.get(f"{root}Type")
        if isinstance(named, dict) and isinstance(named.get("name"), str):
            schema.roots[root] = named["name"]
        else:
            schema.roots.pop(root)
    for entry in _objects(stated["types"]):
        name = entry.get("name")
        if not _is_name(name) or name.startswith("__"):
            continue
        found = schema.type(name)
        found.description = description_text(entry.get("description"))
        for inner in _objects(entry.get("fields")):
            if _is_name(inner.get("name")):
                found.fields.setdefault(inner["name"], _field_of_entry(inner))
        found.inputs.update((one.name, one) for one in _inputs_of_entries(entry.get("inputFields")))
        found.values += [value["name"] for value in _objects(entry.get("enumValues")) if _is_name(value.get("name"))]
        if entry.get("kind") == "UNION":
            found.members += [
                member["name"] for member in _objects(entry.get("possibleTypes")) if _is_name(member.get("name"))
            ]
    return schema


def _objects(stated: Any) -> Iterator[dict[str, Any]]:
    for entry in stated if isinstance(stated, list) else ():
        if isinstance(entry, dict):
            yield entry


def _is_name(stated: Any) -> TypeGuard[str]:
    return isinstance(stated, str) and _NAME.fullmatch(stated) is not None


def _field_of_entry(entry: Mapping[str, Any]) -> Field:
    return Field(
        name=entry["name"],
        type=_type_of_entry(entry.get("type")),
        description=description_text(entry.get("description")),
        arguments=tuple(_inputs_of_entries(entry.get("args"))),
        deprecated=_deprecation_of_entry(entry),
    )


def _inputs_of_entries(stated: Any) -> Iterator[Input]:
    for entry in _objects(stated):
        if _is_name(entry.get("name")):
            yield Input(
                name=entry["name"],
                type=_type_of_entry(entry.get("type")),
                description=description_text(entry.get("description")),
                default=_literal(entry.get("defaultValue")),
                deprecated=_deprecation_of_entry(entry),
            )


def _deprecation_of_entry(entry: Mapping[str, Any]) -> str | None:
    return _reason(entry.get("deprecationReason")) if entry.get("isDeprecated") is True else None


def _reason(stated: Any) -> str:
    text = description_text(stated)
    return "" if text == DEFAULT_DEPRECATION_REASON else text


def _literal(stated: Any) -> Value | None:
    if not isinstance(stated, str) or len(stated) > _MAX_VALUE_CHARACTERS:
        return None
    try:
        return _value(parse_value(stated, no_location=True))
    except (GraphQLError, RecursionError):
        return None


def _type_of_entry(stated: Any) -> str:
    begin = end = ""
    for _ in range(_MAX_WRAPPERS):
        if not isinstance(stated, dict):
            break
        if stated.get("kind") == "LIST":
            begin, end = f"{begin}[", f"]{end}"
        elif stated.get("kind") == "NON_NULL":
            end = f"!{end}"
        elif _is_name(stated.get("name")):
            return f"{begin}{stated['name']}{end}"
        stated = stated.get("ofType")
    return ""


# --- JSON Schema --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class SchemaWriter:
    """JSON Schemas of arguments and results, breadth first within 5 levels and about 200 types (of a result 80; the
    fields of the first level are always there); a type inside itself or below is cut to its name. ``nodes`` counts
    what was written."""

    schema: Schema
    nodes: int = 0

    def arguments(self, arguments: Iterable[Input]) -> dict[str, Any]:
        stated = TypeDefinition("", inputs={argument.name: argument for argument in arguments})
        return self._expanded(lambda target, queue: _write_inputs(stated, target, queue, ()), _MAX_NODES)

    def result(self, type_: str) -> dict[str, Any]:
        found = self._expanded(lambda target, queue: queue.append((type_, target, ())), _MAX_RESULT_NODES)
        return found if found.keys() - {"x-type"} else {}

    def _expanded(self, begin: Callable[[dict[str, Any], list[_Pending]], None], limit: int) -> dict[str, Any]:
        root: dict[str, Any] = {}
        queue: list[_Pending] = []
        begin(root, queue)
        for type_, place, inside in queue:  # grows while it is walked
            target, name = _unwrapped(type_, place)
            if kind := _SCALARS.get(name):
                target["type"] = kind
                continue
            definition = self.schema.types.get(name, TypeDefinition(name))
            if not target.get("description") and definition.description:
                target["description"] = first_sentence(definition.description)
            if definition.values:
                target.update({"type": "string", "enum": definition.values[:_MAX_ENUM]})
            elif definition.members:
                target["anyOf"] = [{"type": "object", "title": member} for member in definition.members[:_MAX_ENUM]]
            elif definition.inputs or definition.fields:
                target.update({"type": "object", "title": name})
                if name in inside or len(inside) >= _MAX_LEVELS or (inside and len(queue) >= limit):
                    continue
                write = _write_inputs if definition.inputs else _write_fields
                write(definition, target, queue, (*inside, name))
            else:
                target["x-type"] = name
        self.nodes += len(queue)
        return root


_Pending = tuple[str, dict[str, Any], tuple[str, ...]]


def _unwrapped(type_: str, place: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The place of the innermost type, below the arrays around it, and its name."""
    depth = min(type_.count("["), _MAX_WRAPPERS)
    for _ in range(depth):
        place["type"] = "array"
        place["items"] = {}
        place = place["items"]
    return place, type_.strip("[]!")


def _write_inputs(
    definition: TypeDefinition, target: dict[str, Any], queue: list[_Pending], inside: tuple[str, ...]
) -> None:
    properties: dict[str, Any] = {}
    required: list[str] = []
    for stated in islice(definition.inputs.values(), _MAX_WIDTH):
        place = properties[stated.name] = _said(stated, inside)
        if not inside:
            place["x-type"] = stated.type
        if stated.default is not None:
            place["default"] = stated.default.json
        if stated.type.endswith("!") and stated.default is None:
            required.append(stated.name)
        queue.append((stated.type, place, inside))
    target.update({"type": "object", "properties": properties})
    if required:
        target["required"] = required


def _write_fields(
    definition: TypeDefinition, target: dict[str, Any], queue: list[_Pending], inside: tuple[str, ...]
) -> None:
    properties: dict[str, Any] = {}
    for stated in islice(definition.fields.values(), _MAX_WIDTH):
        place = properties[stated.name] = _said(stated, inside)
        queue.append((stated.type, place, inside))
    target["properties"] = properties


def _said(stated: Input | Field, inside: tuple[str, ...]) -> dict[str, Any]:
    told = [stated.description if not inside else first_sentence(stated.description)]
    if stated.deprecated:
        told.append(f"Deprecated: {stated.deprecated if not inside else first_sentence(stated.deprecated)}")
    said = " ".join(text for text in told if text)
    place: dict[str, Any] = {"description": said} if said else {}
    if stated.deprecated is not None:
        place["deprecated"] = True
    return place
