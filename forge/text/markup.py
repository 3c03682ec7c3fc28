"""Short HTML fragments, as service models and specifications carry them, as plain text.

For whole web pages use the page extractor: this module keeps everything that is visible.
"""

from __future__ import annotations

import re
from functools import lru_cache

from selectolax.lexbor import LexborHTMLParser, LexborNode

_DROPPED = frozenset({"script", "style", "noscript", "template", "head", "title", "iframe", "svg", "-comment"})
_BLOCKS = frozenset(
    {
        "p", "div", "section", "article", "header", "footer", "blockquote", "table", "tr", "caption", "form",
        "h1", "h2", "h3", "h4", "h5", "h6", "dl", "dt", "dd", "figure", "figcaption", "hr", "br", "note", "important",
        "caution", "warning", "tip", "para", "fullname", "ul", "ol", "li", "pre",
    }
)  # fmt: skip
_SPACED = frozenset({"p", "div", "section", "article", "blockquote", "table", "h1", "h2", "h3", "h4", "h5", "h6"})
_LISTS = frozenset({"ul", "ol", "dl"})  # what they hold is set without empty lines
_LABELS = {"note": "Note: ", "important": "Important: ", "caution": "Caution: ", "warning": "Warning: ", "tip": "Tip: "}
_CODE = frozenset({"code", "tt", "kbd", "samp"})
_MAX_CHARACTERS = 1_000_000
_MAX_TAGS = 20_000
"""Parsing and walking a fragment is linear in its tags, except for deep nesting: 20,000 levels cost half a second."""

_TAG = re.compile(r"<[^<>]*>")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff\u2028\u2029]")


_CACHED_CHARACTERS = 4000
"""Short fragments repeat (the same note under a hundred operations), long ones would only fill the cache."""


def text_of(fragment: str) -> str:
    """The text of an HTML fragment: paragraphs parted by an empty line, one line a list item ("- " or "1. ", nested
    ones indented by two spaces), notes as "Note: ...", ``<code>`` in backticks, ``<pre>`` as it is.

    Never raises, whatever the input; at most one million characters of it are read. A fragment of more than 20,000
    tags only has its tags cut out.
    """
    return _cached_text(fragment) if len(fragment) <= _CACHED_CHARACTERS else _text(fragment)


@lru_cache(maxsize=8192)
def _cached_text(fragment: str) -> str:
    return _text(fragment)


def _text(fragment: str) -> str:
    fragment = _CONTROL.sub(" ", fragment[:_MAX_CHARACTERS])
    if "<" not in fragment and "&" not in fragment:
        return " ".join(fragment.split())
    if fragment.count("<") > _MAX_TAGS:
        return " ".join(_TAG.sub(" ", fragment).split())
    # Wrapped: the text of a fragment's first node would be that of all its siblings, too.
    root = LexborHTMLParser(f"<div>{fragment}</div>", is_fragment=True).root
    if root is None:
        return ""
    writer = _Writer()
    writer.walk(root)
    return _CONTROL.sub(" ", writer.text())


class _Writer:
    """Walks the tree once and collects lines. ``indent`` is what a further line of the current block starts with,
    ``first`` what its first line starts with instead (a bullet, a label)."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.words: list[str] = []
        self.indent = ""
        self.first: str | None = None
        self.gap = False
        self.lists: list[int | None] = []  # the number of the last item of each open list; None: bullets

    def text(self) -> str:
        self.flush()
        return "\n".join(self.lines).strip("\n").rstrip()

    def flush(self) -> None:
        line = " ".join("".join(self.words).split())
        self.words.clear()
        if line:
            self._open_line()
            self.lines.append((self.indent if self.first is None else self.first) + line)
            self.first = None

    def _open_line(self) -> None:
        if self.gap and self.lines:
            self.lines.append("")
        self.gap = False

    def walk(self, start: LexborNode) -> None:
        """Depth first, without recursion. The fragment's top nodes are ``start`` and what follows it."""
        stack: list[tuple[LexborNode, bool]] = [(start, True)]
        while stack:
            node, entering = stack.pop()
            if not entering:
                self.leave(node.tag or "")
                continue
            following = node.next
            if following is not None:
                stack.append((following, True))
            tag = node.tag or ""
            if tag == "-text":
                self.words.append(node.text_content or "")
            elif tag in _DROPPED:
                continue
            elif tag in _CODE:
                code = " ".join(node.text(deep=True).split())
                self.words.append(f"`{code}`" if code else "")
            elif tag == "pre":
                self.preformatted(node.text(deep=True))
            else:
                if tag in _BLOCKS:
                    self.enter(tag)
                elif tag in {"td", "th"} and "".join(self.words).strip():
                    self.words.append(" | ")
                child = node.first_child
                if tag in _BLOCKS:
                    stack.append((node, False))
                if child is not None:
                    stack.append((child, True))

    def enter(self, tag: str) -> None:
        self.flush()
        if tag in _LISTS:
            if self.first is not None and self.first.endswith(": "):  # a label stands alone above its list
                self._open_line()
                self.lines.append(self.first.rstrip())
                self.first = None
            self.gap = self.gap or (tag == "dl" and not self.lists)
            self.lists.append(0 if tag == "ol" else None)
        elif tag == "li":
            bullet = "- "
            if self.lists and (number := self.lists[-1]) is not None:
                self.lists[-1] = number + 1
                bullet = f"{number + 1}. "
            self.first = (self.first or self.indent) + bullet
            self.indent += "  "
        elif tag == "dd":
            self.indent += "  "
        elif tag in _LABELS:
            self.gap = self.gap or not self.lists
            self.first = (self.indent if self.first is None else self.first) + _LABELS[tag]
        elif tag in _SPACED and self.first is None and not self.lists:
            self.gap = True

    def leave(self, tag: str) -> None:
        self.flush()
        if tag in _LISTS and self.lists:
            self.lists.pop()
            self.gap = self.gap or not self.lists
        elif tag in {"li", "dd"}:
            self.indent = self.indent[:-2]
            self.first = None
        elif tag in _LABELS:
            self.first = None
            self.gap = self.gap or not self.lists
        elif tag in _SPACED and not self.lists:
            self.gap = True

    def preformatted(self, code: str) -> None:
        self.flush()
        lines = [line.rstrip() for line in code.strip("\n").split("\n")]
        if any(lines):
            self.gap = not self.lists
            self._open_line()
            self.lines += [(self.indent + line) if line else "" for line in lines]
            self.gap = not self.lists


_SENTENCE_END = re.compile(r"(?<=[.!?])(?:[\"'`)\]]*)\s+(?=[A-Z`\"'(\[])|\n\s*\n|\n(?=\s*(?:[-*] |\d+\. |>>> ))")
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|cf|approx|resp|no|incl|Fig|Eq|Dr|St|Inc|Ltd|U\.S)|^[A-Z]|\s[A-Z])\.$", re.IGNORECASE
)


def first_sentence(text: str, max_characters: int = 300) -> str:
    """The first sentence of a plain text on one line, cut at a word with "..." when it is longer than asked."""
    head = text[: max_characters * 4].lstrip()
    end = len(head)
    for match in _SENTENCE_END.finditer(head):
        if head[match.start() : match.start() + 1] == "\n" or not _ABBREVIATION.search(
            head[: match.start()].rstrip("\"'`)]")
        ):
            end = match.start()
            break
    sentence = " ".join(head[:end].split())
    return sentence if len(sentence) <= max_characters else cut(sentence, max_characters)


def cut(text: str, max_characters: int) -> str:
    """``text`` when it is short enough, else its beginning up to a white space, with " ..." at the end."""
    if len(text) <= max_characters:
        return text
    room = max(max_characters - 4, 0)
    head = text[:room]
    space = max(head.rfind(" "), head.rfind("\n"))
    return (head[:space] if space > room // 2 else head).rstrip() + " ..."
