"""Licences as SPDX expressions, from what a package or a document states about itself.

Nothing is guessed: what no rule here recognises is "", and `mix` drops it as ``license_not_stated``.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from importlib.metadata import Distribution
from typing import Any

_MAX_CHARACTERS = 20_000

_PHRASES = {
    "apache": "Apache-2.0",
    "apache 2": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache2": "Apache-2.0",
    "apache software": "Apache-2.0",
    "apache software 2.0": "Apache-2.0",
    "asl 2.0": "Apache-2.0",
    "mit": "MIT",
    "mit mit": "MIT",
    "mit x11": "MIT",
    "expat": "MIT",
    "bsd 3 clause": "BSD-3-Clause",
    "3 clause bsd": "BSD-3-Clause",
    "bsd 3": "BSD-3-Clause",
    "new bsd": "BSD-3-Clause",
    "modified bsd": "BSD-3-Clause",
    "revised bsd": "BSD-3-Clause",
    "bsd 2 clause": "BSD-2-Clause",
    "2 clause bsd": "BSD-2-Clause",
    "bsd 2": "BSD-2-Clause",
    "simplified bsd": "BSD-2-Clause",
    "freebsd": "BSD-2-Clause",
    "isc": "ISC",
    "iscl": "ISC",
    "psf": "PSF-2.0",
    "python software foundation": "PSF-2.0",
    "python software foundation 2": "PSF-2.0",
    "mozilla public 2.0": "MPL-2.0",
    "mozilla public 2.0 mpl 2.0": "MPL-2.0",
    "mpl 2.0": "MPL-2.0",
    "mpl2": "MPL-2.0",
    "unlicense": "Unlicense",
    "the unlicense": "Unlicense",
    "public domain cc0": "CC0-1.0",
    "cc0": "CC0-1.0",
    "cc0 1.0 universal": "CC0-1.0",
    "zlib": "Zlib",
    "boost": "BSL-1.0",
    "boost software 1.0": "BSL-1.0",
    "gpl 2": "GPL-2.0-only",
    "gplv2": "GPL-2.0-only",
    "gpl 3": "GPL-3.0-only",
    "gplv3": "GPL-3.0-only",
    "gpl v3": "GPL-3.0-only",
    "gnu gpl v3": "GPL-3.0-only",
    "gnu general public v3": "GPL-3.0-only",
    "agpl 3": "AGPL-3.0-only",
    "lgplv3": "LGPL-3.0-only",
    "lgpl 3": "LGPL-3.0-only",
    "creative commons attribution 4.0 international": "CC-BY-4.0",
    "creative commons attribution 3.0": "CC-BY-3.0",
    "creative commons attribution sharealike 4.0 international": "CC-BY-SA-4.0",
    "cc by 4.0": "CC-BY-4.0",
    "cc by 3.0": "CC-BY-3.0",
    "cc by sa 4.0": "CC-BY-SA-4.0",
    "cc by sa 3.0": "CC-BY-SA-3.0",
    "open government v3.0": "OGL-UK-3.0",
    "upl": "UPL-1.0",
    "universal permissive 1.0": "UPL-1.0",
    "bsd3": "BSD-3-Clause",
    "distributed under mit": "MIT",
    "licensed by apache 2.0": "Apache-2.0",
    "agplv3": "AGPL-3.0-only",
    "agplv3.0": "AGPL-3.0-only",
    "gnu affero general public 3.0": "AGPL-3.0-only",
    "gnu affero general public 3.0 or later": "AGPL-3.0-or-later",
    "gnu general public 2.0": "GPL-2.0-only",
    "gnu general public 3.0": "GPL-3.0-only",
    "cc0 1.0": "CC0-1.0",
    "cc by sa 2.0": "CC-BY-SA-2.0",
    "cc by nc 4.0": "CC-BY-NC-4.0",
    "creative commons attribution 4.0 international public": "CC-BY-4.0",
    "creative commons attribution 3.0 australia": "CC-BY-3.0-AU",
    "creative commons attribution noncommercial 4.0 cc by nc": "CC-BY-NC-4.0",
    "creative commons cc by nc nd 2.0": "CC-BY-NC-ND-2.0",
    "attribution noncommercial sharealike 4.0 international": "CC-BY-NC-SA-4.0",
    **{
        f"{scheme} {address}{suffix}": expression
        for address, expression in {
            "opensource.org mit": "MIT",
            "opensource.org agpl 3.0": "AGPL-3.0-only",
            "opensource.org bsd 3 clause": "BSD-3-Clause",
            "www.apache.org 2.0": "Apache-2.0",
            "www.gnu.org agpl 3.0": "AGPL-3.0-only",
            "www.gnu.org gpl 3.0": "GPL-3.0-only",
            "creativecommons.org by 3.0": "CC-BY-3.0",
            "creativecommons.org by 4.0": "CC-BY-4.0",
            "creativecommons.org by sa 3.0": "CC-BY-SA-3.0",
            "creativecommons.org by sa 4.0": "CC-BY-SA-4.0",
            "creativecommons.org by nc 4.0": "CC-BY-NC-4.0",
            "creativecommons.org by nc sa 4.0": "CC-BY-NC-SA-4.0",
            "creativecommons.org publicdomain zero 1.0": "CC0-1.0",
        }.items()
        for scheme in ("http", "https")
        for suffix in ("", ".html", ".txt", " legalcode", ".en.html")
    },
}
"""Folded statement -> SPDX. The words "the", "license", "licence" and "version" are folded away."""

_CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "ISC License (ISCL)": "ISC",
    "Python Software Foundation License": "PSF-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Mozilla Public License 1.1 (MPL 1.1)": "MPL-1.1",
    "The Unlicense (Unlicense)": "Unlicense",
    "zlib/libpng License": "Zlib",
    "Boost Software License 1.0 (BSL-1.0)": "BSL-1.0",
    "Historical Permission Notice and Disclaimer (HPND)": "HPND",
    "Universal Permissive License (UPL)": "UPL-1.0",
    "Zope Public License": "ZPL-2.1",
    "Zero-Clause BSD (0BSD)": "0BSD",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Affero General Public License v3": "AGPL-3.0-only",
    "GNU Affero General Public License v3 or later (AGPLv3+)": "AGPL-3.0-or-later",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.0-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "CC0 1.0 Universal (CC0 1.0) Public Domain Dedication": "CC0-1.0",
}
"""Last part of a trove classifier -> SPDX. Classifiers that name a family only ("BSD License") are not here."""

_PERMISSION = re.compile(r"permission is hereby granted, free of charge, to any person obtaining a copy", re.IGNORECASE)
_BSD = re.compile(r"redistribution and use in source and binary forms", re.IGNORECASE)
_NO_ENDORSEMENT = re.compile(r"neither the names?\b|may (?:not )?be used to endorse", re.IGNORECASE)
_APACHE = re.compile(r"apache license\W+version 2\.0", re.IGNORECASE)
_ISC = re.compile(
    r"permission to use, copy, modify, and(?:/or)? distribute this software for any purpose with or without fee",
    re.IGNORECASE,
)
_MPL = re.compile(r"mozilla public license,? (?:version|v\.?) 2\.0", re.IGNORECASE)


@lru_cache(maxsize=1)
def _licensing() -> Any:
    from license_expression import get_spdx_licensing

    return get_spdx_licensing()


@lru_cache(maxsize=4096)
def spdx_of(statement: str) -> str:
    """The SPDX expression that a statement means: an expression, a common name ("Apache License 2.0") or the text of
    a licence. "" when it is not recognised. Never raises."""
    statement = statement[:_MAX_CHARACTERS].strip()
    if not statement:
        return ""
    if len(statement) <= 300 and "\n" not in statement:
        folded = _fold(statement)
        return _PHRASES.get(folded) or _expression(statement) or _listed(statement)
    return spdx_of_text(statement)


def _fold(statement: str) -> str:
    words = re.sub(r"[^a-z0-9.+]+", " ", statement.lower()).split()
    words = [word.strip(".") for word in words]
    ignored = {"license", "licence", "licenses", "version", "the", "", "software" if "python" not in words else ""}
    kept = [word for word in words if word not in ignored]
    kept = [word[1:] if re.fullmatch(r"v\d(?:\.\d)*", word) else word for word in kept]
    return " ".join(kept)


def _expression(statement: str) -> str:
    """A valid SPDX expression in SPDX's own spelling, else ""."""
    licensing = _licensing()
    try:
        parsed = licensing.parse(statement, validate=True, strict=True)
    except Exception:  # noqa: BLE001  (the parser raises several unrelated classes on free text)
        return ""
    return str(parsed) if parsed is not None else ""


def _listed(statement: str) -> str:
    """ "MIT or Apache License 2.0", "MIT -or- BSD-3-Clause": names joined by "or"; each must be known."""
    parts = re.split(r"\s+-?or-?\s+|\s*\|\s*", statement, flags=re.IGNORECASE)
    if len(parts) < 2:
        return ""
    known = [_PHRASES.get(_fold(part)) or _expression(part) for part in parts]
    return " OR ".join(known) if all(known) else ""


def spdx_of_text(text: str) -> str:
    """The licence whose text this is, by the phrases that distinguish the common permissive ones; "" for others. Only
    the first licence of a file that bundles several is seen."""
    head = " ".join(text[:_MAX_CHARACTERS].split())
    found: list[tuple[int, str]] = []
    if match := _PERMISSION.search(head):
        found.append((match.start(), "MIT"))
    if match := _APACHE.search(head):
        found.append((match.start(), "Apache-2.0"))
    if match := _ISC.search(head):
        found.append((match.start(), "ISC"))
    if match := _MPL.search(head):
        found.append((match.start(), "MPL-2.0"))
    if match := _BSD.search(head):
        terms = head[match.start() : match.start() + 1600]
        found.append((match.start(), "BSD-3-Clause" if _NO_ENDORSEMENT.search(terms) else "BSD-2-Clause"))
    return min(found)[1] if found else ""


def license_of_distribution(distribution: Distribution) -> str:
    """The SPDX expression of an installed distribution: its ``License-Expression``; else its ``License`` field; else
    its trove classifiers (several are joined by AND, the careful reading); else the text of its licence file. "" when
    none says it."""
    metadata = distribution.metadata
    # get_all, not []: the importlib_metadata package, once imported, answers too, and raises for an absent field.
    for field in ("License-Expression", "License"):
        if found := spdx_of(str((metadata.get_all(field) or [""])[0])):
            return found
    classifiers = [
        str(line).rsplit("::", 1)[-1].strip()
        for line in metadata.get_all("Classifier") or []
        if str(line).startswith("License ::") and str(line).count("::") > 1
    ]
    known = [_CLASSIFIERS.get(name, "") for name in classifiers]
    if known and all(known):
        return " AND ".join(sorted(set(known)))
    if classifiers and any("GPL" in name or "General Public" in name for name in classifiers):
        return ""  # a licence file beside a copyleft classifier may be that of a bundled part
    for file in sorted(distribution.files or [], key=str):
        if re.fullmatch(
            r"(?:licen[cs]e|copying)(?:\.(?:txt|md|rst))?", file.name, re.IGNORECASE
        ) and ".dist-info" in str(file):
            try:
                text = file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                continue
            if found := spdx_of_text(text or ""):
                return found
    return ""


def is_allowed(expression: str, allowed: Collection[str]) -> bool:
    """Whether the terms of an SPDX expression can be met with the allowed licences alone: every part of an AND, one
    part of an OR. ``X WITH exception`` is allowed when X is (an exception only grants more). "" and what is no SPDX
    expression are not allowed."""
    if not expression:
        return False
    if expression in allowed:
        return True
    try:
        parsed = _licensing().parse(expression)
    except Exception:  # noqa: BLE001  (see _expression)
        return False
    return parsed is not None and _satisfied(parsed, frozenset(allowed))


def _satisfied(node: Any, allowed: frozenset[str]) -> bool:
    from license_expression import LicenseWithExceptionSymbol

    operator = getattr(node, "operator", "").strip()
    if operator == "AND":
        return all(_satisfied(part, allowed) for part in node.args)
    if operator == "OR":
        return any(_satisfied(part, allowed) for part in node.args)
    if isinstance(node, LicenseWithExceptionSymbol):
        return node.license_symbol.key in allowed or str(node) in allowed
    return str(node.key) in allowed
