"""Which version of an API is the newest, from what sources call their versions.

Versions are free text: "2016-11-15", "v1", "v2beta1", "3.9.0". They are compared as people read them: a stable version
before an unstable one ("v1" before "v2beta1"), then number by number; the API itself before any repetition of it
(``ApiEntity.mirror``).
"""

from __future__ import annotations

import re

_TOKEN = re.compile(r"[0-9]+|[a-z]+")
_UNSTABLE = {
    "dev": 0, "nightly": 0, "experimental": 0, "unstable": 0, "alpha": 1, "a": 1, "preview": 2, "beta": 2, "b": 2,
    "pre": 3, "rc": 3,
}  # fmt: skip
_MAX_NUMBER_DIGITS = 18


def version_rank(version: str, mirror: str = "") -> str:
    """A text that sorts as versions do: of two versions of one API the newer has the greater rank.

    An API's own text ranks above every mirror's; mirrors rank by their own name ("ghes-3.9" above "ghes-3.2"), then by
    version. The empty version is below all others of its stability.
    """
    return ("1" if not mirror else f"0{_rank(mirror)}") + _rank(version)


def _rank(version: str) -> str:
    tokens: list[str] = _TOKEN.findall(version[:200].lower())
    is_stable = not any(token in _UNSTABLE for token in tokens)
    parts = [
        f".{token[:_MAX_NUMBER_DIGITS]:0>{_MAX_NUMBER_DIGITS}}" if token[0].isdigit() else f"!{_UNSTABLE[token]}"
        for token in tokens
        if token[0].isdigit() or token in _UNSTABLE
    ]
    # "!" sorts before ".": 2beta1 is below 2, and 1.2, which ends with it, below 1.2.1.
    return f"{int(is_stable)}{''.join(parts)}!9"
