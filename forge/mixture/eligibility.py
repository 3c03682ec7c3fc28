"""Which licences may enter a release."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from license_expression import ExpressionError, get_spdx_licensing


@lru_cache(maxsize=1)
def _licensing() -> object:
    return get_spdx_licensing()


def license_reason(expression: str | None, allowed: Iterable[str]) -> str | None:
    """None when the licence may enter a release, else the reason: ``license_not_stated``, ``license_not_allowed``.

    One allowed alternative of an OR is enough; every part of an AND must be allowed. An expression that is not SPDX is
    not allowed. ``A WITH exception`` is allowed when A is.
    """
    if not expression or not expression.strip():
        return "license_not_stated"
    names = frozenset(name.lower() for name in allowed)
    try:
        parsed = _licensing().parse(expression)  # type: ignore[attr-defined]
    except (ExpressionError, ValueError, TypeError):
        return "license_not_allowed"
    return None if parsed is not None and _is_allowed(parsed, names) else "license_not_allowed"


def _is_allowed(node: object, allowed: frozenset[str]) -> bool:
    operator = getattr(node, "operator", "").strip()
    parts = getattr(node, "args", ())
    if operator == "OR":
        return any(_is_allowed(part, allowed) for part in parts)
    if operator == "AND":
        return all(_is_allowed(part, allowed) for part in parts)
    symbol = getattr(node, "license_symbol", node)  # `A WITH exception` holds A as its license_symbol
    return str(getattr(symbol, "key", symbol)).lower() in allowed
