"""OpenAPI 3.0 and 3.1 and Swagger 2.0 documents (JSON or YAML) -> ApiEntity, one an operation.

An operation's name is its method and path template (``GET /pets/{id}``): operationIds are optional and change. Only
references inside the document are followed; nothing is fetched. Callbacks and webhooks are calls that the API makes,
not its own operations: they are left out.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from forge.apis.descriptions import description_text, plain_text
from forge.apis.openapi_document import SpecificationError, collector_paused, load_specification
from forge.apis.openapi_identity import Identity, Mirror, identity_of
from forge.apis.openapi_operations import OperationReader
from forge.apis.references import ReferenceError_
from forge.schema import ApiEntity, Decision
from forge.text.licenses import spdx_of
from forge.text.markup import cut, first_sentence

STEP = "parse_apis"
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_MAX_OPERATIONS = 50_000
_MAX_WEIGHT = 200_000_000
"""Characters of JSON that one item may become. A small document can state a huge one: every operation refers to the
same schema of a thousand properties."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a document lies. ``part`` of ``parts``: only the paths whose hash falls into it are read."""

    source: str
    item_id: str
    uri: str = ""
    license: str | None = None
    """Overrides what ``info.license`` states."""
    part: int = 0
    parts: int = 1


@dataclass(frozen=True, slots=True)
class _About:
    """What all operations of one document share."""

    identity: Identity
    provider: str
    version: str
    license: str
    schemes: Mapping[str, str]


def read_openapi(
    data: bytes, origin: Origin, mirrors: Mapping[str, Mirror] | None = None
) -> Iterator[ApiEntity | Decision]:
    """Every operation of one specification, by path and method as the file orders them.

    A file that is no specification gives one :class:`Decision` (``malformed_spec``, ``too_large``, ``oversized``); a
    path or operation that cannot be read gives ``malformed_path`` or ``malformed_operation`` and the others go on;
    keys that stand twice are told in one ``duplicate_keys``.
    """
    with collector_paused():
        yield from _read(data, origin, mirrors or {})


def _read(data: bytes, origin: Origin, mirrors: Mapping[str, Mirror]) -> Iterator[ApiEntity | Decision]:
    source, item_id = origin.source, origin.item_id
    try:
        document, repeated = load_specification(data)
        del data
        paths = document.get("paths")
        if not isinstance(paths, dict | None):
            raise SpecificationError("'paths' is no object")
        reader = OperationReader(document)
        about = _about(document, reader, origin, mirrors)
    except (SpecificationError, ReferenceError_) as error:
        yield Decision(source, item_id, STEP, getattr(error, "reason", "malformed_spec"), f"{item_id}: {error}")
        return
    if repeated and origin.part == 0:
        more = f" and {len(repeated) - 3} more" if len(repeated) > 3 else ""
        detail = f"{item_id}: {'; '.join(repeated[:3])}{more}; the last one counts"
        yield Decision(source, f"{item_id}#keys", STEP, "duplicate_keys", detail)
    weight = count = 0
    for path, method, operation, shared in _operations(paths or {}, reader, origin):
        if isinstance(operation, Decision):
            count += 1
            yield operation
            continue
        count += 1
        if count > _MAX_OPERATIONS or weight > _MAX_WEIGHT:
            detail = f"{item_id}: more than {_MAX_OPERATIONS:,} operations or {_MAX_WEIGHT:,} characters"
            yield Decision(source, item_id, STEP, "too_large", f"{detail} before {method} {path}")
            return
        place = f"{method.upper()} {plain_text(path)}"
        try:
            entity, heavy = _entity(reader, operation, (method, path), shared, about, origin)
        except (ReferenceError_, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            detail = f"{item_id}, {place}: {type(error).__name__.rstrip('_')}: {error}"
            yield Decision(source, f"{item_id}#{place}", STEP, "malformed_operation", detail)
            continue
        weight += heavy
        yield entity
    if count == 0 and (origin.parts == 1 or not paths):
        yield Decision(source, item_id, STEP, "no_operations", f"{item_id} describes no operation")


def _operations(
    paths: Mapping[str, Any], reader: OperationReader, origin: Origin
) -> Iterator[tuple[str, str, Any, Mapping[str, Any]]]:
    """Path, method, what the document has there (a decision, where it is of no use), the path's entry."""
    for path, stated in paths.items():
        if path.startswith("x-"):
            continue
        if origin.parts > 1 and zlib.crc32(path.encode("utf-8", "replace")) % origin.parts != origin.part:
            continue
        cause = f"a path's entry is an object, this is a {type(stated).__name__}"
        try:
            entry = reader.references.resolve(stated)
        except ReferenceError_ as error:
            entry, cause = None, str(error)
        if not isinstance(entry, dict):
            place = plain_text(path)
            detail = f"{origin.item_id}, {place}: {cause}"
            yield path, "", Decision(origin.source, f"{origin.item_id}#{place}", STEP, "malformed_path", detail), {}
            continue
        for method in METHODS:
            if method in entry:
                yield path, method, entry[method], entry


def _about(
    document: Mapping[str, Any], reader: OperationReader, origin: Origin, mirrors: Mapping[str, Mirror]
) -> _About:
    information = reader.references.resolve(document.get("info") or {})
    if not isinstance(information, dict):
        raise SpecificationError("'info' is no object")
    identity = identity_of(document, information, mirrors)
    return _About(
        identity=identity,
        provider=identity.provider or origin.source,
        version=cut(plain_text(str(information.get("version") or "")), 100),
        license=origin.license if origin.license is not None else _license(information.get("license")),
        schemes=_schemes(document, reader),
    )


def _license(stated: Any) -> str:
    """As SPDX; "" when none is stated or it is not known."""
    if not isinstance(stated, dict):
        return ""
    words = [stated.get(key) for key in ("identifier", "name", "url")]
    return next((found for word in words if isinstance(word, str) and (found := spdx_of(word))), "")


def _entity(
    reader: OperationReader,
    operation: Any,
    place: tuple[str, str],
    entry: Mapping[str, Any],
    about: _About,
    origin: Origin,
) -> tuple[ApiEntity, int]:
    """The operation, and about how many characters it has as JSON."""
    method, path = place
    operation = reader.references.resolve(operation)
    if not isinstance(operation, dict):
        raise TypeError(f"an operation is an object, this is a {type(operation).__name__}")
    interface = reader.interface(entry.get("parameters"), operation)
    summary = description_text(operation.get("summary")) or description_text(entry.get("summary"))
    description = description_text(operation.get("description")) or description_text(entry.get("description"))
    summary = cut(summary, 300) or first_sentence(description)
    description = description or summary
    if operation.get("deprecated") is True:
        description = f"Deprecated.\n\n{description}".rstrip()
    identity = about.identity
    where = f"{method.upper()} {' '.join(plain_text(path).split())}"
    server = _server(reader, operation, entry)
    entity = ApiEntity(
        provider=about.provider,
        service=identity.service,
        name=identity.name_of(method, path, operation),
        version=about.version,
        entity_type="operation",
        summary=summary,
        description=description,
        parameters=interface.parameters,
        returns=interface.returns,
        license=about.license,
        source=origin.source,
        item_id=origin.item_id,
        source_uri=f"{origin.uri or origin.item_id}#{where}",
        errors=interface.errors,
        examples=interface.examples,
        auth=_auth(operation.get("security", reader.document.get("security")), about.schemes),
        declaration=where.replace(" ", f" {server}", 1) if server else "",
        mirror=identity.mirror,
    )
    return entity, interface.weight + len(description)


def _server(reader: OperationReader, operation: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    """The address that the path is below: of the operation's, the path's or the document's first server."""
    document = reader.document
    for holder in (operation, entry, document):
        servers = holder.get("servers")
        if isinstance(servers, list) and servers and isinstance(servers[0], dict):
            url = servers[0].get("url")
            if isinstance(url, str) and url.strip("/ "):
                return cut("".join(plain_text(url).split()), 300).rstrip("/")
    host = document.get("host")
    base = document.get("basePath")
    base = base.rstrip("/") if isinstance(base, str) else ""
    if not isinstance(host, str) or not host:
        return plain_text(base)
    schemes = document.get("schemes")
    scheme = schemes[0] if isinstance(schemes, list) and schemes and "https" not in schemes else "https"
    return cut("".join(plain_text(f"{scheme}://{host}{base}").split()), 300)


def _schemes(document: Mapping[str, Any], reader: OperationReader) -> dict[str, str]:
    """Security schemes by name, each with its type: "key (apiKey in header X-Key)", "token (http bearer)"."""
    components = document.get("components")
    stated = components.get("securitySchemes") if isinstance(components, dict) else document.get("securityDefinitions")
    found: dict[str, str] = {}
    for name, entry in stated.items() if isinstance(stated, dict) else ():
        try:
            scheme = reader.references.resolve(entry)
        except ReferenceError_:
            continue
        if not isinstance(scheme, dict) or not isinstance(scheme.get("type"), str):
            continue
        words = [scheme["type"]]
        if scheme["type"] == "apiKey":
            words += ["in", scheme.get("in"), scheme.get("name")]
        elif scheme["type"] == "http":
            words.append(scheme.get("scheme"))
        told = " ".join(" ".join(word.split()) for word in words if isinstance(word, str))
        found[name] = cut(plain_text(f"{name} ({told})"), 200)
    return found


def _auth(stated: Any, schemes: Mapping[str, str]) -> str:
    """ "none", or the security schemes of which one suffices: "key (apiKey in header X-Key) or login (oauth2)"."""
    if not isinstance(stated, list):
        return ""
    choices = [
        " and ".join(sorted(schemes.get(name, plain_text(name)) for name in entry)) or "none"
        for entry in stated
        if isinstance(entry, dict)
    ]
    return " or ".join(dict.fromkeys(choices)) or "none"
