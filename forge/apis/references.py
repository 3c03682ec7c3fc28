"""References inside one JSON document (RFC 6901 pointers in ``$ref``), and JSON Schemas freed of them.

Why not the library ``referencing``: it looks 900,000 references up (the whole OpenAPI directory) in more time than the
whole reading may take; ``python -m benchmarks.parse_apis`` measures both.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import unquote

from forge.apis.descriptions import plain_text
from forge.text.markup import cut, first_sentence

_MAX_HOPS = 16
_MAX_DEPTH = 6
_MAX_NODES = 200
_MAX_WIDTH = 1000
_MAX_PARTS = 64
_MAX_CHOICES = 8
_MAX_ENUM = 100
_MAX_KEPT_NODES = 200_000
_NODE_WEIGHT = 100
_MAX_DESCRIPTION = 4000
_COPIED = frozenset({
    "format", "default", "example", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
    "minLength", "maxLength", "pattern", "minItems", "maxItems", "uniqueItems", "title", "deprecated", "nullable",
    "readOnly", "writeOnly", "const", "minProperties", "maxProperties",
})  # fmt: skip
_STRUCTURE = frozenset({"properties", "items", "additionalProperties", "oneOf", "anyOf", "prefixItems"})
_BESIDE_REFERENCE = ("description", "default", "deprecated", "nullable", "readOnly", "writeOnly", "title")


class ReferenceError_(ValueError):  # noqa: N801  (ReferenceError is a builtin)
    """A reference that leads nowhere, out of the document, or round in a circle."""


def at_pointer(document: Any, reference: str) -> Any:
    """What ``#/a/b~1c/0`` points at: ``~1`` is "/", ``~0`` is "~", ``%7B`` is "{"; numbers index arrays.

    Raises :class:`ReferenceError_` for another document, a wrong escape or a place that does not exist.
    """
    if not reference.startswith("#"):
        raise ReferenceError_(f"reference to another document: {cut(reference, 200)}")
    pointer = unquote(reference[1:]) if "%" in reference else reference[1:]
    if not pointer:
        return document
    if not pointer.startswith("/"):
        raise ReferenceError_(f"no JSON pointer: {cut(reference, 200)}")
    place = document
    for key in pointer[1:].split("/"):
        if "~" in key:
            key = key.replace("~1", "/").replace("~0", "~")
        if isinstance(place, dict) and key in place:
            place = place[key]
        elif isinstance(place, list) and _is_index(key) and int(key) < len(place):
            place = place[int(key)]
        else:
            raise ReferenceError_(f"reference to nothing: {cut(reference, 200)}")
    return place


def _is_index(key: str) -> bool:
    return key.isascii() and key.isdecimal() and len(key) <= 9


class References:
    """The references of one document; each is looked up once."""

    def __init__(self, document: Any) -> None:
        self._document = document
        self._found: dict[str, Any] = {}

    def resolve(self, value: Any) -> Any:
        """``value``, or what its ``$ref`` finally stands for. Raises :class:`ReferenceError_`, also for a circle."""
        for _ in range(_MAX_HOPS):
            if not isinstance(value, dict):
                return value
            reference = value.get("$ref")
            if not isinstance(reference, str):
                return value
            if reference not in self._found:
                self._found[reference] = at_pointer(self._document, reference)
            value = self._found[reference]
        raise ReferenceError_("a reference that goes round in a circle")


def resolve(document: Any, value: Any) -> Any:
    """``value``, or what its ``$ref`` finally stands for. Raises :class:`ReferenceError_`, also for a circle."""
    return References(document).resolve(value)


def schema_in(document: Any, schema: Any) -> dict[str, Any]:
    """One schema as :meth:`SchemaExpander.expand` writes it; for many of one document keep an expander."""
    return SchemaExpander(References(document)).expand(schema)


@dataclass(slots=True)
class _Node:
    """One schema object of the document, read once.

    ``plain`` is what is copied as it is; ``text`` its description and ``brief`` the first sentence of it (None: not yet
    asked for); ``identity`` tells whether a schema stands inside itself; ``name`` is the last word of the reference
    that led here.
    """

    raw: Any  # keeps the object alive, so that its id stays its own
    plain: dict[str, Any]
    text: str
    brief: str | None
    identity: int
    name: str
    properties: list[tuple[str, Any]] | None
    required: list[str]
    single: list[tuple[str, Any]]  # keyword -> one schema
    several: list[tuple[str, list[Any]]]  # keyword -> a list of schemas
    is_leaf: bool


class SchemaExpander:
    """Self-contained JSON Schemas of one document.

    References are expanded and ``allOf`` merged, breadth first within 6 levels and about 200 sub-schemas (every
    property of the first level is always there, up to 1,000); a schema inside itself, or below the last level, is cut
    to its type, with the name of its schema as title. A reference to nothing gives ``{}`` at its place. Descriptions
    below the first level are cut to their first sentence. The result is shared: whoever changes it copies it first.
    """

    def __init__(self, references: References) -> None:
        self._references = references
        self._nodes: dict[int, _Node | None] = {}
        self._expanded: dict[str, tuple[dict[str, Any], int]] = {}
        self._expanded_nodes = 0

    def expand(self, schema: Any) -> dict[str, Any]:
        return self.weighed(schema)[0]

    def weighed(self, schema: Any) -> tuple[dict[str, Any], int]:
        """The expanded schema, and about how many characters it will have as JSON. Only what a bare reference stands
        for is kept: a schema that is written in its place is not met again."""
        reference = schema.get("$ref") if isinstance(schema, dict) and len(schema) == 1 else None
        if not isinstance(reference, str):
            expanded, _, weight = self._expand(schema)
            return expanded, weight
        found = self._expanded.get(reference)
        if found is None:
            expanded, count, weight = self._expand(schema)
            self._expanded_nodes += count
            if self._expanded_nodes > _MAX_KEPT_NODES:
                self._expanded.clear()
                self._expanded_nodes = count
            found = self._expanded[reference] = (expanded, weight)
        return found

    def _expand(self, schema: Any) -> tuple[dict[str, Any], int, int]:
        root: dict[str, Any] = {}
        weight = 0
        queue: list[tuple[Any, dict[str, Any], tuple[int, ...]]] = [(schema, root, ())]
        for raw, target, inside in queue:  # grows while it is walked
            node = self._nodes.get(id(raw)) or self._read(raw)
            if node is None:
                continue
            target.update(node.plain)
            depth = len(inside)
            if node.text:
                if depth <= 1:
                    text = node.text
                elif node.brief is None:
                    text = node.brief = first_sentence(node.text)
                else:
                    text = node.brief
                target["description"] = text
                weight += len(text)
            if node.is_leaf:
                continue
            is_repeated = bool(node.name) and node.identity in inside  # without a reference nothing stands in itself
            if is_repeated or depth >= _MAX_DEPTH or (depth and len(queue) >= _MAX_NODES):
                if node.name:
                    target.setdefault("title", node.name)
                continue
            _add_children(node, target, (*inside, node.identity), queue)
        return root, len(queue), weight + _NODE_WEIGHT * len(queue)

    def _read(self, raw: Any) -> _Node | None:
        if len(self._nodes) >= _MAX_KEPT_NODES:
            self._nodes.clear()
        node = self._nodes[id(raw)] = self._node(raw)
        return node

    def _node(self, raw: Any) -> _Node | None:
        if not isinstance(raw, dict):
            return None
        try:
            found = self._references.resolve(raw)
        except ReferenceError_:
            return None
        if not isinstance(found, dict):
            return None
        part = _Part(found, found, "" if raw is found else raw["$ref"])
        merged = found
        if "allOf" in found or "oneOf" in found or "anyOf" in found:
            parts: list[_Part] = []
            self._collect(part, parts, set(), 0)
            merged = _merged(parts)
            structured = [inner for inner in parts if not _STRUCTURE.isdisjoint(inner.own)]
            if len(structured) == 1:  # a schema with words around it is still that schema
                part = structured[0]
        if raw is not found:
            stated = {key: raw[key] for key in _BESIDE_REFERENCE if key in raw}
            if stated:  # OpenAPI 3.1 lets a reference say more
                merged = {**merged, **stated}
        return _node_of(raw, merged, id(part.schema), part.name)

    def _collect(self, part: _Part, parts: list[_Part], seen: set[int], depth: int) -> None:
        """Appends the parts of a schema, innermost first, the schema itself last. A choice of one is a part, and a
        choice between something and null is that thing, nullable."""
        schema = part.schema
        if id(schema) in seen or depth > _MAX_DEPTH or len(parts) >= _MAX_PARTS:
            return
        seen.add(id(schema))
        stated = schema.get("allOf")
        inner = stated[:_MAX_PARTS] if isinstance(stated, list) else []
        for keyword in ("oneOf", "anyOf"):
            choices = schema.get(keyword)
            if not isinstance(choices, list):
                continue
            kept = [choice for choice in choices if not _is_null(choice)]
            if len(kept) == 1:
                inner = [*inner, *kept]
                own = {key: value for key, value in part.own.items() if key != keyword}
                if len(kept) < len(choices):
                    own["nullable"] = True
                part = _Part(schema, own, part.reference)
        for stated in inner:
            try:
                found = self._references.resolve(stated)
            except ReferenceError_:
                continue
            if isinstance(found, dict):
                reference = "" if stated is found else stated["$ref"]
                self._collect(_Part(found, found, reference), parts, seen, depth + 1)
        parts.append(part)


@dataclass(frozen=True, slots=True)
class _Part:
    """A schema object of the document, what of it is not in other parts, and the reference that led to it."""

    schema: dict[str, Any]
    own: dict[str, Any]
    reference: str

    @property
    def name(self) -> str:
        return cut(plain_text(unquote(self.reference.rpartition("/")[2])), 100) if self.reference else ""


def _merged(parts: list[_Part]) -> dict[str, Any]:
    """One schema that says what all parts say; a later one counts more."""
    result: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    required: list[Any] = []
    for part in parts:
        for keyword, value in part.own.items():
            if keyword == "properties" and isinstance(value, dict):
                properties.update(value)
            elif keyword == "required" and isinstance(value, list):
                required += value
            else:
                result[keyword] = value
    if properties:
        result["properties"] = properties
    if required:
        result["required"] = required
    return result


def _is_null(schema: Any) -> bool:
    """Says only "or null": OpenAPI 3.1's ``{"type": "null"}``, and how 3.0 writes it."""
    if not isinstance(schema, dict):
        return False
    return schema.get("type") == "null" or (schema.get("nullable") is True and schema.keys() <= {"type", "nullable"})


def _node_of(raw: Any, schema: dict[str, Any], identity: int, name: str) -> _Node:
    plain: dict[str, Any] = {}
    text = ""
    properties: dict[str, Any] | None = None
    single: list[tuple[str, Any]] = []
    several: list[tuple[str, list[Any]]] = []
    for keyword, value in schema.items():
        if keyword in _COPIED:
            if _is_plain(value):
                plain[keyword] = value
        elif keyword == "type":
            if isinstance(value, str) or (isinstance(value, list) and value and all(map(_is_text, value))):
                plain["type"] = value
        elif keyword == "description":
            if isinstance(value, str):
                text = cut(plain_text(value), _MAX_DESCRIPTION)
        elif keyword == "enum":
            if isinstance(value, list):
                plain["enum"] = [member for member in value[:_MAX_ENUM] if _is_plain(member)]
        elif keyword == "properties":
            if isinstance(value, dict) and value:
                properties = value if len(value) <= _MAX_WIDTH else dict(islice(value.items(), _MAX_WIDTH))
        elif keyword in {"items", "additionalProperties"}:
            if isinstance(value, dict) and value:
                single.append((keyword, value))
        elif keyword in {"oneOf", "anyOf", "prefixItems"}:
            if isinstance(value, list) and value:
                several.append((keyword, value[:_MAX_CHOICES]))
        elif keyword == "examples" and isinstance(value, list) and value and _is_plain(value[0]):
            plain.setdefault("example", value[0])
    kind = plain.get("type")
    if properties is not None and kind is not None and "object" not in (kind if isinstance(kind, list) else [kind]):
        properties = None  # a text has none, whatever the document says
    if properties is not None:
        plain.setdefault("type", "object")
    elif "type" not in plain and any(keyword == "items" for keyword, _ in single):
        plain["type"] = "array"
    stated = schema.get("required")
    required: list[str] = []
    if properties is not None and isinstance(stated, list):
        required = [plain_text(name) for name in dict.fromkeys(filter(_is_text, stated)) if name in properties]
    listed = None if properties is None else [(plain_text(name), child) for name, child in properties.items()]
    is_leaf = properties is None and not single and not several
    return _Node(raw, plain, text, None, identity, name, listed, required, single, several, is_leaf)


def _add_children(
    node: _Node,
    target: dict[str, Any],
    inside: tuple[int, ...],
    queue: list[tuple[Any, dict[str, Any], tuple[int, ...]]],
) -> None:
    if node.properties is not None:
        properties: dict[str, Any] = {}
        for name, child in node.properties:
            place: dict[str, Any] = {}
            properties[name] = place
            queue.append((child, place, inside))
        target["properties"] = properties
        if node.required:
            target["required"] = node.required
    for keyword, child in node.single:
        place = target[keyword] = {}
        queue.append((child, place, inside))
    for keyword, children in node.several:
        places: list[dict[str, Any]] = [{} for _ in children]
        target[keyword] = places
        queue += [(child, place, inside) for child, place in zip(children, places, strict=True)]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


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
