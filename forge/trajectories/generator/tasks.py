"""Which operations an episode is about, and how they look as tools.

A set is one to five operations of one service that work on the same kind of object as far as there are such: creating,
getting, listing, updating and deleting one. Which sets, depends on the seed and the operations only.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from forge.apis.calls import api_of
from forge.apis.forms import schema_for_calls
from forge.apis.invocations import function_name
from forge.apis.reference import told_parameters
from forge.schema import ApiEntity, canonical_json, content_hash
from forge.text.markup import first_sentence
from forge.trajectories.generator.operations import by_name
from forge.trajectories.generator.schemas import plain_schema, told_schema

MAX_TOOL_CHARACTERS = 12_000
_MAX_NAME_CHARACTERS = 64
_CALLABLE = frozenset({"operation", "tool"})
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
    """Name -> operation, its schemas plain, and function description (name, description, parameters). An operation
    whose interface is too long even without its nested parts is left out."""
    found: dict[str, tuple[ApiEntity, dict[str, Any]]] = {}
    for stated in entities:
        entity = replace(stated, parameters=plain_schema(stated.parameters), returns=plain_schema(stated.returns))
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
        parameters = told_schema(plain_schema(schema_for_calls(told_parameters(entity.parameters), depth)))
        parameters = {**parameters, "type": "object", "properties": parameters.get("properties", {})}
        tool = {"name": name, "description": description, "parameters": parameters}
        if len(canonical_json(tool)) <= MAX_TOOL_CHARACTERS:
            return tool
    return None
