"""Values that a plain schema allows, the same for the same seed: what the mock answers with.

Stated examples, defaults and enumerated values go before made ones; made ones look like what the property is called.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from forge.apis.property_order import in_order
from forge.schema import content_hash
from forge.trajectories.generator.operations import fold, singular
from forge.trajectories.generator.schemas import type_of

MAX_DEPTH = 3
MAX_VALUES = 30
"""Values of one response; what is required may come beyond them, up to four times as many."""
_MAX_PROPERTIES = 40
_MAX_ENTRIES = 2
_MAX_CHARACTERS = 1000
_MOST_ENTRIES = 8  # where the schema asks for many
_WORDS = (
    *("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "harbor", "iris", "juniper", "kestrel", "lagoon"),
    *(
        "maple",
        "north",
        "onyx",
        "prairie",
        "quartz",
        "river",
        "summit",
        "tundra",
        "umber",
        "valley",
        "willow",
        "zephyr",
    ),
)
HEXADECIMAL = ("id", "uuid", "key", "token", "hash", "etag", "identifier", "arn")
"""Ends of the folded names of properties that hold made identifiers, not words."""
_FIRST_MOMENT = datetime(2024, 1, 1, tzinfo=UTC)
_CONTINUATIONS = ("token", "cursor", "marker", "page", "url", "link", "href")
_MORE = frozenset({"hasmore", "istruncated", "truncated", "hasnextpage", "haspreviouspage", "incompleteresults"})
_TOTALS = frozenset({"total", "count", "totalcount", "totalresults", "totalitems", "totalsize", "size"})


def is_continuation(name: str) -> bool:
    """Whether the property leads to a further page: the mock's answers have one page."""
    folded = fold(name)
    if folded in {"next", "previous", "prev", "cursor", "marker"} or folded.startswith("lastevaluated"):
        return True
    return folded.startswith(("next", "prev", "continuation")) and folded.endswith(_CONTINUATIONS)


def is_more(name: str) -> bool:
    """Whether the property says that there is a further page."""
    return fold(name) in _MORE


def is_total(name: str) -> bool:
    """Whether the property counts what is listed."""
    return fold(name) in _TOTALS


class Values:
    """Values of one response. A property's value depends on the seed and on the names above it, not on what else the
    response holds: two results that show one object agree on it."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._left = MAX_VALUES

    def of(self, schema: Mapping[str, Any], name: str, depth: int = 0, above: str = "") -> Any:
        """A value for the schema of a property called ``name``, below the names ``above``."""
        place = f"{above}/{fold(name)}"
        random_number = random.Random(content_hash(self._seed, place))
        self._left -= 1
        for stated in ("const", "example", "default"):
            value = schema.get(stated)
            if value is not None and has_type(value, schema):
                return value
        if "enum" in schema:
            return random_number.choice(schema["enum"])
        for choice in ("anyOf", "allOf"):
            if choice in schema and depth < MAX_DEPTH:
                return self.of(schema[choice][0], name, depth + 1, above)
        kind = type_of(schema)
        if kind == "object":
            return self.object(schema, depth, above=place)
        if kind == "array":
            return self._array(schema, name, depth, place, random_number)
        return scalar(schema, name, random_number)

    def _array(
        self, schema: Mapping[str, Any], name: str, depth: int, place: str, random_number: random.Random
    ) -> list[Any]:
        items = schema.get("items", {})
        least = min(schema.get("minItems", 0), _MOST_ENTRIES)
        count = max(least, min(random_number.randint(1, _MAX_ENTRIES), schema.get("maxItems", _MOST_ENTRIES)))
        if not items or not self._has_room(depth, is_required=least > 0):
            return []
        return [self.of(items, singular(name), depth + 1, f"{place}/{number}") for number in range(count)]

    def object(
        self,
        schema: Mapping[str, Any],
        depth: int,
        known: Callable[[str, Mapping[str, Any]], Any] = lambda *_: None,
        above: str = "",
    ) -> dict[str, Any]:
        """Required properties, and others as long as there is room, flat ones first, but for those that lead to a
        further page. ``known`` gives the values of some: what the response is about."""
        properties = in_order(schema)
        required = set(schema.get("required", ()))
        nodes = {name: node for name, node in properties.items() if "writeOnly" not in node}
        found: dict[str, Any] = {}
        for name in sorted(list(nodes)[:_MAX_PROPERTIES], key=lambda name: type_of(nodes[name]) in {"object", "array"}):
            value = known(name, nodes[name])
            if value is not None:
                found[name] = value
            elif is_more(name):
                found[name] = False
            elif self._has_room(depth, name in required) and (name in required or not is_continuation(name)):
                found[name] = self.of(nodes[name], name, depth + 1, above)
        return {name: found[name] for name in properties if name in found}

    def _has_room(self, depth: int, is_required: bool) -> bool:
        if is_required:
            return depth <= 2 * MAX_DEPTH and self._left > -3 * MAX_VALUES
        return depth < MAX_DEPTH and self._left > 0


_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "array": (list,), "object": (dict,)
}  # fmt: skip


def has_type(value: Any, schema: Mapping[str, Any]) -> bool:
    kinds = _TYPES.get(type_of(schema), ())
    return isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))


def scalar(schema: Mapping[str, Any], name: str, random_number: random.Random) -> Any:
    """A string, number or truth value by the property's type, format and name."""
    kind = type_of(schema)
    if kind == "boolean":
        return random_number.random() < 0.5
    if kind in {"integer", "number"}:
        return _number(schema, name, kind, random_number)
    if kind == "null":
        return None
    text = _text(schema, fold(name), random_number)
    least, most = min(schema.get("minLength", 0), _MAX_CHARACTERS), schema.get("maxLength", _MAX_CHARACTERS)
    return (text + "x" * (least - len(text)))[:most]


def _number(schema: Mapping[str, Any], name: str, kind: str, random_number: random.Random) -> int | float:
    folded = fold(name)
    if kind == "integer" and folded.endswith(("at", "time", "timestamp")) and not folded.endswith("format"):
        low: float = 1_704_067_200
        high: float = low + 366 * 86_400
    else:
        low = 1_000 if folded.endswith("id") else 1
        high = 9_999 if folded.endswith("id") else 100
    if "minimum" in schema:
        low, high = schema["minimum"], max(high, schema["minimum"])
    if "maximum" in schema:
        low, high = min(low, schema["maximum"]), schema["maximum"]
    if kind == "integer":
        return random_number.randint(round(low), max(round(low), round(high)))
    return round(random_number.uniform(low, high), 2)


def _text(schema: Mapping[str, Any], folded: str, random_number: random.Random) -> str:
    moment = _FIRST_MOMENT + timedelta(seconds=random_number.randrange(365 * 86_400))
    words = [random_number.choice(_WORDS) for _ in range(4)]
    hexadecimal = f"{random_number.getrandbits(128):032x}"
    stated = str(schema.get("format", "")).lower()
    if stated in {"date-time", "google-datetime", "timestamp"} or folded.endswith(
        ("timestamp", "createdat", "updatedat")
    ):
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    if stated == "date" or folded.endswith("date"):
        return moment.strftime("%Y-%m-%d")
    if stated == "uuid":
        return "-".join((hexadecimal[:8], hexadecimal[8:12], hexadecimal[12:16], hexadecimal[16:20], hexadecimal[20:]))
    if stated in {"int64", "uint64", "int32", "uint32"}:
        return str(random_number.randint(1000, 9999))
    if stated == "email" or folded.endswith("email"):
        return f"{words[0]}.{words[1]}@example.com"
    if stated in {"uri", "url", "uri-reference"} or folded.endswith(("url", "uri", "href", "link")):
        return f"https://example.com/{words[0]}/{hexadecimal[:8]}"
    if stated == "byte":
        return "ZXhhbXBsZQ=="
    if folded.endswith("arn"):
        return f"arn:aws:mock:us-east-1:123456789012:{words[0]}/{hexadecimal[:8]}"
    if folded.endswith(HEXADECIMAL):
        return hexadecimal[: min(max(12, schema.get("minLength", 12)), 32)]
    if folded.endswith(("description", "message", "summary", "text", "comment", "body", "reason")):
        return f"{words[0].capitalize()} {words[1]} {words[2]} {words[3]}."
    return f"{words[0]}-{words[1]}"
