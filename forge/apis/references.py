"""References inside one JSON document (RFC 6901 pointers in ``$ref``), and JSON Schemas freed of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from forge.text.markup import cut, first_sentence, text_of

_MAX_HOPS = 16
_MAX_DEPTH = 6
_MAX_NODES = 200
_MAX_ENUM = 100
_COPIED = (
    "type", "format", "default", "example", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
    "minLength", "maxLength", "pattern", "minItems", "maxItems", "uniqueItems", "title", "deprecated", "nullable",
    "readOnly", "const",
)  # fmt: skip


class ReferenceError_(ValueError):  # noqa: N801  (ReferenceError is a builtin)
    """A reference that leads nowhere, out of the document, or round in a circle."""


def at_pointer(document: Any, reference: str) -> Any:
    """What ``#/a/b~1c/0`` points at: ``~1`` is "/", ``~0`` is "~", ``%7B`` is "{"; numbers index arrays.

    Raises :class:`ReferenceError_` for another document, a wrong escape or a place that does not exist.
    """
    if not reference.startswith("#"):
        raise ReferenceError_(f"reference to another document: {cut(reference, 200)}")
    pointer = unquote(reference[1:])
    if pointer in {"", "/"} and reference in {"#", ""}:
        return document
    if not pointer.startswith("/"):
        raise ReferenceError_(f"no JSON pointer: {cut(reference, 200)}")
    place = document
    for token in pointer[1:].split("/"):
        key = token.replace("~1", "/").replace("~0", "~")
        if isinstance(place, Mapping) and key in place:
            place = place[key]
        elif isinstance(place, Mapping) and key.isdecimal() and int(key[:9]) in place and len(key) <= 9:
            place = place[int(key)]  # YAML reads response codes as numbers
        elif (
            isinstance(place, Sequence)
            and not isinstance(place, str)
            and key.isascii()
            and key.isdecimal()
            and len(key) <= 9
            and int(key) < len(place)
        ):
            place = place[int(key)]
        else:
            raise ReferenceError_(f"reference to nothing: {cut(reference, 200)}")
    return place


def resolve(document: Any, value: Any) -> Any:
    """``value``, or what its ``$ref`` finally stands for. Raises :class:`ReferenceError_`, also for a circle."""
    for _ in range(_MAX_HOPS):
        if not isinstance(value, Mapping) or not isinstance(value.get("$ref"), str):
            return value
        value = at_pointer(document, value["$ref"])
    raise ReferenceError_("a reference that goes round in a circle")


def schema_in(document: Any, schema: Any) -> dict[str, Any]:
    """A self-contained JSON Schema: references expanded, ``allOf`` merged, breadth first within 6 levels and 200
    sub-schemas; a schema inside itself is cut to its type. A reference to nothing gives ``{}`` at its place."""
    root: dict[str, Any] = {}
    nodes = 0
    queue: deque[tuple[Any, dict[str, Any], tuple[int, ...]]] = deque([(schema, root, ())])
    while queue:
        raw, target, inside = queue.popleft()
        nodes += 1
        queue.extend(_fill(document, raw, target, inside, room=nodes + len(queue) < _MAX_NODES))
    return root


def _fill(
    document: Any, raw: Any, target: dict[str, Any], inside: tuple[int, ...], room: bool
) -> list[tuple[Any, dict[str, Any], tuple[int, ...]]]:
    merged = _flattened(document, raw, 0)
    if merged is None:
        return []
    node, identity = merged
    for keyword in _COPIED:
        if keyword in node and (keyword in target or _is_plain(node[keyword])):
            target.setdefault(keyword, node[keyword])
    if isinstance(node.get("enum"), list):
        target["enum"] = [value for value in node["enum"][:_MAX_ENUM] if _is_plain(value)]
    if isinstance(node.get("description"), str) and "description" not in target:
        text = text_of(node["description"]) if "</" in node["description"] else node["description"].strip()
        if text:
            target["description"] = cut(text, 4000) if len(inside) <= 1 else first_sentence(text)
    if identity in inside or len(inside) >= _MAX_DEPTH or (not room and inside):
        return []
    deeper = (*inside, identity)
    following: list[tuple[Any, dict[str, Any], tuple[int, ...]]] = []
    properties = node.get("properties")
    if isinstance(properties, Mapping) and properties:
        target["type"] = "object"
        target["properties"] = {str(name): {} for name in properties}
        following += [(child, target["properties"][str(name)], deeper) for name, child in properties.items()]
        required = node.get("required")
        if isinstance(required, list):
            target["required"] = [name for name in required if isinstance(name, str) and name in target["properties"]]
    for keyword in ("items", "additionalProperties"):
        if isinstance(node.get(keyword), Mapping) and node[keyword]:
            target[keyword] = {}
            following.append((node[keyword], target[keyword], deeper))
    for keyword in ("oneOf", "anyOf"):
        if isinstance(node.get(keyword), list) and node[keyword]:
            target[keyword] = [{} for _ in node[keyword][:8]]
            following += [(child, place, deeper) for child, place in zip(node[keyword], target[keyword], strict=False)]
    return following


def _flattened(document: Any, raw: Any, depth: int) -> tuple[dict[str, Any], int] | None:
    """A schema with its reference followed and its ``allOf`` parts merged into it, and what identifies it: the object
    that the document holds."""
    try:
        found = resolve(document, raw)
    except ReferenceError_:
        return None
    if not isinstance(found, Mapping) or depth > _MAX_DEPTH:
        return None
    parts = found.get("allOf")
    node = dict(found)
    if isinstance(raw, Mapping) and raw is not found and isinstance(raw.get("description"), str):
        node["description"] = raw["description"]  # OpenAPI 3.1 lets a reference say more
    if not isinstance(parts, list):
        return node, id(found)
    for part in parts[:32]:
        merged = _flattened(document, part, depth + 1)
        if merged is None:
            continue
        for keyword, value in merged[0].items():
            if keyword == "properties" and isinstance(value, Mapping):
                own = node.get("properties")
                node["properties"] = {**value, **(own if isinstance(own, Mapping) else {})}
            elif keyword == "required" and isinstance(value, list):
                own = node.get("required")
                node["required"] = [*(own if isinstance(own, list) else []), *value]
            elif keyword != "allOf":
                node.setdefault(keyword, value)
    return node, id(found)


def _is_plain(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= 2000
    return (
        value is None
        or isinstance(value, bool | float)
        or (isinstance(value, int) and abs(value) < 2**63)
        or (
            isinstance(value, list)
            and len(value) <= 20
            and all(isinstance(item, str | int | float | bool) for item in value)
        )
    )
