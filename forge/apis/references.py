"""References inside one JSON document (RFC 6901 pointers in ``$ref``), and JSON Schemas freed of them.

The library ``referencing`` looks a reference up in some 10 microseconds. A large document repeats few references many
times, so each is looked up once (``python -m benchmarks.parse_apis --only references`` measures what that saves).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import unquote

from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from forge.apis.descriptions import description_text, plain_text
from forge.text.markup import cut, first_sentence

_HERE = "urn:document"
_NEGATIVE = re.compile(r"/-\d")
_MAX_POINTER_CHARACTERS = 2000
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


class References:
    """The references of one document: looked up by ``referencing``, each once."""

    def __init__(self, document: Any) -> None:
        resource = DRAFT202012.create_resource(document)
        self._resolver = Registry().with_resource(_HERE, resource).resolver(_HERE)
        self._found: dict[str, Any] = {}

    def at(self, reference: str) -> Any:
        """What ``#/a/b~1c/0`` points at: ``~1`` is "/", ``~0`` is "~", ``%7B`` is "{"; numbers index arrays.

        Raises :class:`ReferenceError_` for another document, an anchor or a place that does not exist.
        """
        if reference not in self._found:
            self._found[reference] = self._look_up(reference)
        return self._found[reference]

    def _look_up(self, reference: str) -> Any:
        told = cut(reference, 200)
        if not reference.startswith("#"):
            raise ReferenceError_(f"reference to another document: {told}")
        # An anchor would be searched for in the whole document; a negative index counts from the end in Python alone.
        is_pointer = reference == "#" or (reference.startswith("#/") and not _NEGATIVE.search(reference))
        if not is_pointer or len(reference) > _MAX_POINTER_CHARACTERS:
            raise ReferenceError_(f"no JSON pointer: {told}")
        try:
            return self._resolver.lookup(reference).contents
        except (Unresolvable, LookupError, ValueError, TypeError):
            raise ReferenceError_(f"reference to nothing: {told}") from None

    def resolve(self, value: Any) -> Any:
        """``value``, or what its ``$ref`` finally stands for. Raises :class:`ReferenceError_`, also for a circle."""
        for _ in range(_MAX_HOPS):
            if not isinstance(value, dict):
                return value
            reference = value.get("$ref")
            if not isinstance(reference, str):
                return value
            value = self.at(reference)
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

    ``full`` is what is copied as it is, with the whole description; ``brief`` the same with its first sentence (None:
    not yet asked for). ``identity`` tells whether a schema stands inside itself; ``name`` is the last word of the
    reference that led here.
    """

    raw: Any  # keeps the object alive, so that its id stays its own
    full: dict[str, Any]
    brief: dict[str, Any] | None
    identity: int
    name: str
    properties: list[tuple[str, Any]] | None
    required: list[str]
    single: list[tuple[str, Any]]  # keyword -> one schema
    several: list[tuple[str, list[Any]]]  # keyword -> a list of schemas
    is_leaf: bool

    def at(self, depth: int) -> dict[str, Any]:
        """What is copied at a depth: 0 is the schema that was asked for, 1 its properties."""
        if depth <= 1:
            return self.full
        if self.brief is None:
            text = self.full.get("description", "")
            short = text if len(text) < 60 and "." not in text and "\n" not in text else first_sentence(text)
            self.brief = {**self.full, "description": short} if text else self.full
        return self.brief


class SchemaExpander:
    """Self-contained JSON Schemas of one document.

    References are expanded and ``allOf`` merged, breadth first within 6 levels and about 200 sub-schemas (every
    property of the first level is always there, up to 1,000); a schema inside itself, or below the last level, is cut
    to its type, with the name of its schema as title. A reference to nothing gives ``{}`` at its place. Descriptions
    below the first level are cut to their first sentence. The result is shared: whoever changes it copies it first.
    """

    def __init__(self, references: References) -> None:
        self._references = references
        self._nodes: dict[int | str, _Node | None] = {}  # by id, or by bare reference
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
        """The schema, how many it consists of, about how many characters they have."""
        queue: list[tuple[_Node, dict[str, Any], tuple[int, ...]]] = []
        count = weight = 0

        def place_of(raw: Any, inside: tuple[int, ...]) -> dict[str, Any]:
            """Where a schema will stand. One that holds no other is the same everywhere."""
            nonlocal count, weight
            node = self._at(raw)
            count += 1
            if node is None:
                return {}
            stated = node.at(len(inside))
            weight += len(stated.get("description", ""))
            if node.is_leaf:
                return stated
            place = {**stated}
            queue.append((node, place, inside))
            return place

        root = place_of(schema, ())
        for node, target, inside in queue:  # grows while it is walked
            is_repeated = bool(node.name) and node.identity in inside  # without a reference nothing stands in itself
            if is_repeated or len(inside) >= _MAX_DEPTH or (inside and count >= _MAX_NODES):
                if node.name:
                    target.setdefault("title", node.name)
                continue
            deeper = (*inside, node.identity)
            if node.properties is not None:
                target["properties"] = {name: place_of(child, deeper) for name, child in node.properties}
                if node.required:
                    target["required"] = node.required
            for keyword, child in node.single:
                target[keyword] = place_of(child, deeper)
            for keyword, children in node.several:
                target[keyword] = [place_of(child, deeper) for child in children]
        return root, count, weight + _NODE_WEIGHT * count

    def _at(self, raw: Any) -> _Node | None:
        if not isinstance(raw, dict):
            return None
        stated = raw.get("$ref") if len(raw) == 1 else None
        key = stated if isinstance(stated, str) else id(raw)
        if key in self._nodes:
            return self._nodes[key]
        if len(self._nodes) >= _MAX_KEPT_NODES:
            self._nodes.clear()
        node = self._node(raw)
        if node is not None or stated is not None:
            self._nodes[key] = node
        return node

    def _node(self, raw: Any) -> _Node | None:
        found: Any = raw
        if "$ref" in raw:
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
    properties: dict[str, Any] | None = None
    single: list[tuple[str, Any]] = []
    several: list[tuple[str, list[Any]]] = []
    for keyword, value in schema.items():
        if keyword == "type":
            if isinstance(value, str) or (isinstance(value, list) and value and all(map(_is_text, value))):
                plain["type"] = value
        elif keyword == "description":
            if text := description_text(value):
                plain["description"] = cut(text, _MAX_DESCRIPTION)
        elif keyword in _COPIED:
            if _is_plain(value):
                plain[keyword] = value
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
    required: list[str] = []
    listed: list[tuple[str, Any]] | None = None
    if properties is not None:
        plain.setdefault("type", "object")
        listed = [(plain_text(key), child) for key, child in properties.items()]
        stated = schema.get("required")
        if isinstance(stated, list):
            required = [plain_text(key) for key in dict.fromkeys(filter(_is_text, stated)) if key in properties]
    elif kind is None and any(keyword == "items" for keyword, _ in single):
        plain["type"] = "array"
    is_leaf = listed is None and not single and not several
    return _Node(raw, plain, None, identity, name, listed, required, single, several, is_leaf)


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
