"""Requests of Postman collections (versions 1, 2.0 and 2.1) as operations, with their saved responses as examples."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from pydantic import Field

from forge.apis.descriptions import plain_text
from forge.apis.json_documents import MAX_JSON_BYTES, JsonDocumentError, json_object
from forge.apis.postman_requests import Request, request_of, text_of_description
from forge.apis.property_order import with_order
from forge.config import Settings, SourceSettings, source_options
from forge.schema import ApiEntity, ApiError, ApiExample, Decision, Item, canonical_json, is_deeper_than
from forge.stored_files import Problem, Size, StoredFile, StoredFilesOptions, list_stored_files
from forge.text.markup import cut, first_sentence

STEP = "parse_apis"
_MAX_REQUESTS = 20_000
_MAX_EXAMPLES = 5
_MAX_ERRORS = 50
_MAX_PARAMETERS = 1000
_MAX_DESCRIPTION = 20_000
_PLACE = re.compile(r"\{([^{}/]*)\}")
_MAX_EXAMPLE_CHARACTERS = 20_000
_MAX_NESTING = 60


class PostmanOptions(StoredFilesOptions):
    """Options of a source of type ``postman``."""

    max_file_bytes: Size = Field(MAX_JSON_BYTES, le=MAX_JSON_BYTES, description="larger files are rejected")
    provider: str = Field("", description="whose API it is; empty: the host of a request, else the collection's name")
    public_uri: str = Field("", description="what a file's path is appended to in the source_uri of its operations")


@dataclass(frozen=True, slots=True)
class About:
    """What all operations of one file share. ``provider`` counts before the host of a request."""

    source: str
    item_id: str
    uri: str
    provider: str = ""
    license: str = ""


def list_items(name: str, source: SourceSettings, settings: Settings) -> Iterator[Item]:
    """One item a file. Raises :class:`ConfigurationError` when there is none."""
    return list_stored_files(name, source, settings, source_options(PostmanOptions, name, source))


def read_item(item: Item, source: SourceSettings, settings: Settings) -> Iterator[ApiEntity | Decision]:
    """Every request of a collection, and a decision for whatever cannot be used."""
    options = source_options(PostmanOptions, item.source, source)
    file = StoredFile(item, options, settings)
    content = file.problem() or file.whole(options.max_file_bytes)
    if isinstance(content, Problem):
        yield content.decision(item, STEP)
        return
    uri = options.public_uri + item.item_id
    yield from entities(content, About(item.source, item.item_id, uri, options.provider, source.license or ""))


def entities(content: bytes, about: About) -> Iterator[ApiEntity | Decision]:
    """The operations of one collection, in its order. Requests of one method and path are one operation: it has the
    parameters and examples of all of them."""
    try:
        document, repeated = json_object(content)
    except JsonDocumentError as error:
        yield _decision(about, error.reason, str(error))
        return
    if repeated:
        told = ", ".join(repr(key[:100]) for key in repeated[:5])
        yield _decision(about, "duplicate_keys", f"keys that stand twice, the last one counts: {told}")
    collection = document["collection"] if isinstance(document.get("collection"), dict) else document
    if not isinstance(collection.get("item"), list) and not isinstance(collection.get("requests"), list):
        yield _decision(about, "malformed_spec", "no collection: neither item nor requests is there")
        return
    found: dict[str, ApiEntity] = {}
    collected = _Collection(collection, about)
    for count, (pointer, item, auth) in enumerate(_requests(collection)):
        if count >= _MAX_REQUESTS:
            yield _decision(about, "too_large", f"more than {_MAX_REQUESTS:,} requests")
            break
        entity = collected.entity(item, auth)
        if entity is None:
            name = item.get("name")
            detail = f"{cut(name, 200) if isinstance(name, str) else 'a request'} has no address"
            yield _decision(about, "malformed_operation", f"{pointer}: {detail}", pointer)
            continue
        earlier = found.get(entity.entity_key)
        found[entity.entity_key] = entity if earlier is None else _merged(earlier, entity)
    if not found:
        yield _decision(about, "no_operations", "the collection holds no request that can be read")
    yield from found.values()


def _requests(collection: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Every request with where it stands and the auth that its folders state, in the order of the collection."""
    items = collection.get("item")
    if not isinstance(items, list):
        for number, entry in enumerate(collection["requests"]):
            if isinstance(entry, dict):
                yield f"/requests/{number}", _of_version_1(entry), entry.get("auth") or collection.get("auth")
        return
    todo: list[tuple[str, Any, Any]] = [
        (f"/item/{number}", item, collection.get("auth")) for number, item in _reversed(items)
    ]
    while todo:
        pointer, item, inherited = todo.pop()
        if not isinstance(item, dict):
            continue
        auth = item["auth"] if isinstance(item.get("auth"), dict) else inherited
        if isinstance(item.get("item"), list):
            todo += [(f"{pointer}/item/{number}", inner, auth) for number, inner in _reversed(item["item"])]
        elif "request" in item:
            yield pointer, item, auth


def _reversed(items: list[Any]) -> Iterator[tuple[int, Any]]:
    for number in range(len(items) - 1, -1, -1):
        yield number, items[number]


def _of_version_1(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A request of version 1 the way version 2 writes it."""
    stated = str(entry.get("dataMode"))
    mode = {"params": "formdata", "binary": "file"}.get(stated, stated)
    body = {"mode": mode, "raw": entry.get("rawModeData"), "graphql": entry.get("graphqlModeData")}
    if mode in {"formdata", "urlencoded"}:
        body[mode] = entry.get("data")
    url: dict[str, Any] = {"raw": entry.get("url"), "variable": entry.get("pathVariableData")}
    if isinstance(entry.get("queryParams"), list):
        url["query"] = entry["queryParams"]
    responses = entry.get("responses")
    request = {
        "method": entry.get("method"),
        "url": url,
        "header": entry.get("headerData") or entry.get("headers"),
        "body": body,
        "description": entry.get("description"),
    }
    saved = (
        [_response_of_version_1(one) for one in responses if isinstance(one, dict)]
        if isinstance(responses, list)
        else []
    )
    return {"name": entry.get("name"), "request": request, "response": saved}


def _response_of_version_1(stated: Mapping[str, Any]) -> dict[str, Any]:
    code = stated.get("responseCode")
    code = code if isinstance(code, dict) else {}
    return {
        "name": stated.get("name"),
        "code": code.get("code"),
        "status": code.get("name"),
        "body": stated.get("text"),
    }


class _Collection:
    """What the requests of one collection share: its name, its version, the values of its variables."""

    def __init__(self, collection: Mapping[str, Any], about: About) -> None:
        information = collection.get("info")
        self.information = information if isinstance(information, dict) else collection
        self.about = about
        self.name = _line(self.information.get("name")).replace("/", "-") or "collection"
        self.version = _version(self.information.get("version"))
        self.variables: dict[str, str] = {}
        stated = collection.get("variable") or collection.get("variables")
        for entry in stated if isinstance(stated, list) else ():
            if isinstance(entry, dict) and isinstance(entry.get("value"), str) and len(entry["value"]) <= 2000:
                for key in (entry.get("key"), entry.get("id")):
                    if isinstance(key, str):
                        self.variables.setdefault(key, entry["value"])

    def entity(self, item: Mapping[str, Any], auth: Any) -> ApiEntity | None:
        stated = item["request"]
        title = _line(item.get("name"))
        request = request_of(stated, self.variables, title)
        if request is None:
            return None
        own_auth = stated.get("auth") if isinstance(stated, dict) else None
        said = text_of_description(stated.get("description") if isinstance(stated, dict) else None)
        said = said or text_of_description(item.get("description"))
        name = f"{request.method} {request.path}{f'#{request.operation}' if request.operation else ''}"
        address = f"{request.scheme or 'https'}://{request.host}" if request.host else ""
        responses = item.get("response")
        responses = [one for one in responses if isinstance(one, dict)] if isinstance(responses, list) else []
        return ApiEntity(
            provider=self.about.provider or request.host or self.name,
            service=self.name,
            name=name,
            version=self.version,
            entity_type="operation",
            summary=first_sentence(said) or title,
            description=f"{said or title}\n\n{request.query}" if request.query else said or title,
            parameters=_parameters(request),
            returns={},
            license=self.about.license,
            source=self.about.source,
            item_id=self.about.item_id,
            source_uri=plain_text(f"{self.about.uri}#{name}"),
            errors=_errors(responses),
            examples=self._examples(request, responses, title),
            auth=_auth(own_auth if isinstance(own_auth, dict) else auth),
            declaration=f"{request.method} {address}{request.path}",
        )

    def _examples(self, request: Request, responses: list[dict[str, Any]], title: str) -> tuple[ApiExample, ...]:
        """The saved responses with what was asked, else what the request itself passes."""
        own = _example(request, title, "") if request.is_complete else []
        found: list[ApiExample] = []
        for response in responses:
            code = response.get("code")
            body = response.get("body")
            if not isinstance(code, int) or not 200 <= code < 300:
                continue
            asked = request_of(response.get("originalRequest"), self.variables, title) or request
            output = plain_text(body) if isinstance(body, str) else ""
            found += _example(asked, _line(response.get("name")) or title, output)
        return tuple(dict.fromkeys(found or own))[:_MAX_EXAMPLES]


def _example(request: Request, title: str, output: str) -> list[ApiExample]:
    passed = {name: parameter.value for name, parameter in _named(request).items() if parameter.value is not None}
    if (not passed and not output) or is_deeper_than(passed, _MAX_NESTING):
        return []
    given = canonical_json(passed)
    if len(given) + len(output) > _MAX_EXAMPLE_CHARACTERS:
        return []
    return [ApiExample(title, plain_text(given), output)]


def _named(request: Request) -> dict[str, Any]:
    """The parameters by name; of two of one name the later one is called "query.id"."""
    named: dict[str, Any] = {}
    for parameter in request.parameters:
        name = parameter.name if parameter.name not in named else f"{parameter.place}.{parameter.name}"
        named.setdefault(name, parameter)
    return named


def _parameters(request: Request) -> dict[str, Any]:
    named = _named(request)
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: dict(parameter.schema) for name, parameter in named.items()},
    }
    required = [name for name, parameter in named.items() if parameter.required]
    if required:
        schema["required"] = required
    return with_order(schema)


def _merged(first: ApiEntity, later: ApiEntity) -> ApiEntity:
    """The first with what a later request of the same method and path adds; required is what all of them require."""
    places = dict(zip(_PLACE.findall(later.name), _PLACE.findall(first.name), strict=True))  # /{id} is /{number}
    known = {**later.parameters["properties"], **first.parameters["properties"]}
    names = dict.fromkeys([*_order(first), *(places.get(name, name) for name in _order(later))])
    ordered = {name: known[name] for name in islice(names, _MAX_PARAMETERS) if name in known}
    parameters: dict[str, Any] = {"type": "object", "properties": ordered}
    both = {places.get(name, name) for name in later.parameters.get("required", ())}
    required = [name for name in first.parameters.get("required", ()) if name in both]
    if required:
        parameters["required"] = required
    said = dict.fromkeys([*first.description.split("\n\n"), *later.description.split("\n\n")])
    return replace(
        first,
        description=cut("\n\n".join(said), _MAX_DESCRIPTION),
        parameters=with_order(parameters),
        examples=tuple(dict.fromkeys([*first.examples, *later.examples]))[:_MAX_EXAMPLES],
        errors=tuple({error.name: error for error in [*later.errors, *first.errors]}.values())[:_MAX_ERRORS],
    )


def _order(entity: ApiEntity) -> list[str]:
    return list(entity.parameters.get("x-order") or entity.parameters["properties"])


def _errors(responses: list[dict[str, Any]]) -> tuple[ApiError, ...]:
    """The saved responses that are errors: "404 Not Found"."""
    found: dict[str, ApiError] = {}
    for response in responses:
        code = response.get("code")
        if isinstance(code, int) and 400 <= code < 600:
            name = f"{code} {_line(response.get('status'))}".strip()
            found.setdefault(name, ApiError(name, _line(response.get("name"))))
    return tuple(found.values())


def _auth(stated: Any) -> str:
    """ "bearer", "apikey in header X-Key", "none"; "" where nothing is said."""
    if not isinstance(stated, dict) or not isinstance(stated.get("type"), str):
        return ""
    kind = _line(stated["type"])
    if kind == "noauth":
        return "none"
    details = stated.get(kind)
    if isinstance(details, list):
        details = {
            entry.get("key"): entry.get("value")
            for entry in details
            if isinstance(entry, dict) and isinstance(entry.get("key"), str)
        }
    if kind == "apikey" and isinstance(details, dict) and _line(details.get("key")):
        return f"apikey in {_line(details.get('in')) or 'header'} {_line(details['key'])}"
    return kind


def _version(stated: Any) -> str:
    if isinstance(stated, dict):
        numbers = [stated.get(part) for part in ("major", "minor", "patch")]
        return ".".join(str(number) for number in numbers if isinstance(number, int) and number < 10**9)
    return _line(stated)


def _line(stated: Any) -> str:
    return cut(" ".join(plain_text(stated).split()), 300) if isinstance(stated, str) else ""


def _decision(about: About, reason: str, detail: str, pointer: str = "") -> Decision:
    item_id = f"{about.item_id}#{pointer}" if pointer else about.item_id
    return Decision(about.source, item_id, STEP, reason, plain_text(f"{about.item_id}: {detail}"))
