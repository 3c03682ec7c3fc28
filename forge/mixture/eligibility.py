"""Which licences may enter a release."""

from __future__ import annotations

from forge.config import MixSettings
from forge.text.licenses import is_allowed

LICENSE_RANK = {None: 0, "license_not_allowed": 1, "license_not_stated": 2}
"""Order of preference among several licences of one thing, by :func:`license_reason`."""


def license_reason(expression: str | None, mix: MixSettings) -> str | None:
    """None when the licence may enter a release, else the reason: ``license_not_stated``, ``license_not_allowed``."""
    if not expression or not expression.strip():
        return None if mix.unstated_license == "release" else "license_not_stated"
    return None if is_allowed(expression, mix.allowed_licenses) else "license_not_allowed"
