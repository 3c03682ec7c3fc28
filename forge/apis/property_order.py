"""The order of a call's parameters. Canonical JSON sorts keys; Python's positional parameters must not be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def with_order(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with the order of its properties as ``x-order``, unless it is the alphabetical one."""
    names = list(schema.get("properties", {}))
    if names != sorted(names):
        schema["x-order"] = names
    return schema


def in_order(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The properties in the order that ``x-order`` states, else alphabetically: never by how they happen to lie."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return {}
    stated = schema.get("x-order")
    first = [name for name in stated if name in properties] if isinstance(stated, list) else []
    told = set(first)
    return {name: properties[name] for name in [*first, *sorted(name for name in properties if name not in told)]}
