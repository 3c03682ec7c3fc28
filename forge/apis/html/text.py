"""The text of nodes of a page: prose with its code, one-line labels, code with its lines."""

from __future__ import annotations

import re
from collections.abc import Iterable

from selectolax.lexbor import LexborHTMLParser, LexborNode

from forge.text.markup import text_of

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u2028\u2029\u200b\ufeff]")


_ITEMS = frozenset({"dd", "li", "td", "th", "blockquote"})
_ADMONITION_TITLE = re.compile(r"<p class=\"[\w -]*admonition-title\">([^<>]{1,60})</p>\s*<p>")


def prose_of(*nodes: LexborNode) -> str:
    """The text of some nodes, one after another: paragraphs parted by an empty line, list items on lines of their own,
    inline code in backticks, code blocks as they are, links as their text (:func:`forge.text.markup.text_of`). A list
    item or table cell gives its content, without bullet or indentation."""
    html = "".join((node.inner_html if node.tag in _ITEMS else node.html) or "" for node in nodes)
    if "admonition-title" in html:
        html = _ADMONITION_TITLE.sub(r"<p>\1: ", html)
    return text_of(html)


def line_of(node: LexborNode) -> str:
    """The visible text on one line, without any marks: a heading, a signature, the name of a parameter."""
    return " ".join(_CONTROL.sub(" ", node.text(deep=True)).split())


def code_of(node: LexborNode) -> str:
    """The text of a code block: lines and indentation as they are, no blanks at the ends of lines."""
    text = _CONTROL.sub(" ", node.text(deep=True).replace("\xa0", " "))
    return "\n".join(line.rstrip() for line in text.strip("\n").split("\n")).rstrip()


def remove(tree: LexborHTMLParser | LexborNode, selectors: Iterable[str]) -> None:
    """Takes what the selectors match (permalinks, navigation) out of the tree, with all that is inside."""
    for node in tree.css(", ".join(selectors)):
        node.decompose()


def children_of(node: LexborNode) -> list[LexborNode]:
    """The child elements, without text and comments."""
    found = []
    child = node.first_child
    while child is not None:
        if not (child.tag or "-").startswith("-"):
            found.append(child)
        child = child.next
    return found
