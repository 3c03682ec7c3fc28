"""One operation of an OpenAPI or Swagger document: what a caller gives, what comes back, what must be shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson

from forge.apis.descriptions import description_text, plain_text
from forge.apis.property_order import with_order
from forge.apis.references import ReferenceError_, References, SchemaExpander
from forge.schema import ApiError, ApiExample, canonical_json
from forge.text.markup import cut

_MAX_EXAMPLE_CHARACTERS = 4000
_MAX_EXAMPLES = 4
_MAX_KEPT = 2000
_PARAMETER_WEIGHT = 300
_MAX_PARAMETERS = 1000
_MAX_RESPONSES = 100
_MAX_DESCRIPTION = 4000
_MAX_ERROR_DESCRIPTION = 600
_MISSING: Any = object()
_Kept = TypeVar("_Kept")

Shown = tuple[str, str, Any]
"""An example: its name in the document, what it shows, its value."""


@dataclass(frozen=True, slots=True)
class _Parameter:
    name: str
    place: str
    schema: dict[str, Any]
    is_required: bool
    example: Any
    weight: int
    body: _Body | None
    """Of Swagger 2's parameter "in body"."""


@dataclass(frozen=True, slots=True)
class _Body:
    schema: dict[str, Any]
    description: str
    media_type: str
    requires: bool | None
    """Whether it must be sent; None: the document does not say."""
    examples: tuple[Shown, ...]
    weight: int

    @property
    def is_object(self) -> bool:
        kind = self.schema.get("type", "object")
        return bool(self.schema.get("properties")) and (
            kind == "object" or (isinstance(kind, list) and "object" in kind)
        )


@dataclass(frozen=True, slots=True)
class _Response:
    schema: dict[str, Any]
    media_type: str | None
    """None: Swagger 2, where the operation states it."""
    examples: tuple[Shown, ...]
    weight: int


@dataclass(frozen=True, slots=True)
class Interface:
    """What one operation takes and gives. ``weight`` is about how many characters it has as JSON."""

    parameters: dict[str, Any]
    returns: dict[str, Any]
    errors: tuple[ApiError, ...]
    examples: tuple[ApiExample, ...]
    weight: int


class OperationReader:
    """Reads the operations of one document; what they refer to is read once."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self.references = References(document)
        self._schemas = SchemaExpander(self.references)
        self._parameters: dict[str, _Parameter | None] = {}
        self._bodies: dict[str, _Body | None] = {}
        self._responses: dict[str, _Response | None] = {}
        self._failures: dict[str, str | None] = {}

    def interface(self, shared: Any, operation: Mapping[str, Any]) -> Interface:
        """Of an operation and the parameters of its path. Raises :class:`ReferenceError_` for a parameter or request
        body that is not there (without it the interface would be a wrong one) and ValueError for too many."""
        parameters, body, media_type = self._taken(shared, operation)
        schema, requests = _call(parameters, body)
        if media_type and not _is_json(media_type):
            schema["x-media-type"] = media_type
        returns, errors, outputs, weight = self._outcome(operation)
        for keyword, stated in (("x-operation-id", operation.get("operationId")), ("x-tags", operation.get("tags"))):
            if isinstance(stated, str) and stated:
                schema[keyword] = plain_text(stated[:200])
            elif isinstance(stated, list) and stated:
                schema[keyword] = [plain_text(tag[:100]) for tag in stated[:10] if isinstance(tag, str)]
        weight += sum(parameter.weight for parameter in parameters) + (body.weight if body is not None else 0)
        return Interface(with_order(schema), returns, errors, _paired(requests, outputs), weight)

    def _once(self, kept: dict[str, _Kept], stated: Any, read: Callable[[dict[str, Any]], _Kept]) -> _Kept | None:
        """What stands at a place of the document, or what the reference there stands for (that is kept)."""
        reference = stated.get("$ref") if isinstance(stated, dict) else None
        if not isinstance(reference, str):
            return read(stated) if isinstance(stated, dict) else None
        if reference not in kept:
            found = self.references.resolve(stated)
            if not isinstance(found, dict):
                return None
            if len(kept) >= _MAX_KEPT:
                kept.clear()
            kept[reference] = read(found)
        return kept[reference]

    # --- what is taken --------------------------------------------------------------------------------------------

    def _taken(self, shared: Any, operation: Mapping[str, Any]) -> tuple[list[_Parameter], _Body | None, str]:
        """The parameters of a path and of its operation (these replace those of the same name and place), the request
        body (OpenAPI 3's own, or Swagger 2's parameter "in body") and its media type."""
        found: dict[tuple[str, str], _Parameter] = {}
        body = self._once(self._bodies, operation.get("requestBody"), self._body)
        media_type = body.media_type if body is not None else ""
        for entries in (shared, operation.get("parameters")):
            for entry in entries if isinstance(entries, list) else ():
                parameter = self._once(self._parameters, entry, self._parameter)
                if parameter is None:
                    continue
                if parameter.body is not None:
                    body, media_type = parameter.body, self._consumed(operation, form=False)
                    continue
                if parameter.place == "formData" and not media_type:
                    media_type = self._consumed(operation, form=True)
                found[parameter.place, parameter.name] = parameter
        if len(found) > _MAX_PARAMETERS:
            raise ValueError(f"{len(found):,} parameters, at most {_MAX_PARAMETERS:,} are read")
        return list(found.values()), body, media_type

    def _parameter(self, stated: dict[str, Any]) -> _Parameter | None:
        if stated.get("in") == "body":
            media_body = self._body_of(stated, stated, "")
            return _Parameter("body", "body", {}, False, _MISSING, 0, media_body)
        if not isinstance(stated.get("name"), str):
            return None
        name, place = plain_text(stated["name"]), str(stated.get("in"))
        media = self._media(stated.get("content"))[1]
        # Swagger 2 writes the type beside the name.
        schema = stated["schema"] if "schema" in stated else media.get("schema") if media is not None else stated
        expanded, weight = self._schemas.weighed(schema)
        node = dict(expanded)
        if description := description_text(stated.get("description")):
            node["description"] = cut(description, _MAX_DESCRIPTION)
            weight += len(node["description"])
        if node.get("type") == "file":
            node.update(type="string", format="binary")
        if stated.get("deprecated") is True:
            node["deprecated"] = True
        if place in {"query", "header", "cookie"}:
            node["x-in"] = place
        shown = next(iter(self._shown(stated, schema)), None)
        is_required = stated.get("required") is True or place == "path"
        example = _MISSING if shown is None else shown[2]
        return _Parameter(name, place, node, is_required, example, weight + _PARAMETER_WEIGHT, None)

    def _body(self, stated: dict[str, Any]) -> _Body | None:
        media_type, media = self._media(stated.get("content"))
        return None if media is None else self._body_of(stated, media, media_type)

    def _body_of(self, stated: dict[str, Any], media: dict[str, Any], media_type: str) -> _Body:
        schema, weight = self._schemas.weighed(media.get("schema"))
        requires = stated.get("required")
        return _Body(
            schema,
            cut(description_text(stated.get("description")), _MAX_DESCRIPTION),
            media_type,
            requires if isinstance(requires, bool) else None,
            self._shown(media, media.get("schema")),
            weight,
        )

    def _consumed(self, operation: Mapping[str, Any], form: bool) -> str:
        kinds = _kinds(operation.get("consumes", self.document.get("consumes")))
        if form:
            return next((kind for kind in kinds if "form" in kind), "application/x-www-form-urlencoded")
        return _preferred(kinds) if kinds else ""

    def _media(self, content: Any) -> tuple[str, dict[str, Any] | None]:
        """The JSON representation of a body where there is one, else the first."""
        if not isinstance(content, dict) or not content:
            return "", None
        kind = _preferred(list(content))
        chosen = self.references.resolve(content[kind])
        return plain_text(kind[:100]), chosen if isinstance(chosen, dict) else None

    # --- what comes back ------------------------------------------------------------------------------------------

    def _outcome(
        self, operation: Mapping[str, Any]
    ) -> tuple[dict[str, Any], tuple[ApiError, ...], tuple[Shown, ...], int]:
        """The schema of the first success, the documented failures, recorded successes."""
        responses = operation.get("responses")
        if not isinstance(responses, dict):
            return {}, (), (), 0
        statuses = sorted(responses)[:_MAX_RESPONSES]
        chosen = next((status for status in statuses if status.startswith("2")), None)
        if chosen is None and "default" in responses:
            chosen = "default"
        success: _Response | None = None
        errors: list[ApiError] = []
        for status in statuses:
            try:
                if status == chosen:
                    success = self._once(self._responses, responses[status], self._response)
                elif not status.startswith(("1", "2", "3", "x-")):
                    told = self._once(self._failures, responses[status], _description)
                    if told is not None:
                        errors.append(ApiError(plain_text(status[:100]), cut(told, _MAX_ERROR_DESCRIPTION)))
            except ReferenceError_:
                continue  # the interface is right without it
        if success is None:
            return {}, tuple(errors), (), 0
        returns, media_type = success.schema, success.media_type
        if media_type is None:
            kinds = _kinds(operation.get("produces", self.document.get("produces")))
            media_type = _preferred(kinds) if kinds else ""
        if media_type and not _is_json(media_type):
            returns = {**returns, "x-media-type": media_type}
        return returns, tuple(errors), success.examples, success.weight

    def _response(self, stated: dict[str, Any]) -> _Response:
        media_type, media = self._media(stated.get("content"))
        description = _description(stated)
        stated_schema = (media if media is not None else stated).get("schema")  # Swagger 2: beside the description
        schema, weight = self._schemas.weighed(stated_schema) if stated_schema is not None else ({}, 0)
        if description and "description" not in schema:
            schema = {**schema, "description": cut(description, _MAX_DESCRIPTION)}
        examples = self._shown(media, stated_schema) if media is not None else _swagger_examples(stated)
        kind = None if "schema" in stated else media_type
        return _Response(schema, kind, examples, weight + len(description))

    def _shown(self, holder: Mapping[str, Any], schema: Any) -> tuple[Shown, ...]:
        """The examples beside a schema, else the one inside it."""
        if "example" in holder:
            return (("", "", holder["example"]),)
        found: list[Shown] = []
        stated = holder.get("examples")
        if isinstance(stated, dict):
            for name, entry in list(stated.items())[:_MAX_EXAMPLES]:
                try:
                    entry = self.references.resolve(entry)
                except ReferenceError_:
                    continue
                if isinstance(entry, dict) and "value" in entry:
                    told = entry.get("summary") or entry.get("description")
                    found.append((name, cut(description_text(told), 300), entry["value"]))
        if found:
            return tuple(found)
        try:
            schema = self.references.resolve(schema)
        except ReferenceError_:
            return ()
        if not isinstance(schema, dict):
            return ()
        if "example" in schema:
            return (("", "", schema["example"]),)
        listed = schema.get("examples")
        return (("", "", listed[0]),) if isinstance(listed, list) and listed else ()


def _description(stated: Mapping[str, Any]) -> str:
    return description_text(stated.get("description"))


def _kinds(stated: Any) -> list[str]:
    return [plain_text(kind[:100]) for kind in stated if isinstance(kind, str)] if isinstance(stated, list) else []


def _preferred(kinds: list[str]) -> str:
    return min(kinds, key=lambda kind: (kind.partition(";")[0] != "application/json", not _is_json(kind)))


def _is_json(media_type: str) -> bool:
    return "json" in media_type or media_type == "*/*"


def _swagger_examples(response: Mapping[str, Any]) -> tuple[Shown, ...]:
    stated = response.get("examples")
    if not isinstance(stated, dict):
        return ()
    return tuple(("", "", value) for kind, value in stated.items() if _is_json(kind))[:1]


def _call(parameters: list[_Parameter], body: _Body | None) -> tuple[dict[str, Any], list[Shown]]:
    """One JSON Schema of everything that a caller gives (the fields of an object body side by side with the
    parameters), and recorded requests."""
    properties: dict[str, Any] = {}
    required: list[str] = []
    arguments: dict[str, Any] = {}
    for parameter in parameters:
        # One name in two places (51 operations of the OpenAPI directory): the second is told by its place.
        name = parameter.name if parameter.name not in properties else f"{parameter.place}.{parameter.name}"
        properties[name] = parameter.schema
        if parameter.is_required:
            required.append(name)
        if parameter.example is not _MISSING:
            arguments[name] = parameter.example
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    requests: list[Shown] = []
    if body is not None:
        _add_body(body, schema, required)
        for name, told, value in body.examples:
            given = _decoded(value)
            if not body.is_object:
                requests.append((name, told, {**arguments, "body": given}))
            elif isinstance(given, dict):
                requests.append((name, told, {**arguments, **given}))
    if required:
        schema["required"] = list(dict.fromkeys(required))
    if not requests and arguments and set(required) <= set(arguments):
        requests.append(("", "", arguments))
    return schema, requests


def _add_body(body: _Body, schema: dict[str, Any], required: list[str]) -> None:
    """The fields of an object; any other body is one field "body". Most documents do not say that a body must be sent
    where its fields are required, so only a stated ``required: false`` counts as leave to omit it."""
    properties = schema["properties"]
    if body.is_object:
        for name, node in body.schema["properties"].items():
            properties.setdefault(name, node)
        if body.requires is not False:
            required += body.schema.get("required", ())
        for keyword in ("oneOf", "anyOf"):
            if keyword in body.schema:
                schema[keyword] = body.schema[keyword]
        return
    node = body.schema
    if body.description and "description" not in node:
        node = {**node, "description": body.description}
    name = "body" if "body" not in properties else "body.body"
    properties[name] = node
    if body.requires:
        required.append(name)


def _decoded(value: Any) -> Any:
    """Examples are often JSON inside a text."""
    if isinstance(value, str) and value.lstrip()[:1] == "{":
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
    return value


def _paired(requests: list[Shown], outputs: tuple[Shown, ...]) -> tuple[ApiExample, ...]:
    """Requests with the responses of the same name; the first request with the first response where names say nothing;
    responses alone where no request is recorded."""
    results = {name: text for name, _, value in reversed(outputs) if (text := _as_text(value))}
    is_obvious = len(requests) == len(outputs) == 1 or not all(name for name, _, _ in (*requests[:1], *outputs[:1]))
    examples = []
    for number, (name, told, value) in enumerate(requests[:_MAX_EXAMPLES]):
        if given := _as_text(value):
            first = _as_text(outputs[0][2]) if outputs and is_obvious and number == 0 else ""
            examples.append(ApiExample(told, given, results.get(name, first)))
    if not examples:
        for _, told, value in outputs[:_MAX_EXAMPLES]:
            if text := _as_text(value):
                examples.append(ApiExample(told, "", text))
    return tuple(examples)


def _as_text(value: Any) -> str:
    """A recorded value as JSON, a text as it is; "" for nothing and for what is too long to be read."""
    if value is None or value in ({}, [], ""):
        return ""
    if isinstance(value, str):
        return plain_text(value) if len(value) <= _MAX_EXAMPLE_CHARACTERS else ""
    try:
        text = canonical_json(value)
    except TypeError:  # nested too deep to be written
        return ""
    return text if len(text) <= _MAX_EXAMPLE_CHARACTERS else ""
