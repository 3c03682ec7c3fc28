"""One parsed page of a reference site, as every generator's reader gets it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from selectolax.lexbor import LexborHTMLParser, LexborNode


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
