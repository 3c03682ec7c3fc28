"""A mock of a service, in process, made of the schemas of its operations; its environment is called ``mock/<service>``.

Arguments are checked against the tool's schema (400 with every problem). Operations on objects keep state within an
episode: what is created can be got, listed, updated and deleted; an identifier that nobody knows is a 404, one that
exists a 409. Everything else is answered from the response's schema. Equal seeds and calls give equal answers.

It is no simulator of the service: rules that its schemas do not state do not hold here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from forge.apis.calls import recorded_call
from forge.apis.property_order import in_order
from forge.schema import ApiEntity, canonical_json, content_hash
from forge.trajectories.generator.arguments import ArgumentsChecker, shown
from forge.trajectories.generator.objects import Object, is_word, new_identifier
from forge.trajectories.generator.operations import Operation, fold, list_property, operation_of
from forge.trajectories.generator.responses import Values, is_continuation, is_total
from forge.trajectories.generator.schemas import type_of

INITIAL_OBJECTS = 2
"""Of every kind that the tools can get, list, update or delete: what a task can be about before anything is created."""
MAX_OBJECTS = 50
_IDENTIFIER_ATTEMPTS = 8
_LIMITS = frozenset({"limit", "maxresults", "maxitems", "maxrecords", "pagesize", "perpage", "pagelimit", "top"})
_STATUS_WORDS: Mapping[int, str] = {400: "invalid_request", 404: "not_found", 409: "already_exists"}
_ERROR_NAMES: Mapping[int, tuple[str, ...]] = {
    400: ("validationexception", "invalidparameter", "validationerror", "badrequest", "invalidrequest"),
    404: ("notfound", "nosuch", "doesnotexist"),
    409: ("alreadyexists", "inuse", "conflict"),
}


@dataclass(frozen=True, slots=True)
class Response:
    """What the environment answers: JSON text, and the message of an error, None for a success."""

    status: int
    content: str
    error: str | None = None


class _Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class _Tool:
    entity: ApiEntity
    operation: Operation
    checker: ArgumentsChecker

    @property
    def noun(self) -> str:
        return self.operation.noun.replace("_", " ") or "object"

    @property
    def identity_schema(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = in_order(self.entity.parameters)[self.operation.identity or ""]
        return found


class MockServer:
    """The service in one episode. ``tools`` as :func:`forge.trajectories.generator.tasks.tools_of` gives them."""

    def __init__(self, tools: Mapping[str, tuple[ApiEntity, Mapping[str, Any]]], seed: str) -> None:
        self._seed = seed
        self._tools = {
            name: _Tool(entity, operation_of(entity), ArgumentsChecker(tool["parameters"]))
            for name, (entity, tool) in sorted(tools.items())
        }
        self._accepted: list[str] = []
        self._objects: dict[str, list[Object]] = {}
        self._settings: dict[str, list[Object]] = {}
        self._created = 0
        resources = sorted({tool.operation.resource for tool in self._tools.values()})
        self._identities = {resource: self._identity_names(resource) for resource in resources}
        for resource in resources:
            if any(_reaches_objects(tool.operation) for tool in self._of(resource)):
                for number in range(INITIAL_OBJECTS):
                    self._begin_with(resource, number)

    def objects(self) -> list[str]:
        """One line for every object that exists: its kind, and what a caller has to know to reach it."""
        lines = []
        for resource, found in sorted(self._objects.items()):
            tools = self._of(resource)
            for each in found:
                names = [name for tool in tools for name in (*tool.operation.owners, tool.operation.identity) if name]
                known = {name: each.attributes[fold(name)] for name in names if fold(name) in each.attributes}
                known = known or {"id": each.identifier}
                spoken = {name: value for name, value in each.spoken_of().items() if value not in known.values()}
                told = {**known, **spoken}
                lines.append(f"{tools[0].noun}: {json.dumps(told, ensure_ascii=False)}")
        return lines

    def call(self, name: str, arguments: Mapping[str, Any]) -> Response:
        """The answer to one call; an error is an answer too."""
        tool = self._tools.get(name)
        if tool is None:
            return _error(404, "unknown_tool", f"there is no tool {shown(name)}; tools: {', '.join(self._tools)}")
        try:
            if problem := tool.checker.problem(arguments):
                raise _Refused(400, problem)
            result = self._answer(name, tool, arguments)
        except _Refused as refused:
            return _error(refused.status, _error_name(tool.entity, refused.status), str(refused))
        self._accepted.append(name)
        return Response(200, json.dumps(result, ensure_ascii=False))

    def has_done(self, plan: Sequence[str]) -> bool:
        """The environment's own check: calls of all planned tools succeeded, in the order of the plan."""
        calls = iter(self._accepted)
        return bool(plan) and all(any(call == planned for call in calls) for planned in plan)

    # --- objects -----------------------------------------------------------------------------------------------------

    def _of(self, resource: str) -> list[_Tool]:
        return [tool for tool in self._tools.values() if tool.operation.resource == resource]

    def _identity_names(self, resource: str) -> frozenset[str]:
        """Folded names of the properties that hold an object's identifier."""
        names: set[str] = set()
        tools = self._of(resource)
        of_noun = {"id", f"{fold(tools[0].operation.noun)}id"}
        for tool in tools:
            if tool.operation.identity is not None:
                identity = fold(tool.operation.identity)
                names |= {identity, *(of_noun if identity.endswith(("id", "identifier")) else ())}
                names |= {"name"} if identity.endswith("name") else set()
        return frozenset(names or of_noun)

    def _begin_with(self, resource: str, number: int) -> None:
        """One object of the kind that the tools' own results describe, and the owners that their paths name."""
        tools = self._of(resource)
        seed = content_hash(self._seed, "object", resource, str(number))
        about = max(tools, key=lambda tool: (len(_body(tool)), tool.operation.action == "get"))
        attributes: dict[str, Any] = {}
        for tool in tools:
            for owner in tool.operation.owners:
                schema = in_order(tool.entity.parameters)[owner]
                attributes[fold(owner)] = new_identifier(schema, owner, content_hash(self._seed, "owner"))
        values = Values(seed)
        for name, node in _body(about).items():
            if type_of(node) not in {"object", "array"} and not is_continuation(name):
                attributes.setdefault(fold(name), values.of(node, name))
        self._add(resource, self._new_identifier(about, seed), attributes)

    def _add(self, resource: str, identifier: Any, attributes: Mapping[str, Any]) -> Object:
        found = Object(str(identifier), {**attributes, **dict.fromkeys(self._identities[resource], identifier)})
        self._objects.setdefault(resource, []).append(found)
        return found

    def _new_identifier(self, tool: _Tool, seed: str) -> Any:
        """One that no object of the kind has, but for kinds with few possible ones."""
        known = {each.identifier for each in self._objects.get(tool.operation.resource, [])}
        found = None
        for attempt in range(_IDENTIFIER_ATTEMPTS):
            found = self._possible_identifier(tool, content_hash(seed, str(attempt)))
            if str(found) not in known:
                break
        return found

    def _possible_identifier(self, tool: _Tool, seed: str) -> Any:
        """A number where a result shows one, else as the tools ask for it, else as a result shows it, else a word."""
        tools = [tool, *self._of(tool.operation.resource)]
        names = self._identities[tool.operation.resource]
        shown_as = [(name, node) for each in tools for name, node in _body(each).items() if fold(name) in names]
        asked = [(each.operation.identity, each.identity_schema) for each in tools if each.operation.identity]
        numbers = [(name, node) for name, node in shown_as if type_of(node) == "integer"]
        name, node = [*numbers, *asked, *shown_as, ("id", {"type": "string"})][0]
        return new_identifier(node, name, seed)

    def _create(self, tool: _Tool, arguments: Mapping[str, Any], seed: str) -> Object:
        resource = tool.operation.resource
        names = self._identities[resource]
        stated = [value for name, value in arguments.items() if fold(name) in names and is_word(value)]
        known = self._objects.get(resource, [])
        if stated and any(each.identifier == str(stated[0]) for each in known):
            raise _Refused(409, f"{tool.noun} {shown(stated[0])} already exists")
        if len(known) >= MAX_OBJECTS:
            raise _Refused(400, f"there are {MAX_OBJECTS} of {tool.noun} already")
        self._created += 1
        identifier = stated[0] if stated else self._new_identifier(tool, seed)
        return self._add(resource, identifier, self._said(tool, arguments))

    def _said(self, tool: _Tool, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """What a call says of its object: its arguments, those inside a wrapped body too."""
        names = self._identities[tool.operation.resource]
        found: dict[str, Any] = {}
        for name, value in arguments.items():
            is_wrapped = isinstance(value, dict) and fold(name) in {"body", fold(tool.operation.noun)}
            for inner, each in value.items() if is_wrapped else [(name, value)]:
                if fold(inner) not in names:
                    found[fold(inner)] = each
        return found

    # --- answers -----------------------------------------------------------------------------------------------------

    def _answer(self, name: str, tool: _Tool, arguments: Mapping[str, Any]) -> Any:
        operation = tool.operation
        seed = content_hash(self._seed, name, canonical_json(arguments), str(self._created))
        if operation.action == "create":
            return self._result(tool, self._create(tool, arguments, seed), seed)
        if operation.action == "list":
            return self._listed(tool, arguments, seed)
        if operation.action == "other" or operation.identity is None:
            return self._setting(tool, arguments, seed)
        wanted = str(arguments.get(operation.identity))
        found = next(
            (
                each
                for each in self._objects.get(operation.resource, [])
                if each.identifier == wanted and each.belongs_to(operation.owners, arguments)
            ),
            None,
        )
        if found is None:
            if operation.action != "put":
                raise _Refused(404, f"{tool.noun} {shown(wanted)} does not exist")
            found = self._create(tool, arguments, seed)
        elif operation.action in {"update", "put"}:
            found.attributes.update(self._said(tool, arguments))
        elif operation.action == "delete":
            self._objects[operation.resource].remove(found)
        return self._result(tool, found, seed)

    def _result(self, tool: _Tool, about: Object, seed: str) -> Any:
        """The result as its schema has it, with what is known of the object in its place."""
        schema, wrapper = tool.entity.returns, _wrapper(tool)
        if wrapper is None:
            result = self._shown(tool, about, schema)
        else:
            inner = self._shown(tool, about, in_order(schema)[wrapper])
            result = Values(seed).object(schema, 0, lambda name, _: inner if name == wrapper else None)
        names = self._identities[tool.operation.resource]
        if tool.operation.action == "create" and names.isdisjoint(map(fold, _body(tool))):
            # A caller must learn the identifier somewhere: such services state it in a header.
            result.setdefault("id", about.attributes[min(names)])
        return result

    def _shown(self, tool: _Tool, about: Object, schema: Mapping[str, Any]) -> dict[str, Any]:
        """An object by any schema: what nobody said of it is the same in each."""
        return Values(content_hash(self._seed, tool.operation.resource, about.identifier)).object(
            schema, 0, about.known
        )

    def _setting(self, tool: _Tool, arguments: Mapping[str, Any], seed: str) -> Any:
        """Of what has no identifier: the recorded answer where the source shows this very call; else values of the
        schema, with the arguments, and what earlier calls set for equal arguments, in their places."""
        recorded = recorded_call(tool.entity)
        if recorded is not None and recorded.response and dict(recorded.arguments) == dict(arguments):
            try:
                return orjson.loads(recorded.response)
            except ValueError:
                return recorded.response
        operation, known = tool.operation, self._settings.setdefault(tool.operation.resource, [])
        said = {fold(name): value for name, value in arguments.items()}
        if operation.action in {"put", "update"} and len(known) < MAX_OBJECTS:
            known.append(Object("", {**said, **self._said(tool, arguments)}))
        for each in [each for each in reversed(known) if each.passes(arguments)][:1]:
            said = {**each.attributes, **said}
            if operation.action == "delete":
                known.remove(each)
        schema = tool.entity.returns
        if in_order(schema):
            return Values(seed).object(schema, 0, Object("", said).known)
        return Values(seed).of(schema, operation.noun) if schema else {}

    def _listed(self, tool: _Tool, arguments: Mapping[str, Any], seed: str) -> Any:
        found = [
            each
            for each in self._objects.get(tool.operation.resource, [])
            if each.belongs_to(tool.operation.owners, arguments) and each.passes(arguments)
        ]
        for name, value in arguments.items():
            if fold(name) in _LIMITS and isinstance(value, int) and not isinstance(value, bool) and value > 0:
                found = found[:value]
        place, items = list_property(tool.entity.returns), _items(tool.entity.returns)
        if in_order(items):
            listed: list[Any] = [self._shown(tool, each, items) for each in found]
        else:
            listed = [each.identifier for each in found]
        if place == "":
            return listed

        def known(name: str, node: Mapping[str, Any]) -> Any:
            if name == place:
                return listed
            return len(listed) if is_total(name) and type_of(node) in {"integer", "number"} else None

        return Values(seed).object(tool.entity.returns, 0, known)


def _reaches_objects(operation: Operation) -> bool:
    return operation.action == "list" or (
        operation.identity is not None and operation.action in {"get", "update", "delete"}
    )


def _body(tool: _Tool) -> Mapping[str, Mapping[str, Any]]:
    """The properties of the object that a result describes."""
    schema = tool.entity.returns
    if tool.operation.action == "list":
        return in_order(_items(schema))
    wrapper = _wrapper(tool)
    return in_order(schema if wrapper is None else in_order(schema)[wrapper])


def _wrapper(tool: _Tool) -> str | None:
    """The property of a result that holds the object: ``{"Table": {"TableName": ...}}``. None: the result is it."""
    properties = in_order(tool.entity.returns)
    if not {fold(tool.operation.identity or "id"), "id"}.isdisjoint(map(fold, properties)):
        return None
    inner = [name for name, node in properties.items() if in_order(node)]
    noun = fold(tool.operation.noun)
    named = [name for name in inner if noun and noun in fold(name)]
    return named[0] if named else inner[0] if len(inner) == len(properties) == 1 else None


def _items(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a result lists, as a schema."""
    place = list_property(schema)
    listing = schema if place == "" else in_order(schema).get(place or "", {})
    found: Mapping[str, Any] = listing.get("items", {})
    return found


def _error_name(entity: ApiEntity, status: int) -> str:
    """The service's own name for such an error, where its documentation lists one."""
    for error in entity.errors:
        if any(word in fold(error.name) for word in _ERROR_NAMES[status]):
            return error.name
    return _STATUS_WORDS[status]


def _error(status: int, name: str, message: str) -> Response:
    body = {"error": {"code": status, "type": name, "message": message}}
    return Response(status, json.dumps(body, ensure_ascii=False), f"{status} {name}: {message}"[:500])
