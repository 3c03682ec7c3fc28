"""One parsed page of a reference site, as every generator's reader gets it, and the check before it is parsed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from selectolax.lexbor import LexborHTMLParser, LexborNode

from forge.text import nesting
from forge.text.nesting import MAX_NESTED_TAGS

_DEEP = " > ".join(["*"] * (MAX_NESTED_TAGS + 1))


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
        if (refused := nesting.refusal(self.html)) is not None:
            return refused
        if self.first(_DEEP) is not None:
            return "too_deeply_nested", f"elements nested more than {MAX_NESTED_TAGS} deep"
        return None
