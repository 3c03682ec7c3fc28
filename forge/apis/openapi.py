"""OpenAPI 3.0 and 3.1 and Swagger 2.0 files (JSON or YAML) -> ApiEntity, one an operation.

An operation's key is its method and path template (``GET /pets/{id}``): operationIds are optional and change. Only
references inside the document are followed; nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import orjson

from forge.apis.property_order import with_order
from forge.apis.references import ReferenceError_, resolve, schema_in
from forge.apis.yaml_documents import load_yaml
from forge.schema import ApiEntity, ApiError, ApiExample, Decision, canonical_json
from forge.text.licenses import spdx_of
from forge.text.markup import cut, first_sentence, text_of

STEP = "parse_apis"
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_MAX_OPERATIONS = 50_000
_MAX_EXAMPLE_CHARACTERS = 4000


class SpecificationError(ValueError):
    """The file is no OpenAPI or Swagger document."""


def read_openapi(
    data: bytes,
    *,
    source: str,
    item_id: str,
    uri: str = "",
    license: str | None = None,  # noqa: A002
) -> Iterator[ApiEntity | Decision]:
    """Every operation of one specification, by path and method as the file orders them.

    A file that is no specification gives one :class:`Decision` ``malformed_spec``; an operation that cannot be read
    gives ``malformed_operation`` and the others go on. ``license`` overrides what ``info.license`` states.
    """
    try:
        document = _load(data)
        service, version, stated = _about(document)
        paths = document.get("paths") or {}
        if not isinstance(paths, Mapping):
            raise SpecificationError("'paths' is no object")
    except (SpecificationError, ReferenceError_) as error:
        yield Decision(source, item_id, STEP, "malformed_spec", str(error))
        return
    count = 0
    for path, entry in paths.items():
        try:
            entry = resolve(document, entry)
        except ReferenceError_ as error:
            yield Decision(source, f"{item_id}#{path}", STEP, "malformed_operation", str(error))
            continue
        if not isinstance(entry, Mapping) or not str(path).startswith("/"):
            continue
        for method in METHODS:
            operation = entry.get(method)
            if operation is None:
                continue
            count += 1
            if count > _MAX_OPERATIONS:
                yield Decision(source, item_id, STEP, "too_large", f"more than {_MAX_OPERATIONS} operations")
                return
            name = f"{method.upper()} {path}"
            try:
                yield _entity(
                    document,
                    operation,
                    entry.get("parameters"),
                    about=(service, name, version),
                    license=stated if license is None else license,
                    origin=(source, item_id, f"{uri or item_id}#{name}"),
                )
            except (ReferenceError_, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
                detail = f"{type(error).__name__}: {error}"
                yield Decision(source, f"{item_id}#{name}", STEP, "malformed_operation", detail)
    if count == 0:
        yield Decision(source, item_id, STEP, "no_operations", "the specification describes no operation")


def _load(data: bytes) -> Mapping[str, Any]:
    text = data.removeprefix(b"\xef\xbb\xbf")
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as json_error:
        if text.lstrip()[:1] in {b"{", b"["}:
            raise SpecificationError(f"not valid JSON: {json_error}") from None
        try:
            document = load_yaml(text)
        except ValueError as error:
            raise SpecificationError(str(error)) from None
    if not isinstance(document, Mapping):
        raise SpecificationError(f"a specification is an object, this is a {type(document).__name__}")
    stated = str(document.get("openapi") or document.get("swagger") or "")
    if not stated.startswith(("3.", "2.")):
        raise SpecificationError("neither 'openapi: 3.x' nor 'swagger: 2.0'")
    return document


def _about(document: Mapping[str, Any]) -> tuple[str, str, str]:
    """The service, its version and its licence as SPDX ("" when none is stated or it is not known)."""
    information = resolve(document, document.get("info") or {})
    if not isinstance(information, Mapping):
        raise SpecificationError("'info' is no object")
    title = " ".join(str(information.get("title") or "").split())
    stated = information.get("license")
    license = ""  # noqa: A001
    if isinstance(stated, Mapping):
        license = spdx_of(str(stated.get("identifier") or "")) or spdx_of(str(stated.get("name") or ""))  # noqa: A001
    return cut(title or "api", 200).replace("/", "-"), str(information.get("version") or ""), license


def _entity(
    document: Mapping[str, Any],
    operation: Any,
    shared: Any,
    *,
    about: tuple[str, str, str],
    license: str,  # noqa: A002
    origin: tuple[str, str, str],
) -> ApiEntity:
    operation = resolve(document, operation)
    if not isinstance(operation, Mapping):
        raise TypeError("the operation is no object")
    service, name, version = about
    source, item_id, uri = origin
    parameters = _merged(document, shared, operation.get("parameters"))
    schema, examples = _call(document, operation, parameters)
    summary = _words(operation.get("summary"))
    description = _words(operation.get("description"))
    if operation.get("deprecated") is True:
        description = f"Deprecated.\n\n{description}".rstrip()
    returns, errors, outputs = _responses(document, operation.get("responses"))
    recorded = tuple(ApiExample("", given, outputs) for given in examples[:1])
    return ApiEntity(
        provider=_provider(document) or source,
        service=service,
        name=name,
        version=version,
        entity_type="operation",
        summary=summary or first_sentence(description),
        description=description or summary,
        parameters=schema,
        returns=returns,
        license=license,
        source=source,
        item_id=item_id,
        source_uri=uri,
        errors=errors,
        examples=recorded,
        auth=_auth(document, operation),
    )


def _provider(document: Mapping[str, Any]) -> str:
    """Whose API it is: as the file says, else the host of its first server; "" when it names none."""
    information = document.get("info")
    stated = information.get("x-providerName") if isinstance(information, Mapping) else None
    hosts = [str(stated or ""), str(document.get("host") or "")]
    servers = document.get("servers")
    for server in servers if isinstance(servers, list) else ():
        url = str(server.get("url") or "") if isinstance(server, Mapping) else ""
        try:
            hosts.append(urlsplit(url).hostname or "")
        except ValueError:
            continue
    return next((cut(host, 200).replace("/", "-") for host in hosts if host), "")


def _words(text: object) -> str:
    """Descriptions are CommonMark, often with HTML in it: only what is plainly HTML is converted."""
    if not isinstance(text, str):
        return ""
    return text_of(text) if "</" in text or "<p>" in text or "<br" in text else cut(text.strip(), 20_000)


def _merged(document: Mapping[str, Any], shared: Any, own: Any) -> list[Mapping[str, Any]]:
    """The parameters of a path and of its operation; the operation's replace those of the same name and place."""
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for entries in (shared, own):
        if not isinstance(entries, Sequence) or isinstance(entries, str):
            continue
        for entry in entries:
            parameter = resolve(document, entry)
            if isinstance(parameter, Mapping) and isinstance(parameter.get("name"), str):
                found[str(parameter.get("in")), parameter["name"]] = parameter
            elif isinstance(parameter, Mapping) and parameter.get("in") == "body":
                found["body", "body"] = parameter
    return list(found.values())


def _call(
    document: Mapping[str, Any], operation: Mapping[str, Any], parameters: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, Any], list[str]]:
    """One JSON Schema of everything that a caller gives (the fields of an object body side by side with the
    parameters), and recorded requests."""
    properties: dict[str, Any] = {}
    required: list[str] = []
    example: dict[str, Any] = {}
    recorded: list[str] = []
    for parameter in parameters:
        place = str(parameter.get("in"))
        if place == "body":
            _add_body(document, parameter.get("schema"), parameter, properties, required)
            continue
        name = parameter["name"]
        node = schema_in(document, _schema_of_parameter(document, parameter))
        if description := _words(parameter.get("description")):
            node["description"] = cut(description, 4000)
        if parameter.get("deprecated") is True:
            node["deprecated"] = True
        if place in {"query", "header", "cookie"}:
            node["x-in"] = place
        if (shown := _example_of(document, parameter)) is not None:
            example[name] = shown
        properties[name] = node
        if parameter.get("required") is True or place == "path":
            required.append(name)
    body = resolve(document, operation.get("requestBody"))
    if isinstance(body, Mapping):
        media = _media(document, body.get("content"))
        if media is not None:
            _add_body(document, media.get("schema"), body, properties, required)
            shown = _example_of(document, media)
            if isinstance(shown, Mapping):
                recorded.append(canonical_json({**example, **shown}))
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = sorted(set(required), key=required.index)
    if not recorded and example and set(required) <= set(example):
        recorded.append(canonical_json(example))
    return with_order(schema), [text for text in recorded if len(text) <= _MAX_EXAMPLE_CHARACTERS]


def _schema_of_parameter(document: Mapping[str, Any], parameter: Mapping[str, Any]) -> Any:
    if "schema" in parameter:
        return parameter["schema"]
    media = _media(document, parameter.get("content"))
    if media is not None:
        return media.get("schema", {})
    # Swagger 2 writes the type beside the name
    kept = ("type", "format", "enum", "default", "items", "minimum", "maximum", "minLength", "maxLength", "pattern")
    return {key: parameter[key] for key in kept if key in parameter}


def _add_body(
    document: Mapping[str, Any], schema: Any, body: Mapping[str, Any], properties: dict[str, Any], required: list[str]
) -> None:
    expanded = schema_in(document, schema)
    if expanded.get("type", "object") == "object" and expanded.get("properties"):
        for name, node in expanded["properties"].items():
            properties.setdefault(name, node)
        if body.get("required") is True or "requestBody" not in body:
            required += [name for name in expanded.get("required", ()) if name in expanded["properties"]]
        return
    if description := _words(body.get("description")):
        expanded.setdefault("description", cut(description, 4000))
    properties.setdefault("body", expanded)
    if body.get("required") is True:
        required.append("body")


def _media(document: Mapping[str, Any], content: Any) -> Mapping[str, Any] | None:
    """The JSON representation of a body where there is one, else the first."""
    if not isinstance(content, Mapping) or not content:
        return None
    kinds = sorted(content, key=lambda kind: (str(kind).split(";")[0] != "application/json", "json" not in str(kind)))
    chosen = resolve(document, content[kinds[0]])
    return chosen if isinstance(chosen, Mapping) else None


def _example_of(document: Mapping[str, Any], holder: Mapping[str, Any]) -> Any:
    if "example" in holder:
        return holder["example"]
    examples = holder.get("examples")
    if isinstance(examples, Mapping):
        for entry in examples.values():
            entry = resolve(document, entry)
            if isinstance(entry, Mapping) and "value" in entry:
                return entry["value"]
    schema = resolve(document, holder.get("schema"))
    return schema.get("example") if isinstance(schema, Mapping) else None


def _responses(document: Mapping[str, Any], responses: Any) -> tuple[dict[str, Any], tuple[ApiError, ...], str]:
    """The schema of the first success, the documented failures, and a recorded success ("" when there is none)."""
    if not isinstance(responses, Mapping):
        return {}, (), ""
    returns: dict[str, Any] = {}
    output = ""
    errors: list[ApiError] = []
    for status, entry in sorted(responses.items(), key=lambda pair: str(pair[0])):
        entry = resolve(document, entry)
        if not isinstance(entry, Mapping):
            continue
        description = _words(entry.get("description"))
        if str(status).startswith("2"):
            if returns:
                continue
            media = _media(document, entry.get("content")) or {key: entry[key] for key in ("schema",) if key in entry}
            returns = schema_in(document, media.get("schema")) if media.get("schema") is not None else {}
            if description:
                returns.setdefault("description", description)
            shown = _example_of(document, media)
            swagger = entry.get("examples")
            if shown is None and isinstance(swagger, Mapping):
                shown = swagger.get("application/json")
            text = "" if shown is None else shown if isinstance(shown, str) else canonical_json(shown)
            output = text if len(text) <= _MAX_EXAMPLE_CHARACTERS else ""
        elif not str(status).startswith(("1", "3")):
            errors.append(ApiError(str(status), cut(description, 600)))
    return returns, tuple(errors), output


def _auth(document: Mapping[str, Any], operation: Mapping[str, Any]) -> str:
    """ "none", or the names of the security schemes of which one suffices: "api_key or oauth2"."""
    stated = operation.get("security", document.get("security"))
    if not isinstance(stated, Sequence) or isinstance(stated, str):
        return ""
    choices = [" and ".join(sorted(map(str, entry))) for entry in stated if isinstance(entry, Mapping)]
    return " or ".join(choice or "none" for choice in choices) or "none"
