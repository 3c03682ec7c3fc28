"""Which licences may enter a release."""

from __future__ import annotations

from collections.abc import Collection

from forge.text.licenses import is_allowed


def license_reason(expression: str | None, allowed: Collection[str]) -> str | None:
    """None when the licence may enter a release, else the reason: ``license_not_stated``, ``license_not_allowed``."""
    if not expression or not expression.strip():
        return "license_not_stated"
    return None if is_allowed(expression, allowed) else "license_not_allowed"
