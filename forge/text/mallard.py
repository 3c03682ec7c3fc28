"""Text of Mallard pages, the XML format of GNOME's user help."""

from __future__ import annotations

from typing import Any

_NAMESPACE = "{http://projectmallard.org/1.0/}"
_BLOCKS = frozenset({"p", "title", "item", "td", "code", "screen", "cite", "desc", "subtitle"})
_PREFORMATTED = frozenset({"code", "screen"})
_LEFT_OUT = frozenset({"info", "media", "comment", "links"})
MAX_DEPTH = 100


class MallardError(ValueError):
    """Not a Mallard page that can be read."""


def mallard_text(content: bytes) -> tuple[str, str]:
    """Title and text of a page. Entities are not resolved and nothing is loaded (D14). Raises :class:`MallardError`."""
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False, load_dtd=False)
    try:
        root = etree.fromstring(content, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise MallardError(str(error)) from None
    if root is None or root.tag != f"{_NAMESPACE}page":
        raise MallardError("the root element is no Mallard page")
    blocks: list[str] = []
    _collect(root, blocks, 0)
    title = root.find(f"{_NAMESPACE}title")
    return _inline(title) if title is not None else "", "\n\n".join(block for block in blocks if block)


def _collect(element: Any, blocks: list[str], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise MallardError(f"elements nested more than {MAX_DEPTH} deep")
    for child in element:
        if not isinstance(child.tag, str):
            continue
        name = child.tag.removeprefix(_NAMESPACE)
        if name in _LEFT_OUT:
            continue
        if name in _PREFORMATTED:
            blocks.append("".join(child.itertext()).strip("\n"))
        elif name == "item" and any(isinstance(part.tag, str) for part in child):
            inner: list[str] = []
            _collect(child, inner, depth + 1)
            if inner:
                blocks.append("- " + "\n  ".join(inner))
        elif name in _BLOCKS:
            blocks.append(_inline(child))
        else:
            _collect(child, blocks, depth + 1)


def _inline(element: Any) -> str:
    return " ".join("".join(element.itertext()).split())
