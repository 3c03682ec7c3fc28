"""Values of which one part is missing or of another type."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def replaced(value: object, wrong: Sequence[object]) -> Iterator[object]:
    """The value with one field of its objects, at any depth, after the other replaced by each of the wrong values."""
    if isinstance(value, dict):
        for key, part in value.items():
            for other in wrong:
                yield {**value, key: other}
            for changed in replaced(part, wrong):
                yield {**value, key: changed}
    elif isinstance(value, list):
        for place, part in enumerate(value):
            for changed in replaced(part, wrong):
                yield [*value[:place], changed, *value[place + 1 :]]


def deleted(value: object) -> Iterator[object]:
    """The value without one field of its objects or one element of its lists, at any depth, after the other."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield {name: kept for name, kept in value.items() if name != key}
            for changed in deleted(part):
                yield {**value, key: changed}
    elif isinstance(value, list):
        for place, part in enumerate(value):
            yield [*value[:place], *value[place + 1 :]]
            for changed in deleted(part):
                yield [*value[:place], changed, *value[place + 1 :]]
