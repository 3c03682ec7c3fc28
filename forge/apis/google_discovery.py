"""Google API discovery documents (``drive.v3.json``): every method of every nested resource -> ApiEntity.

A document describes one version of one API: resources inside resources, each with methods; parameters in path and
query; bodies by ``$ref`` into ``schemas``. A method's name is its id (``drive.files.get``), which all versions share.

The parameters of the whole document (``alt``, ``fields``, ``key``, ``prettyPrint`` ...) are left out: they are the
same eleven in every document, concern the transport and would outweigh a method's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from pydantic import Field

from forge.apis.descriptions import description_text, plain_text
from forge.apis.discovery_schemas import parameter_schema, pointer, requiring_methods, to_be_sent, to_json_schema
from forge.apis.json_documents import MAX_JSON_BYTES, JsonDocumentError, json_object
from forge.apis.property_order import with_order
from forge.apis.references import References, SchemaExpander
from forge.config import Settings, SourceSettings, source_options
from forge.schema import ApiEntity, Decision, Item, canonical_json
from forge.stored_files import Problem, Size, StoredFile, StoredFilesOptions, list_stored_files
from forge.text.markup import cut, first_sentence

STEP = "parse_apis"
_MAX_METHODS = 20_000
_MAX_CHARACTERS = 100_000_000
"""Of all schemas of one document: a small one can state huge ones, when every method takes the same thousand fields.
The largest real document has 15 million."""
_MAX_PARAMETERS = 1000
_MAX_SCOPES = 20
_NOT_UNDERSTOOD = (LookupError, TypeError, AttributeError, ValueError)


class GoogleDiscoveryOptions(StoredFilesOptions):
    """Options of a source of type ``google_discovery``."""

    max_file_bytes: Size = Field(MAX_JSON_BYTES, le=MAX_JSON_BYTES, description="larger files are rejected")
    public_uri: str = Field("", description="what a file's path is appended to in the source_uri of its methods")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a document lies; ``license`` is the source's."""

    source: str
    item_id: str
    uri: str
    license: str


def list_items(name: str, source: SourceSettings, settings: Settings) -> Iterator[Item]:
    """One item a document. Raises :class:`ConfigurationError` when there are none."""
    return list_stored_files(name, source, settings, source_options(GoogleDiscoveryOptions, name, source))


def read_item(item: Item, source: SourceSettings, settings: Settings) -> Iterator[ApiEntity | Decision]:
    """Every method of a document, and a decision for whatever cannot be used."""
    options = source_options(GoogleDiscoveryOptions, item.source, source)
    file = StoredFile(item, options, settings)
    content = file.problem() or file.whole(options.max_file_bytes)
    if isinstance(content, Problem):
        yield content.decision(item, STEP)
        return
    yield from entities(
        content, Origin(item.source, item.item_id, options.public_uri + item.item_id, source.license or "")
    )


def entities(content: bytes, origin: Origin) -> Iterator[ApiEntity | Decision]:
    """The methods of one document, as it orders them. What is no discovery document is one :class:`Decision`
    (``malformed_spec``), a method that cannot be read another (``malformed_operation``), and the others go on."""
    try:
        document, repeated = json_object(content)
        del content
        if document.get("kind") == "discovery#directoryList":
            return  # the index of all documents describes no method
        if not isinstance(document.get("name"), str) or not isinstance(document.get("version"), str):
            raise JsonDocumentError("malformed_spec", "no discovery document: it states no name and version")
    except JsonDocumentError as error:
        yield _problem(origin, error.reason, str(error))
        return
    if repeated:
        told = ", ".join(repr(key[:100]) for key in repeated[:5])
        yield _problem(origin, "duplicate_keys", f"keys that stand twice, the last one counts: {told}", "keys")
    reader = _Document(document, origin)
    seen: set[str] = set()
    count = 0
    for place, method in _methods(document):
        count += 1
        if count > _MAX_METHODS or reader.written > _MAX_CHARACTERS:
            limits = f"more than {_MAX_METHODS:,} methods or {_MAX_CHARACTERS:,} characters"
            yield _problem(origin, "too_large", f"{limits} before {place}")
            return
        try:
            entity = reader.entity(method)
            if entity.name in seen:
                raise ValueError(f"the id {entity.name} stands twice")
        except _NOT_UNDERSTOOD as error:
            yield _problem(origin, "malformed_operation", f"{place}: {type(error).__name__}: {error}", place)
            continue
        seen.add(entity.name)
        yield entity
    if count == 0:
        yield _problem(origin, "no_operations", "the document describes no method")


def _problem(origin: Origin, reason: str, detail: str, part: str = "") -> Decision:
    item_id = f"{origin.item_id}#{part}" if part else origin.item_id
    return Decision(origin.source, item_id, STEP, reason, plain_text(f"{origin.item_id}: {detail}"))


def _methods(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Place ("files.permissions.list") and content of every method, depth first, as the document orders them."""
    stack: list[tuple[str, Any]] = [("", document)]
    while stack:
        place, holder = stack.pop()
        if not isinstance(holder, dict):
            continue
        methods, resources = holder.get("methods"), holder.get("resources")
        for name, method in methods.items() if isinstance(methods, dict) else ():
            yield _joined(place, name), method
        inner = list(resources.items()) if isinstance(resources, dict) else []
        stack += [(_joined(place, name), resource) for name, resource in reversed(inner)]


def _joined(place: str, name: str) -> str:
    return cut(plain_text(f"{place}.{name}" if place else name), 300)


class _Document:
    """One discovery document. ``written`` counts about how many characters the schemas of its methods have."""

    def __init__(self, document: dict[str, Any], origin: Origin) -> None:
        schemas = document.get("schemas")
        self._schemas: dict[str, Any] = schemas if isinstance(schemas, dict) else {}
        to_json_schema(self._schemas)
        self._expander = SchemaExpander(References(document))
        self._expanded: dict[str, tuple[dict[str, Any], int]] = {}
        self._bodies: dict[str, dict[str, Any]] = {}
        self._origin = origin
        self._service = _word(document["name"])
        self._version = _word(document["version"])
        self._mirror = _repetition(self._service, self._version, origin.item_id)
        self._base = _text_at(document, "baseUrl") or _text_at(document, "rootUrl") + _text_at(document, "servicePath")
        self.written = 0

    def entity(self, method: Mapping[str, Any]) -> ApiEntity:
        """One method. Raises TypeError, ValueError, KeyError or AttributeError for what is none."""
        name = _word(method["id"])
        if not name:
            raise ValueError("the method has no id")
        stated = description_text(method.get("description"))
        paragraphs = [stated, _transfer(method)]
        if method.get("deprecated") is True:
            paragraphs.insert(0, "Deprecated.")
        returns, weight = self._schema(method.get("response"))
        self.written += weight
        return ApiEntity(
            provider="google",
            service=self._service,
            name=name,
            version=self._version,
            entity_type="operation",
            summary=first_sentence(stated),
            description="\n\n".join(paragraph for paragraph in paragraphs if paragraph),
            parameters=self._parameters(method),
            returns=returns,
            license=self._origin.license,
            source=self._origin.source,
            item_id=self._origin.item_id,
            source_uri=f"{self._origin.uri}/{name}",
            auth=_auth(method.get("scopes")),
            declaration=self._declaration(method),
            mirror=self._mirror,
        )

    def _parameters(self, method: Mapping[str, Any]) -> dict[str, Any]:
        """What a caller gives: path and query parameters (in the order of ``parameterOrder``, then as listed), and
        side by side with them the fields of the body, without those that only the server sets."""
        stated = method.get("parameters") or {}
        if len(stated) > _MAX_PARAMETERS:
            raise ValueError(f"{len(stated):,} parameters, at most {_MAX_PARAMETERS:,} are read")
        first = [name for name in method.get("parameterOrder") or () if isinstance(name, str) and name in stated]
        properties: dict[str, Any] = {}
        required: list[str] = []
        for name in dict.fromkeys([*first, *stated]):
            properties[plain_text(name)] = node = parameter_schema(stated[name])
            self.written += 60 + len(node.get("description", ""))
            if stated[name].get("required") is True:
                required.append(plain_text(name))
        required += self._add_body(method, properties)
        schema: dict[str, Any] = {"type": "object", "properties": properties}
        if required:
            schema["required"] = list(dict.fromkeys(required))
        return with_order(schema)

    def _add_body(self, method: Mapping[str, Any], properties: dict[str, Any]) -> list[str]:
        """Writes the body's fields into ``properties``; gives those that this method requires."""
        expanded, weight = self._schema(method.get("request"))
        self.written += weight
        if not expanded:
            return []
        name = method["request"]["$ref"]
        body = self._bodies.setdefault(name, to_be_sent(expanded))
        if not expanded.get("properties"):
            properties.setdefault("body", {**body, "x-in": "body"})
            return []
        for field, node in body["properties"].items():
            properties.setdefault(field, {**node, "x-in": "body"})
        declared = self._schemas[name].get("properties", {})
        return [
            field for field, node in declared.items() if field in properties and method["id"] in requiring_methods(node)
        ]

    def _schema(self, reference: Any) -> tuple[dict[str, Any], int]:
        """The schema that ``{"$ref": "File"}`` names, and how many characters it has; {} for none."""
        if not isinstance(reference, dict) or "$ref" not in reference:
            return {}, 0
        name = reference["$ref"]
        if name not in self._schemas:
            raise KeyError(f"schema {name!s:.200} is not there")
        if name not in self._expanded:
            schema = self._expander.expand({"$ref": pointer(name)})
            self._expanded[name] = schema, len(canonical_json(schema))
        return self._expanded[name]

    def _declaration(self, method: Mapping[str, Any]) -> str:
        verb, path = _text_at(method, "httpMethod"), _text_at(method, "path")
        if not verb and not path:
            return ""
        return cut(f"{verb} {self._base.rstrip('/')}/{path.lstrip('/')}".strip(), 1000)


def _repetition(service: str, version: str, item_id: str) -> str:
    """The name of a file that repeats another without underscore: "admin.directoryv1" beside "admin.directory_v1"."""
    stem = PurePosixPath(item_id).name.partition(".json")[0]
    regular = f"{service}.{version}"
    return stem if stem != regular and stem == regular.replace("_", "") else ""


def _text_at(holder: Mapping[str, Any], key: str) -> str:
    value = holder.get(key)
    return "".join(plain_text(value).split()) if isinstance(value, str) else ""


def _word(stated: object) -> str:
    """One line that can stand in a key."""
    if not isinstance(stated, str):
        raise TypeError(f"a name is a text, this is a {type(stated).__name__}")
    return cut(" ".join(plain_text(stated).split()), 300).replace("/", "-")


def _auth(scopes: object) -> str:
    """The OAuth scopes of which one suffices."""
    stated = [scope for scope in scopes if isinstance(scope, str)] if isinstance(scopes, list) else []
    named = [cut(" ".join(plain_text(scope).split()), 300) for scope in stated[:_MAX_SCOPES]]
    return f"oauth2 ({' or '.join(named)})" if named else ""


def _transfer(method: Mapping[str, Any]) -> str:
    """What is uploaded and downloaded beside JSON, as a paragraph."""
    sentences: list[str] = []
    media = method.get("mediaUpload")
    if isinstance(media, dict):
        accepted = [plain_text(kind[:100]) for kind in media.get("accept") or () if isinstance(kind, str)][:10]
        limit = media.get("maxSize")
        limits = f" of at most {cut(plain_text(limit), 50)} bytes" if isinstance(limit, str) and limit else ""
        ways = media.get("protocols")
        paths = [
            f"{plain_text(way[:50])} at {_text_at(entry, 'path')[:300]}"
            for way, entry in (sorted(ways.items()) if isinstance(ways, dict) else ())
            if isinstance(entry, dict)
        ]
        told = f"Media upload: {', '.join(accepted) or 'any type'}{limits}"
        sentences.append(f"{told}; {', '.join(paths[:5])}." if paths else f"{told}.")
    if method.get("supportsMediaDownload") is True:
        sentences.append("Media download: with alt=media the response is the content itself.")
    return " ".join(sentences)
