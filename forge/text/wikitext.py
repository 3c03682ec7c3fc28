"""Wikitext to plain prose: templates, tables, references and files go, words of links stay.

Not a full parser: templates are dropped, not expanded. Every pass is linear in the text, whatever it is nested like.
"""

from __future__ import annotations

import html
import re

_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
# Elements whose content is no prose. A self-closed reference has no end tag to look for.
_DROPPED = re.compile(
    r"<(ref|math|gallery|timeline|score|syntaxhighlight|source|imagemap|hiero|chem|templatedata|graph|mapframe)\b"
    r"(?:[^<>]*/>|[^<>]*>.*?(?:</\1\s*>|\Z))",
    re.DOTALL | re.IGNORECASE,
)
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,1000}>")
_BREAK = re.compile(r"<(?:br|p|/p|/div|/li)\b[^<>]{0,200}>", re.IGNORECASE)
_EXTERNAL = re.compile(r"\[(?:https?:|ftp:|mailto:|//)[^\s\]]*(?:\s+([^\]\n]*))?\]")
_MAGIC = re.compile(r"__[A-Z]{3,30}__")
_HEADING = re.compile(r"^(={1,6})\s*(.+?)\s*\1\s*$")
_QUOTES = re.compile(r"'{2,5}")
_SPACE_BEFORE = re.compile(r"[ \t]+([,.;:!?)])")
_EMPTY_BRACKETS = re.compile(r"\(\s*[;,\s]*\)")
_SPACES = re.compile(r"[ \t]+")
_BLANK_LINES = re.compile(r"\n{3,}")
_NO_PROSE_NAMESPACES = frozenset({"file", "image", "category", "media"})
_BACK_MATTER = frozenset(
    {"references", "external links", "see also", "further reading", "notes", "footnotes", "bibliography", "sources",
     "notes and references", "citations", "works cited"}
)  # fmt: skip
# "|}" ends a table, but "|}}" ends a template whose last parameter is empty; "|}}}" is a table's end within a template.
_TOKEN = re.compile(r"\{\{|\}\}|\{\||\|\}(?=\}\}(?!\}))|\|\}(?!\})|\[\[|\]\]")
_CLOSES = {"}}": "{{", "|}": "{|", "]]": "[["}
_MAX_UNCLOSED = 8
"""A closing mark reaches over at most this many openings that nobody closed."""


def plain_text(wikitext: str) -> str:
    """Paragraphs, headings and lists of an article, sections of references and links left out. Never raises."""
    text = _COMMENT.sub("", wikitext)
    text = _DROPPED.sub("", text)
    text = _without_braces(text)
    text = _BREAK.sub("\n", text)
    text = _TAG.sub("", text)
    text = _EXTERNAL.sub(lambda match: match[1] or "", text)
    text = _MAGIC.sub("", text)
    text = _QUOTES.sub("", text)
    text = html.unescape(text)
    blocks: list[tuple[int, str]] = []  # (heading level, or 0 for prose; text)
    skipping = 0
    for line in text.split("\n"):
        heading = _HEADING.match(line.strip())
        if heading:
            level = len(heading[1])
            if skipping and level <= skipping:
                skipping = 0
            if not skipping and heading[2].strip().lower() in _BACK_MATTER:
                skipping = level
            if not skipping:
                blocks.append((level, heading[2].strip()))
        elif not skipping:
            blocks.append((0, _line(line)))
    return _BLANK_LINES.sub("\n\n", "\n".join(_without_empty_sections(blocks))).strip()


def _without_empty_sections(blocks: list[tuple[int, str]]) -> list[str]:
    """The lines, without headings of sections that lost their content (a table, a gallery)."""
    lines: list[str] = []
    following = 1  # level of the heading that comes next with nothing in between; 0 when prose does
    for level, text in reversed(blocks):
        if level == 0:
            lines.append(text)
            if text:
                following = 0
        elif following == 0 or following > level:
            lines.extend(("", text, ""))
            following = level
    return lines[::-1]


def _line(line: str) -> str:
    marks = len(line) - len(line.lstrip("*#:;"))
    body = _SPACES.sub(" ", line[marks:]).strip()
    body = _EMPTY_BRACKETS.sub("", body)
    body = _SPACE_BEFORE.sub(r"\1", body)
    body = _SPACES.sub(" ", body).strip()
    if body.startswith(("|", "!")) or not body:
        return ""
    if marks and line[marks - 1] in "*#":
        return "  " * (marks - 1) + "- " + body
    # A blank line after a prose line: wikitext's line is a paragraph.
    return body + "\n" if not marks else body


def _without_braces(text: str) -> str:
    """Drop templates and tables, reduce links to their words, with one stack for all three."""
    stack: list[tuple[str, list[str]]] = [("", [])]
    position = 0
    for match in _TOKEN.finditer(text):
        stack[-1][1].append(text[position : match.start()])
        position = match.end()
        token = match[0]
        if token in {"{{", "{|", "[["}:
            stack.append((token, []))
            continue
        opener = _CLOSES[token]
        reach = stack[: -_MAX_UNCLOSED - 1 : -1]
        above = next((place for place, (kind, _) in enumerate(reach) if kind == opener), None)
        if above is None:
            continue
        for _ in range(above):  # openings that nobody closed were no markup
            unclosed = stack.pop()[1]
            stack[-1][1].extend(unclosed)
        content = "".join(stack.pop()[1])
        if opener == "[[":
            stack[-1][1].append(_link_words(content))
    stack[-1][1].append(text[position:])
    return "".join(part for _, parts in stack for part in parts)


def _link_words(content: str) -> str:
    target, _, words = content.partition("|")
    namespace, colon, _ = target.partition(":")
    if colon and namespace.strip().lower() in _NO_PROSE_NAMESPACES:
        return ""
    if not words:
        # Links to other languages ("fr:Anarchisme") stand at the end of old articles.
        if colon and re.fullmatch(r"[a-z]{2,3}(?:-[a-z]+)?", namespace.strip()):
            return ""
        return target.lstrip(":").partition("#")[0] or target.lstrip("#")
    return words.rpartition("|")[2]
