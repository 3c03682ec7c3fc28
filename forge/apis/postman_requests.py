"""One request of a Postman collection as data: method, address, and what goes with it, whatever version wrote it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal
from urllib.parse import parse_qsl

import orjson
from graphql import GraphQLError, OperationDefinitionNode, parse, print_ast

from forge.apis.descriptions import description_text, plain_text

Place = Literal["path", "query", "header", "body"]

_MAX_URL = 4000
_MAX_ENTRIES = 500
_MAX_BODY = 1_000_000
_MAX_LEVELS = 6
_MAX_WIDTH = 200
_MAX_EXAMPLE = 200
_MAX_TOKENS = 20_000
_VARIABLE = re.compile(r"\{\{\s*([^{}]{1,200}?)\s*\}\}")
_BARE_VARIABLE = re.compile(r'(?<!["\w])\{\{[^{}]{1,200}\}\}(?!["\w])')
_ADDRESS = re.compile(r"(?:(?P<scheme>[A-Za-z][\w+.-]*)://)?(?P<host>[^/]*)(?P<path>/.*)?$", re.DOTALL)
_PLACEHOLDER = re.compile(
    r"<(?P<type>string|integer|number|boolean|long|float|double|date|dateTime|uuid|[\w -]{1,40})>$"
)
_REQUIRED = re.compile(r"\(?required\)?[.:,]?\s+", re.IGNORECASE)
_TYPES = {"integer": "integer", "long": "integer", "number": "number", "float": "number", "double": "number",
          "boolean": "boolean", "string": "string"}  # fmt: skip
_GRAPHQL_TYPES = {"Int": "integer", "Float": "number", "String": "string", "ID": "string", "Boolean": "boolean"}
_COMMON_HEADERS = frozenset({
    "accept", "accept-encoding", "accept-language", "authorization", "cache-control", "connection", "content-length",
    "content-type", "cookie", "host", "origin", "postman-token", "referer", "user-agent",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Parameter:
    """``value`` is what the request passes, None where it passes nothing that is known."""

    name: str
    place: Place
    schema: Mapping[str, Any]
    required: bool = False
    value: Any = None


@dataclass(frozen=True, slots=True)
class Request:
    """``host`` is "" where only a variable says it; ``path`` is a template; ``operation`` names a GraphQL operation, of
    which ``query`` is the text."""

    method: str
    scheme: str
    host: str
    path: str
    parameters: tuple[Parameter, ...]
    operation: str = ""
    query: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether the request itself says what is required, and all that it passes in its body."""
        needed = [one for one in self.parameters if one.required or (one.place == "body" and not self.operation)]
        return all(one.value is not None for one in needed)


def request_of(stated: Any, variables: Mapping[str, str], name: str) -> Request | None:
    """None for what is no request: an object without an address, or with one that is none."""
    if isinstance(stated, str):
        stated = {"url": stated}
    if not isinstance(stated, dict):
        return None
    method = str(stated.get("method") or "GET").strip().upper()
    if not re.fullmatch(r"[A-Z]{1,20}", method):
        return None
    raw = _raw_url(stated.get("url"))
    if not raw:
        return None
    scheme, host, path = _address(raw, variables)
    operation, query, body = _body(stated.get("body"), name)
    parameters = [*_path_parameters(path, stated.get("url")), *_query(stated.get("url"), raw), *_headers(stated), *body]
    return Request(method, scheme, host, path, tuple(parameters[:_MAX_ENTRIES]), operation, query)


# --- address ------------------------------------------------------------------------------------------------------


def _raw_url(url: Any) -> str:
    if isinstance(url, str):
        raw = url
    elif isinstance(url, dict):
        raw = url["raw"] if isinstance(url.get("raw"), str) and url["raw"].strip() else _assembled(url)
    else:
        raw = ""
    raw = "".join(plain_text(raw).split())
    return raw if len(raw) <= _MAX_URL else ""


def _assembled(url: Mapping[str, Any]) -> str:
    """Of its parts: protocol, host and path, the latter two as text or as lists of segments."""
    host, path = (_joined(url.get(key), mark) for key, mark in (("host", "."), ("path", "/")))
    if not host and not path:
        return ""
    protocol = url.get("protocol")
    start = f"{protocol}://" if isinstance(protocol, str) and protocol and host else ""
    return f"{start}{host}/{path.lstrip('/')}"


def _joined(stated: Any, mark: str) -> str:
    if isinstance(stated, str):
        return stated
    segments = stated[:_MAX_ENTRIES] if isinstance(stated, list) else []
    words = [segment.get("value") if isinstance(segment, dict) else segment for segment in segments]
    return mark.join(word for word in words if isinstance(word, str))


def _address(raw: str, variables: Mapping[str, str]) -> tuple[str, str, str]:
    """Scheme, host ("" when it is a variable) and path template. A variable at the beginning is the address of the API:
    what the collection says it is counts."""
    address = re.split(r"[?#]", raw, maxsplit=1)[0]
    if (leading := _VARIABLE.match(address)) and (known := variables.get(leading[1], "")):
        address = re.split(r"[?#]", known, maxsplit=1)[0].rstrip("/") + address[leading.end() :]
    match = _ADDRESS.match(address)
    scheme, host, path = (match["scheme"] or "", match["host"], match["path"] or "") if match else ("", "", address)
    if not scheme and host and not _VARIABLE.match(host) and not re.search(r"[.:]|^localhost$", host):
        host, path = "", f"/{host}{path}"  # a path that does not begin with its slash
    return scheme.lower(), _concrete(host), _template(path)


def _concrete(host: str) -> str:
    name = host.rpartition("@")[2].lower()
    name = re.sub(r":\d*$", "", name)
    if "{" in name or ":" in name or "." not in name or not re.fullmatch(r"[a-z0-9.-]{3,200}", name):
        return ""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name
    return ""


def _template(path: str) -> str:
    path = _VARIABLE.sub(r"{\1}", path)
    path = re.sub(r"/:([^/:{}]+)", r"/{\1}", path)
    return re.sub(r"/{2,}", "/", f"/{path}")


def _path_parameters(path: str, url: Any) -> Iterator[Parameter]:
    """Every place of the template, and what the request says of it."""
    stated = url.get("variable") if isinstance(url, dict) else None
    told: dict[str, dict[str, Any]] = {}
    for entry in _entries(stated):
        for key in (entry.get("key"), entry.get("id")):
            if isinstance(key, str):
                told.setdefault(key, entry)
    for name in dict.fromkeys(re.findall(r"\{([^{}/]+)\}", path)):
        entry = told.get(name, {})
        schema, _ = _said(entry)
        yield Parameter(name, "path", schema, required=True, value=_known(entry.get("value")))


def _query(url: Any, raw: str) -> Iterator[Parameter]:
    stated = url.get("query") if isinstance(url, dict) else None
    if not isinstance(stated, list):
        query = raw.partition("?")[2].partition("#")[0]
        try:
            pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_ENTRIES)
        except ValueError:
            pairs = []
        stated = [{"key": key, "value": value} for key, value in pairs]
    yield from _listed(stated, "query")


def _headers(request: Mapping[str, Any]) -> Iterator[Parameter]:
    """Those of the API's own: what a client sends anyway is left out."""
    stated = request.get("header")
    if isinstance(stated, str):  # version 1: one text
        lines = [text.partition(":") for text in stated.split("\n")[:_MAX_ENTRIES]]
        stated = [{"key": name.strip(), "value": value.strip()} for name, _, value in lines]
    for parameter in _listed(stated, "header"):
        if parameter.name.lower() not in _COMMON_HEADERS:
            yield parameter


def _listed(stated: Any, place: Place) -> Iterator[Parameter]:
    """Of a list of ``{key, value, description, disabled}``."""
    for entry in _entries(stated):
        key = entry.get("key")
        name = " ".join(plain_text(key).split()) if isinstance(key, str) else ""
        if not name or len(name) > _MAX_EXAMPLE or "{{" in name:
            continue
        schema, required = _said(entry)
        value = None if entry.get("disabled") is True else _known(entry.get("value"))
        yield Parameter(name, place, schema, required, value)


def _entries(stated: Any) -> Iterator[dict[str, Any]]:
    for entry in stated[:_MAX_ENTRIES] if isinstance(stated, list) else ():
        if isinstance(entry, dict):
            yield entry


def _said(entry: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """The schema of a value by an entry, and whether its description says that it is required."""
    said = text_of_description(entry.get("description"))
    necessity = _REQUIRED.match(said)
    said = said[necessity.end() :] if necessity else said
    schema: dict[str, Any] = {"description": said} if said else {}
    value = entry.get("value")
    if entry.get("type") == "file":
        return {**schema, "type": "string", "format": "binary"}, necessity is not None
    placeholder = _PLACEHOLDER.match(value) if isinstance(value, str) else None
    if placeholder:
        kind = _TYPES.get(placeholder["type"])
        return ({**schema, "type": kind} if kind else schema), necessity is not None
    known = _known(value)
    if isinstance(known, str | int | float | bool) and len(str(known)) <= _MAX_EXAMPLE:
        schema["example"] = known
    return schema, necessity is not None


def _known(value: Any) -> Any:
    """A value that stands in the request itself: no variable, no placeholder, not empty."""
    if isinstance(value, str):
        text = plain_text(value)
        return None if not text or _VARIABLE.search(text) or _PLACEHOLDER.match(text) else text
    return value if isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 2**63) else None


def text_of_description(stated: Any) -> str:
    """A text, or ``{"content": text}``."""
    return description_text(stated.get("content") if isinstance(stated, dict) else stated)


# --- body ---------------------------------------------------------------------------------------------------------


def _body(stated: Any, name: str) -> tuple[str, str, list[Parameter]]:
    """Name and text of a body's GraphQL operation, "" where it is none, and what the body passes."""
    if not isinstance(stated, dict) or stated.get("disabled") is True:
        return "", "", []
    if stated.get("mode") == "graphql":
        return _graphql_body(stated.get("graphql"), name)
    return "", "", _plain_body(stated)


def _plain_body(stated: Mapping[str, Any]) -> list[Parameter]:
    mode = stated.get("mode")
    if mode in ("urlencoded", "formdata"):  # no set: it need not be hashable
        return list(_listed(stated.get(mode), "body"))
    if mode == "file":
        return [Parameter("body", "body", {"type": "string", "format": "binary"})]
    raw = stated.get("raw")
    if not isinstance(raw, str) or not raw.strip() or len(raw) > _MAX_BODY:
        return []
    value = _json(raw)
    if isinstance(value, dict):
        fields = islice(value.items(), _MAX_ENTRIES)
        return [
            Parameter(plain_text(name), "body", schema_of(inner), value=_concretised(inner)) for name, inner in fields
        ]
    if value is not None:
        return [Parameter("body", "body", schema_of(value), value=_concretised(value))]
    return [Parameter("body", "body", {"type": "string"}, value=_known(raw[:_MAX_URL]))]


def _json(text: str) -> Any:
    """JSON in which variables may stand where values do; None for what is none."""
    for written in (text, _BARE_VARIABLE.sub("null", text)):
        try:
            return orjson.loads(written)
        except orjson.JSONDecodeError:
            continue
    return None


def schema_of(value: Any, levels: int = _MAX_LEVELS) -> dict[str, Any]:
    """The type of a recorded value; a list is of what its first member is."""
    if isinstance(value, dict):
        if not levels:
            return {"type": "object"}
        members = islice(value.items(), _MAX_WIDTH)
        return {
            "type": "object",
            "properties": {plain_text(key): schema_of(inner, levels - 1) for key, inner in members},
        }
    if isinstance(value, list):
        return {"type": "array", "items": schema_of(value[0], levels - 1)} if value and levels else {"type": "array"}
    if isinstance(value, bool):
        return {"type": "boolean", "example": value}
    if isinstance(value, int):
        return {"type": "integer", **({"example": value} if abs(value) < 2**63 else {})}
    if isinstance(value, float):
        return {"type": "number", "example": value}
    if isinstance(value, str):
        schema, _ = _said({"value": value})
        return {"type": "string", **schema}
    return {}


def _concretised(value: Any, levels: int = 60) -> Any:
    """The value when all in it is known, else None."""
    if isinstance(value, dict | list):
        if not value or not levels:
            return None
        members = value.values() if isinstance(value, dict) else value
        return value if all(_concretised(member, levels - 1) is not None for member in members) else None
    return _known(value)


def _graphql_body(stated: Any, name: str) -> tuple[str, str, list[Parameter]]:
    """The operation of a query and its variables."""
    query = stated.get("query") if isinstance(stated, dict) else None
    fallback = re.sub(r"\W+", "_", name).strip("_")[:100] or "operation"
    if not isinstance(query, str):
        return fallback, "", []
    written = stated.get("variables")
    values = _json(written) if isinstance(written, str) and len(written) <= _MAX_BODY else written
    values = values if isinstance(values, dict) else {}
    try:
        document = parse(query, no_location=True, max_tokens=_MAX_TOKENS)
        operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
        definitions = [
            (node.variable.name.value, print_ast(node.type), node.default_value is None)
            for node in (operations[0].variable_definitions if operations else None) or ()
        ]
    except (GraphQLError, RecursionError):
        return fallback, "", [Parameter(plain_text(key), "body", schema_of(inner)) for key, inner in values.items()]
    named = operations[0].name.value if operations and operations[0].name else fallback
    return (
        named,
        plain_text(query).strip()[:_MAX_URL],
        [
            Parameter(
                variable,
                "body",
                {
                    "x-type": type_,
                    **({"type": _GRAPHQL_TYPES[bare]} if (bare := type_.rstrip("!")) in _GRAPHQL_TYPES else {}),
                },
                required=type_.endswith("!") and no_default,
                value=_concretised(values.get(variable)),
            )
            for variable, type_, no_default in definitions
        ],
    )
