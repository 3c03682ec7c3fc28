"""Whether an HTML text can be parsed in bounded time, said before it is parsed.

Parsers are written in C and cannot be interrupted, and their time grows with the square of the depth: 50,000 nested
lists take 15 seconds (and their extraction three minutes), 50,000 open ``<font color=...>`` 25. So a text of many tags
is looked through for that first.
"""

from __future__ import annotations

import re

MAX_NESTED_TAGS = 300
"""Deeper than any document."""
HARMLESS_TAGS = 10_000
HARMLESS_CHARACTERS = 200_000
_MAX_ATTRIBUTES = 1000

_TAG = re.compile(r"<(/?[a-zA-Z][a-zA-Z0-9]*)")
_UPPER_TAG = re.compile(r"</?[A-Z]")
_UNSEEN = re.compile(r"<!--.*?(?:-->|\Z)|<(script|style)\b.*?(?:</\1|\Z)", re.DOTALL | re.IGNORECASE)
_QUOTED = r"[^<>\"']*+(?:\"[^\"]*+\"|'[^']*+')"
_CROWDED = re.compile(
    rf"<[a-zA-Z](?:(?:{_QUOTED}){{{_MAX_ATTRIBUTES}}}"
    rf"|(?:{_QUOTED}){{0,{_MAX_ATTRIBUTES}}}?[^<>\"']{{{HARMLESS_CHARACTERS // 2}}})"
)
# fmt: off
# Elements without an end tag, and those whose end tag pages leave out and parsers supply.
_NOT_NESTING = frozenset({
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr",
    "a", "dd", "dt", "li", "option", "p", "td", "th", "tr",
})
# What the parser opens again in the next block when it is still open at the end of this one.
_FORMATTING = frozenset({
    "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u",
})
# Inline elements: their end tag is ignored when a block was opened since.
_INLINE = _FORMATTING | {
    "abbr", "acronym", "bdi", "bdo", "cite", "data", "del", "dfn", "ins", "kbd", "label", "mark", "q", "samp", "span",
    "sub", "sup", "time", "var",
}
# fmt: on


def refusal(html: str, harmless_tags: int = HARMLESS_TAGS) -> tuple[str, str] | None:
    """Reason and detail when parsing could take very long: ``too_deeply_nested``, ``malformed_page``. A text of at
    most ``harmless_tags`` is not refused: it is parsed within a second, whatever its depth."""
    if len(html) > HARMLESS_CHARACTERS and (crowded := _CROWDED.search(html)):
        return "malformed_page", f"character {crowded.start()}: a tag of more than {_MAX_ATTRIBUTES} attributes"
    if html.count("<") <= harmless_tags:
        return None
    position = _first_too_deep(html)
    if position is not None:  # perhaps for tags in comments and scripts
        position = _first_too_deep(_UNSEEN.sub(" ", html))
    if position is None:
        return None
    return "too_deeply_nested", f"tag {position}: more than {MAX_NESTED_TAGS} elements are open"


def _first_too_deep(html: str) -> int | None:
    """The number of the tag at which more elements may be open than are allowed; None for a page that is flat enough.
    Never too low: an end tag closes only what the parser would surely close by it."""
    if _UPPER_TAG.search(html):
        html = html.lower()
    open_elements: list[str] = []
    reopened = 0
    for number, name in enumerate(_TAG.findall(html), start=1):
        if name[0] != "/":
            if name not in _NOT_NESTING:
                open_elements.append(name)
                if len(open_elements) + reopened > MAX_NESTED_TAGS:
                    return number
            continue
        name = name[1:]
        if open_elements and open_elements[-1] == name:
            open_elements.pop()
        elif name not in _INLINE and name in open_elements:
            while (closed := open_elements.pop()) != name:
                reopened += closed in _FORMATTING
    return None
