"""Which operations an episode is about, and how they look as tools.

A set is one to five operations of one service that work on the same kind of object as far as there are such: creating,
getting, listing, updating and deleting one. Which sets, depends on the seed and the operations only.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forge.apis.calls import api_of
from forge.apis.forms import schema_for_calls
from forge.apis.invocations import function_name
from forge.apis.reference import told_parameters
from forge.schema import ApiEntity, canonical_json, content_hash
from forge.text.markup import cut, first_sentence
from forge.trajectories.generator.operations import by_name

MAX_TOOL_CHARACTERS = 12_000
_MAX_NAME_CHARACTERS = 64
_CALLABLE = frozenset({"operation", "tool"})
_TYPES = frozenset({"string", "integer", "number", "boolean", "object", "array", "null"})
_NO_NAME = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class TaskSet:
    """The operations of one episode. ``number`` counts from 0 and is, with the seed, the set's name."""

    number: int
    entities: tuple[ApiEntity, ...]

    @property
    def api(self) -> str:
        """Whose operations they are: "aws dynamodb", "petstore.example"."""
        return api_of(self.entities[0])


def choose(
    entities: Iterable[ApiEntity], count: int, max_operations: int, seed: int
) -> Iterator[tuple[ApiEntity, ...]]:
    """At most ``count`` sets, no two alike. Services take turns, in an order that the seed decides, so that a small
    service counts as much as a large one. Only names are looked at: parameters may be empty."""
    services: dict[tuple[str, str], dict[str, ApiEntity]] = defaultdict(dict)
    for entity in entities:
        if entity.entity_type in _CALLABLE:
            services[entity.provider, entity.service].setdefault(entity.entity_key, entity)
    turns = [
        _sets_of_service(list(services[service].values()), max_operations, seed)
        for service in sorted(services, key=lambda service: content_hash(str(seed), *service))
    ]
    found = 0
    while turns:
        left = []
        for turn in turns:
            chosen = next(turn, None)
            if chosen is None:
                continue
            if found == count:
                return
            found += 1
            left.append(turn)
            yield chosen
        turns = left


def _sets_of_service(entities: Sequence[ApiEntity], max_operations: int, seed: int) -> Iterator[tuple[ApiEntity, ...]]:
    """Every operation begins one set, in an order that the seed decides; a set that came before is left out."""

    def rank(*words: str) -> str:
        return content_hash(str(seed), *words)

    about = {entity.entity_key: by_name(entity) for entity in entities}
    by_resource: dict[str, list[ApiEntity]] = defaultdict(list)
    for entity in sorted(entities, key=lambda entity: rank(entity.entity_key)):
        by_resource[about[entity.entity_key].resource].append(entity)
    seen: set[frozenset[str]] = set()
    for first in sorted(entities, key=lambda entity: rank(entity.entity_key)):
        size = 1 + int(rank("size", first.entity_key)[:8], 16) % max_operations
        related = by_resource[about[first.entity_key].resource]
        chosen: dict[str, ApiEntity] = {first.entity_key: first}
        actions = {about[first.entity_key].action}
        for entity in related:  # of each action one, before a second one of any
            if len(chosen) < size and about[entity.entity_key].action not in actions:
                actions.add(about[entity.entity_key].action)
                chosen[entity.entity_key] = entity
        for entity in related:
            if len(chosen) < size:
                chosen.setdefault(entity.entity_key, entity)
        keys = frozenset(chosen)
        if keys not in seen:
            seen.add(keys)
            yield tuple(chosen[key] for key in sorted(chosen))


def tools_of(entities: Sequence[ApiEntity]) -> dict[str, tuple[ApiEntity, dict[str, Any]]]:
    """Name -> operation and function description (name, description, parameters). An operation whose interface is too
    long even without its nested parts is left out."""
    found: dict[str, tuple[ApiEntity, dict[str, Any]]] = {}
    for entity in entities:
        name = _tool_name(entity)
        if name in found:
            name = f"{name[: _MAX_NAME_CHARACTERS - 9]}_{content_hash(entity.entity_key)[:8]}"
        tool = _tool(entity, name)
        if tool is not None:
            found[name] = entity, tool
    return found


def _tool_name(entity: ApiEntity) -> str:
    """Endpoints take letters, digits, "_" and "-", 64 characters at most."""
    name = _NO_NAME.sub("_", function_name(entity)).strip("_") or "call"
    if len(name) <= _MAX_NAME_CHARACTERS:
        return name
    return f"{name[: _MAX_NAME_CHARACTERS - 9]}_{content_hash(name)[:8]}"


def _tool(entity: ApiEntity, name: str) -> dict[str, Any] | None:
    description = first_sentence(entity.summary or entity.description, 400)
    for depth in (3, 2, 1):
        parameters = {"type": "object", **plain_schema(schema_for_calls(told_parameters(entity.parameters), depth))}
        parameters.setdefault("properties", {})
        tool = {"name": name, "description": description, "parameters": parameters}
        if len(canonical_json(tool)) <= MAX_TOOL_CHARACTERS:
            return tool
    return None


def plain_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema of the keywords that endpoints and validators agree on, each well formed: nothing refers elsewhere, no
    regular expression is run, ``nullable`` is a type. A pattern becomes part of the description."""
    kinds = schema.get("type")
    told = [
        kind for kind in (kinds if isinstance(kinds, list) else [kinds]) if isinstance(kind, str) and kind in _TYPES
    ]
    if told and schema.get("nullable") is True and "null" not in told:
        told.append("null")
    result: dict[str, Any] = {"type": told[0] if len(told) == 1 else told} if told else {}
    description = schema.get("description")
    pattern = schema.get("pattern")
    words = [description if isinstance(description, str) else ""]
    words += [f"(pattern: {cut(pattern, 200)})"] if isinstance(pattern, str) and pattern else []
    if text := " ".join(word for word in words if word):
        result["description"] = text
    listed = schema.get("enum")
    if isinstance(listed, list) and listed:
        result["enum"] = [*listed, None] if "null" in told and None not in listed else listed
    for keyword in ("default", "const"):
        if schema.get(keyword) is not None:
            result[keyword] = schema[keyword]
    if isinstance(schema.get("format"), str):
        result["format"] = schema["format"]
    for keyword in ("minimum", "maximum"):
        if _is_number(schema.get(keyword)):
            result[keyword] = schema[keyword]
    for keyword in ("minLength", "maxLength", "minItems", "maxItems"):
        if isinstance(schema.get(keyword), int) and _is_number(schema[keyword]) and schema[keyword] >= 0:
            result[keyword] = schema[keyword]
    properties = schema.get("properties")
    if isinstance(properties, Mapping):
        result["properties"] = {
            name: plain_schema(node) for name, node in properties.items() if isinstance(node, Mapping)
        }
        stated = schema.get("required")
        required = [name for name in (stated if isinstance(stated, list) else []) if name in result["properties"]]
        if required:
            result["required"] = required
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), Mapping):
            result[keyword] = plain_schema(schema[keyword])
    for keyword in ("anyOf", "oneOf", "allOf"):
        parts = schema.get(keyword)
        if isinstance(parts, list) and parts and all(isinstance(part, Mapping) for part in parts):
            result[keyword] = [plain_schema(part) for part in parts]
    return result


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300
