"""YAML from outside: only plain data, within bounds on size, nesting and aliases.

Scalars are read by the core schema of YAML 1.2, as OpenAPI asks: ``on``, ``no`` and dates are text. The value is built
from the parser's events (PyYAML's own constructors take ten times as long and know neither bounds nor equal keys).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import yaml

_MAX_BYTES = 16 * 1024 * 1024
_MAX_DEPTH = 100
_MAX_ALIASES = 1000
_MAX_NODES = 2_000_000
_MAX_DIGITS = 400
_QUOTED = frozenset("'\"|>")
_TAGS = "tag:yaml.org,2002:"
_PLAIN_TAGS = frozenset({"!", *(_TAGS + kind for kind in ("str", "int", "float", "bool", "null", "map", "seq"))})

_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_LARGEST = 1 << 63


def load_yaml(data: bytes, repeated: Callable[[str], None] | None = None) -> Any:
    """One YAML document as plain Python data; the keys of mappings are text.

    Of equal keys in one mapping the last one counts; ``repeated`` is called with each and its place. Raises ValueError,
    with the place, for what is no YAML, for tags beyond the core schema, and for documents over 16 MiB, 100 levels,
    1000 aliases, or 2,000,000 nodes when every alias is written out (an alias bomb is refused before it is built).
    """
    if len(data) > _MAX_BYTES:
        raise ValueError(f"a YAML document of more than {_MAX_BYTES} bytes")
    try:
        events = yaml.parse(data.decode("utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return _Builder(events, repeated).document()
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not valid YAML: {' '.join(str(error).split())[:300]}") from None


class _Collection:
    """A mapping or list that is being read. ``size`` counts its nodes with every alias written out."""

    __slots__ = ("anchor", "key", "merged", "size", "value")

    def __init__(self, value: dict[str, Any] | list[Any], anchor: str | None) -> None:
        self.value = value
        self.anchor = anchor
        self.key: str | None = None
        self.merged: list[dict[str, Any]] = []
        self.size = 1


class _Builder:
    def __init__(self, events: Iterator[Any], repeated: Callable[[str], None] | None) -> None:
        self._events = events
        self._repeated = repeated
        self._open: list[_Collection] = []
        self._anchored: dict[str, tuple[Any, int]] = {}
        self._nodes = self._aliases = 0
        self._result: Any = None

    def document(self) -> Any:
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.ScalarEvent):
                value = _scalar(event, as_key=self._expects_key())
                if event.anchor:
                    self._anchored[event.anchor] = (value, 1)
                self._add(value, 1, event)
            elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                self._start(event)
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                self._end(event)
            elif isinstance(event, yaml.AliasEvent):
                self._alias(event)
            elif isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise ValueError(f"a second YAML document begins{_place(event)}")
        return self._result

    def _expects_key(self) -> bool:
        return bool(self._open) and self._open[-1].key is None and isinstance(self._open[-1].value, dict)

    def _start(self, event: Any) -> None:
        if self._expects_key():
            raise ValueError(f"a YAML key that is no text{_place(event)}")
        _check_tag(event)
        self._open.append(_Collection({} if isinstance(event, yaml.MappingStartEvent) else [], event.anchor))
        if len(self._open) > _MAX_DEPTH:
            raise ValueError(f"a YAML document of more than {_MAX_DEPTH} levels{_place(event)}")

    def _end(self, event: Any) -> None:
        closed = self._open.pop()
        for mapping in closed.merged:
            assert isinstance(closed.value, dict)
            closed.value = {**mapping, **closed.value}
        if closed.anchor:
            self._anchored[closed.anchor] = (closed.value, closed.size)
        self._add(closed.value, closed.size, event)

    def _alias(self, event: Any) -> None:
        self._aliases += 1
        if self._aliases > _MAX_ALIASES:
            raise ValueError(f"more than {_MAX_ALIASES} YAML aliases{_place(event)}")
        if event.anchor not in self._anchored:
            raise ValueError(f"a YAML alias of nothing, or of what it stands in{_place(event)}")
        value, size = self._anchored[event.anchor]
        if self._expects_key():
            if isinstance(value, dict | list):
                raise ValueError(f"a YAML key that is no text{_place(event)}")
            value = str(value)
        self._add(value, size, event)

    def _add(self, value: Any, size: int, event: Any) -> None:
        if not self._open:
            self._result = value
            return
        place = self._open[-1]
        place.size += size
        self._nodes += 1
        if place.size > _MAX_NODES or self._nodes > _MAX_NODES:
            raise ValueError(f"a YAML document of more than {_MAX_NODES:,} nodes{_place(event)}")
        if isinstance(place.value, list):
            place.value.append(value)
        elif place.key is None:
            place.key = value
        else:
            self._set(place, place.value, value, event)
            place.key = None

    def _set(self, place: _Collection, mapping: dict[str, Any], value: Any, event: Any) -> None:
        key = place.key
        assert key is not None
        if key == "<<" and isinstance(value, dict | list):
            others = value if isinstance(value, list) else [value]
            place.size += sum(len(other) for other in others if isinstance(other, dict))
            place.merged += [other for other in others if isinstance(other, dict)]
            return
        if key in mapping and self._repeated is not None:
            self._repeated(f"key {key[:100]!r} stands twice{_place(event)}")
        mapping[key] = value


def _scalar(event: Any, as_key: bool) -> Any:
    _check_tag(event)
    text: str = event.value
    if as_key or event.style in _QUOTED or event.tag in {"!", _TAGS + "str"}:
        return text
    return plain_scalar(text)


def plain_scalar(text: str) -> str | int | float | bool | None:
    """What an unquoted scalar means. Numbers that JSON cannot hold (``.inf``, ``.nan``, beyond 64 bits) stay text."""
    if text in _WORDS:
        return _WORDS[text]
    if not (text[0].isdigit() or text[0] in "+-.") or len(text) > _MAX_DIGITS:
        return text
    if _INTEGER.fullmatch(text):
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        number = int(text, base)
        return number if -_LARGEST <= number < _LARGEST else text
    if _FLOAT.fullmatch(text):
        value = float(text)
        return value if abs(value) != float("inf") else text
    return text


def _check_tag(event: Any) -> None:
    if event.tag is not None and event.tag not in _PLAIN_TAGS:
        raise ValueError(f"a YAML tag, {event.tag[:100]!r}{_place(event)}")


def _place(event: Any) -> str:
    mark = event.start_mark
    return f" (line {mark.line + 1}, column {mark.column + 1})"
