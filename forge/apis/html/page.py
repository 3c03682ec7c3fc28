"""One parsed page of a reference site, as every generator's reader gets it, and the check before it is parsed.

The parser is written in C and cannot be interrupted, and its time grows with the square of the depth: 50,000 nested
lists take 15 seconds, 50,000 open ``<font color=...>`` 25. So a page of many tags is looked through for that before it
is parsed; one of few is parsed at once (at most a second) and its real depth is asked of the tree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from selectolax.lexbor import LexborHTMLParser, LexborNode

from forge.text.html import MAX_NESTED_TAGS

HARMLESS_TAGS = 10_000
HARMLESS_CHARACTERS = 200_000
_MAX_ATTRIBUTES = 1000

_DEEP = " > ".join(["*"] * (MAX_NESTED_TAGS + 1))
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


@dataclass(frozen=True)
class Page:
    """``path`` is the page's place below the site's root ("java/util/List.html"), ``html`` its decoded text."""

    path: str
    html: str

    @cached_property
    def tree(self) -> LexborHTMLParser:
        return LexborHTMLParser(self.html)

    @property
    def head(self) -> str:
        """The first 4,096 characters: where generators name themselves."""
        return self.html[:4096]

    def first(self, selector: str) -> LexborNode | None:
        return self.tree.css_first(selector)

    def refusal(self) -> tuple[str, str] | None:
        """Reason and detail when the page cannot be read in bounded time: ``too_deeply_nested``, ``malformed_page``.
        Parses it if it can be."""
        html = self.html
        if len(html) > HARMLESS_CHARACTERS and (crowded := _CROWDED.search(html)):
            return "malformed_page", f"character {crowded.start()}: a tag of more than {_MAX_ATTRIBUTES} attributes"
        if html.count("<") > HARMLESS_TAGS:
            position = _first_too_deep(html)
            if position is not None:  # perhaps for tags in comments and scripts
                position = _first_too_deep(_UNSEEN.sub(" ", html))
            if position is not None:
                return "too_deeply_nested", f"tag {position}: more than {MAX_NESTED_TAGS} elements are open"
        if self.first(_DEEP) is not None:
            return "too_deeply_nested", f"elements nested more than {MAX_NESTED_TAGS} deep"
        return None


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
