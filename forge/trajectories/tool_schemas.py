"""The parameters of a tool, as sources write them, as one JSON Schema (2020-12) that is safe to compile.

Sources describe parameters in several dialects. All are read as far as they are understood:

==============================================================  ===================================================
written                                                          read as
==============================================================  ===================================================
``"type": "dict" | "str, optional" | "List[int]" | "NUMBER"``    the JSON types of :data:`TYPES`, ``null`` for optional
``{name: {"type": …, "description": …}}`` without "properties"   properties
``[{"name": …, "type": …, "required": true}]``                   properties
``"required": true`` inside a property                           the name in ``required`` of the object around it
``{name: "string"}`` in properties                               ``{name: {"type": "string"}}``
``"nullable": true``, ``"default": null``                        ``null`` is allowed
``"minimum": 0, "exclusiveMinimum": true`` (draft 4)             ``"exclusiveMinimum": 0``
``"items": [a, b], "additionalItems": c`` (up to 2019-09)        ``"prefixItems": [a, b], "items": c``
==============================================================  ===================================================

A schema comes from outside, so what is compiled holds no reference at all: local ones are unfolded, one that closes a
circle, leaves the schema or leads nowhere allows everything. Keywords that are unknown, broken or of no bounded cost
are left out. So the schema may allow more than the source meant, never less: where leaving out would forbid (below
``not``, ``if``, ``oneOf``) that keyword goes too. What unfolds to more than the limits is not used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from math import isfinite
from typing import Any
from urllib.parse import unquote

import jsonschema_rs

from forge.schema import is_deeper_than

MAX_LEVELS = 40
"""Schemas inside schemas after unfolding."""
MAX_NODES = 5_000
"""Schemas after unfolding, each enumerated value and required name counted as one, each pattern as
:data:`PATTERN_NODES`: what bounds the time to compile it and the memory that it takes."""
MAX_PATTERN_CHARACTERS = 500
PATTERN_OPTIONS = jsonschema_rs.RegexOptions(size_limit=50_000, dfa_size_limit=500_000)
"""Linear time; bytes of one compiled regular expression and of its cache."""
PATTERN_NODES = 250
PATTERN_COST = 1_000
"""What matching one regular expression takes at worst, compared with a plain keyword."""

TYPES: Mapping[str, tuple[str, ...]] = {
    "string": ("str", "char", "text", "date", "time", "datetime", "date-time", "uuid", "uri", "url", "email"),
    "integer": ("int", "long", "short", "bigint", "int32", "int64"),
    "number": ("float", "double"),
    "boolean": ("bool",),
    "array": ("list", "tuple", "set", "sequence", "arraylist", "iterable"),
    "object": ("dict", "dictionary", "map", "mapping", "hashmap", "hashtable", "struct"),
    "null": ("none", "nonetype"),
}
"""JSON type -> the other names it has in tool descriptions, lower case. What is in none (``any``) is not restricted."""
_TYPE_OF: Mapping[str, str] = {name: json_type for json_type, names in TYPES.items() for name in (json_type, *names)}


class UnusableSchemaError(Exception):
    """The schema is too large to be used."""


@dataclass(slots=True)
class SafeSchema:
    """A schema without references. ``cost`` is what checking one character against it takes at worst, in keywords."""

    schema: dict[str, Any]
    cost: int


def safe_schema(parameters: object) -> SafeSchema | None:
    """The schema of a tool's arguments; None where the parameters are described in no known way. Raises
    :class:`UnusableSchemaError`."""
    described = _as_json_schema(parameters)
    if not described:
        return None
    if is_deeper_than(described, 10 * MAX_LEVELS):
        raise UnusableSchemaError("too deeply nested")
    unfolding = _Unfolding(described)
    schema, _ = unfolding.unfold(described, 0)
    if not isinstance(schema, dict) or "object" not in _type_names(schema.get("type", "object")):
        return None
    return SafeSchema(schema, unfolding.nodes + PATTERN_COST * unfolding.patterns)


def _as_json_schema(parameters: object) -> dict[str, Any] | None:
    if isinstance(parameters, list):
        named = [entry for entry in parameters if isinstance(entry, dict) and isinstance(entry.get("name"), str)]
        parameters = {entry["name"]: entry.get("schema", entry) for entry in named}
        return {"type": "object", "properties": parameters} if parameters else None
    if not isinstance(parameters, dict):
        return None
    if parameters and _are_properties(parameters):
        return {"type": "object", "properties": parameters}
    return parameters


def _are_properties(parameters: Mapping[str, Any]) -> bool:
    """Whether these are parameters by name, and no schema that has them in "properties"."""
    inner = parameters.get("properties")
    if isinstance(inner, dict) and all(isinstance(value, (dict, bool, str)) for value in inner.values()):
        is_parameter = isinstance(inner.get("type"), str) and isinstance(inner.get("description"), str)
        if not is_parameter:
            return False
    return all(
        isinstance(value, dict) and (isinstance(value.get("type"), (str, list)) or "description" in value)
        for value in parameters.values()
    )


# --- types ----------------------------------------------------------------------------------------------------------

_OPTIONAL = re.compile(r"^optional\[(.*)\]$|\boptional\b|\?$")
_GENERIC = re.compile(r"^(\w+)\s*[\[(<]\s*(.*?)\s*[\])>]$")
_NOTE = re.compile(r"\s*[,;(].*$")
_MAX_TYPE_CHARACTERS = 200


def _types_of(written: object) -> dict[str, Any] | None:
    """The keywords ``type`` and ``items`` for a type as it is written; None where it restricts nothing."""
    names = written if isinstance(written, list) else [written]
    found: dict[str, Any] = {}
    types: list[str] = []
    for name in names:
        if not isinstance(name, str) or len(name) > _MAX_TYPE_CHARACTERS:
            return None
        for alternative in name.split("|"):
            keywords = _named_type(alternative.strip().lower())
            if keywords is None:
                return None
            types += [json_type for json_type in keywords.pop("type") if json_type not in types]
            found |= keywords
    if not types:
        return None
    return {**found, "type": types[0] if len(types) == 1 else types}


def _named_type(name: str) -> dict[str, Any] | None:
    if name in _TYPE_OF:
        return {"type": [_TYPE_OF[name]]}
    optional = _OPTIONAL.search(name)
    if optional is not None:
        inner = optional.group(1) or _OPTIONAL.sub("", name).strip(" ,;()")
        keywords = _named_type(inner) if inner != name else None
        return None if keywords is None else {**keywords, "type": [*keywords["type"], "null"]}
    generic = _GENERIC.match(name)
    if generic is not None and _TYPE_OF.get(generic.group(1)) == "array":
        entry = None if generic.group(1) == "tuple" else _named_type(generic.group(2))
        return {"type": ["array"]} | ({} if entry is None or "items" in entry else {"items": entry})
    base = _NOTE.sub("", name if generic is None else generic.group(1))
    return {"type": [_TYPE_OF[base]]} if base in _TYPE_OF else None


def _type_names(written: object) -> list[str]:
    return written if isinstance(written, list) else [str(written)]


# --- unfolding ------------------------------------------------------------------------------------------------------


@lru_cache(1024)
def is_usable_pattern(pattern: str) -> bool:
    """Whether a regular expression compiles to a small automaton: linear time, no look-around, no back-references."""
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        return False
    try:
        jsonschema_rs.Draft202012Validator({"pattern": pattern}, pattern_options=PATTERN_OPTIONS)
    except ValueError:
        return False
    return True


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: object) -> bool:
    """Whether it is a number that JSON can write: no infinity."""
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and isfinite(value))


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


_PLAIN: Mapping[str, Callable[[Any], bool]] = {
    "enum": lambda value: isinstance(value, list) and bool(value),
    "const": lambda _: True,
    "minimum": _is_number,
    "maximum": _is_number,
    "exclusiveMinimum": _is_number,
    "exclusiveMaximum": _is_number,
    "multipleOf": lambda value: _is_number(value) and value > 0,
    "minLength": _is_count,
    "maxLength": _is_count,
    "minItems": _is_count,
    "maxItems": _is_count,
    "minProperties": _is_count,
    "maxProperties": _is_count,
    "uniqueItems": lambda value: isinstance(value, bool),
    "pattern": lambda value: isinstance(value, str) and is_usable_pattern(value),
    "required": _are_names,
}
"""Keywords whose value is no schema, and what it must be."""
_ONE = ("items", "additionalProperties", "propertyNames", "contains")
_MANY = ("allOf", "anyOf", "prefixItems")
_BY_NAME = ("properties", "patternProperties", "dependentSchemas")
_LEFT_OUT = (
    *("dependentRequired", "dependencies", "minContains", "maxContains"),
    *("unevaluatedItems", "unevaluatedProperties", "$dynamicRef", "$recursiveRef"),
)
"""Keywords that restrict and are not checked: seldom met, or of no bounded cost."""

Unfolded = tuple[dict[str, Any] | bool, bool]
"""A schema without references, and whether it allows exactly what the source's does."""


@dataclass(slots=True)
class _Unfolding:
    root: Mapping[str, Any]
    nodes: int = 0
    patterns: int = 0
    _open: set[int] = field(default_factory=set)

    def unfold(self, schema: object, level: int) -> Unfolded:
        if isinstance(schema, bool):
            return schema, True
        if isinstance(schema, (str, list)):
            schema = {"type": schema}
        if not isinstance(schema, dict):
            return True, schema is None
        if level > MAX_LEVELS:
            raise UnusableSchemaError("too deeply nested")
        self._count(1)
        written = _without_older_drafts(schema)
        found: dict[str, Any] = {}
        exact = not any(keyword in written for keyword in _LEFT_OUT)
        for part in (self._plain, self._types, self._schemas, self._choices, self._reference):
            exact &= part(written, found, level)
        return found, exact

    def _count(self, nodes: int) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            raise UnusableSchemaError(f"more than {MAX_NODES} schemas")

    def _count_patterns(self, patterns: int) -> None:
        self.patterns += patterns
        self._count(PATTERN_NODES * patterns)

    def _plain(self, written: Mapping[str, Any], found: dict[str, Any], _level: int) -> bool:
        exact = True
        for keyword, is_valid in _PLAIN.items():
            if keyword not in written:
                continue
            value = written[keyword]
            if not is_valid(value):
                exact &= value is None or (keyword == "required" and isinstance(value, bool))
                continue
            found[keyword] = list(dict.fromkeys(value)) if keyword == "required" else value
            if keyword == "pattern":
                self._count_patterns(1)
            elif isinstance(value, list):
                self._count(len(value))
        return exact

    def _types(self, written: Mapping[str, Any], found: dict[str, Any], _level: int) -> bool:
        if "type" not in written:
            return True
        keywords = _types_of(written["type"])
        if keywords is None:
            return bool(written["type"] == "any")
        allows_null = written.get("nullable") is True or ("default" in written and written["default"] is None)
        if allows_null and "null" not in _type_names(keywords["type"]):
            keywords["type"] = [*_type_names(keywords["type"]), "null"]
        if allows_null and "enum" in found and None not in found["enum"]:
            found["enum"] = [*found["enum"], None]
        found |= keywords
        return True

    def _schemas(self, written: Mapping[str, Any], found: dict[str, Any], level: int) -> bool:
        exact = True
        for keyword in _ONE:
            if keyword in written:
                found[keyword], inner_exact = self.unfold(written[keyword], level + 1)
                exact &= inner_exact
        for keyword in _MANY:
            if isinstance(written.get(keyword), list) and written[keyword]:
                inner = [self.unfold(schema, level + 1) for schema in written[keyword]]
                found[keyword] = [schema for schema, _ in inner]
                exact &= all(inner_exact for _, inner_exact in inner)
        for keyword in _BY_NAME:
            if isinstance(written.get(keyword), dict):
                by_name = written[keyword]
                if keyword == "patternProperties":
                    self._count_patterns(len(by_name))
                    exact &= all(is_usable_pattern(name) for name in by_name)
                    by_name = {name: schema for name, schema in by_name.items() if is_usable_pattern(name)}
                inner_of = {name: self.unfold(schema, level + 1) for name, schema in by_name.items()}
                found[keyword] = {name: schema for name, (schema, _) in inner_of.items()}
                exact &= all(inner_exact for _, inner_exact in inner_of.values())
        properties = written.get("properties")
        if isinstance(properties, dict):
            said = [name for name, schema in properties.items() if _says_required(schema)]
            if said:
                found["required"] = [*dict.fromkeys([*found.get("required", ()), *said])]
        return exact

    def _choices(self, written: Mapping[str, Any], found: dict[str, Any], level: int) -> bool:
        """``oneOf`` and, since they forbid what their schema allows, ``not`` and ``if`` where that is exact."""
        exact = True
        if isinstance(written.get("oneOf"), list) and written["oneOf"]:
            inner = [self.unfold(schema, level + 1) for schema in written["oneOf"]]
            either = [schema for schema, _ in inner]
            if all(inner_exact for _, inner_exact in inner):
                found["oneOf"] = either
            else:
                found["allOf"] = [*found.get("allOf", ()), {"anyOf": either}]
                exact = False
        if "not" in written:
            inner_schema, inner_exact = self.unfold(written["not"], level + 1)
            if inner_exact:
                found["not"] = inner_schema
            exact &= inner_exact
        if "if" in written:
            condition, inner_exact = self.unfold(written["if"], level + 1)
            exact &= inner_exact
            if inner_exact:
                found["if"] = condition
                for keyword in ("then", "else"):
                    if keyword in written:
                        found[keyword], branch_exact = self.unfold(written[keyword], level + 1)
                        exact &= branch_exact
        return exact

    def _reference(self, written: Mapping[str, Any], found: dict[str, Any], level: int) -> bool:
        reference = written.get("$ref")
        if reference is None:
            return True
        target = _target(self.root, reference) if isinstance(reference, str) else None
        if not isinstance(target, (dict, bool)) or id(target) in self._open:
            return False
        self._open.add(id(target))
        schema, exact = self.unfold(target, level + 1)
        self._open.discard(id(target))
        found["allOf"] = [*found.get("allOf", ()), schema]
        return exact


def _says_required(schema: object) -> bool:
    return isinstance(schema, dict) and schema.get("required") is True


def _without_older_drafts(schema: dict[str, Any]) -> dict[str, Any]:
    """Limits and lists of items as drafts up to 2019-09 write them, as 2020-12 does."""
    changed: dict[str, Any] = {}
    for limit, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if schema.get(exclusive) is True:
            changed |= {exclusive: schema.get(limit), limit: None}
        elif schema.get(exclusive) is False:
            changed[exclusive] = None
    if isinstance(schema.get("items"), list):
        changed |= {"prefixItems": schema["items"], "items": schema.get("additionalItems", True)}
    return {**schema, **changed} if changed else schema


def _target(root: Mapping[str, Any], reference: str) -> object:
    """What a reference inside the schema names; None where it leaves the schema or leads nowhere."""
    pointer = unquote(reference.removeprefix("#"))
    if len(reference) > 1_000 or not reference.startswith("#") or (pointer and not pointer.startswith("/")):
        return None
    here: Any = root
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(here, dict):
            here = here.get(key)
        elif isinstance(here, list) and key.isdecimal() and len(key) < 6 and int(key) < len(here):
            here = here[int(key)]
        else:
            return None
    return here
