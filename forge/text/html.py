"""The readable text of an HTML page, made for documentation: code keeps its lines and indentation, navigation goes.

Documentation generators (Sphinx, Javadoc, rustdoc, Doxygen, MkDocs, MediaWiki, DocBook) say where their content begins;
where one does, that element is taken whole.
General extractors guess instead, and lose whole pages of documentation: resiliparse's main-content heuristic returns
nothing for 340,775 characters of SQLAlchemy's ``core/selectable.html``. The heuristic is used where no known container
exists, and kept only when it keeps at least half of the page.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from forge.text import nesting
from forge.text.encoding import UnknownEncodingError, decode

HTML_MEDIA_TYPES = frozenset({"text/html", "application/xhtml+xml"})
MAX_PAGE_BYTES = 5 * 1024 * 1024
_HARMLESS_TAGS = 2000
"""Extraction takes longer than parsing: of 2,000 nested elements about a third of a second."""
SMALL_PAGE_CHARACTERS = 3000
MIN_PAGE_CHARACTERS = 40

# Where generators put the content of a page; the first that holds enough text wins.
_CONTAINERS = (
    "[role=main]",
    "main",
    "div.body",
    "#docs-body",
    "#mw-content-text",
    "div.md-content",
    "div.rst-content",
    "#main-content",
    "article",
    "div.documentwrapper",
    "body > div.contents",
    "body > div.book",
    "body > div.chapter",
    "body > div.section",
    "body > div.appendix",
    "body > div.preface",
)
_NOT_CONTENT = [
    "script", "style", "noscript", "template", "svg", "button", "select", "form", "iframe", "nav", "footer",
    "body > header", "[role=navigation]", "[role=search]", "[role=banner]", "[role=contentinfo]",
    "[aria-hidden=true]", ".headerlink", ".paramlink", ".sphinxsidebar", ".sphinxsidebarwrapper", ".related",
    ".viewcode-link", ".viewcode-back", ".copybtn", "#docs-top-navigation", "#docs-bottom-navigation",
    "#docs-sidebar", ".topnav", ".bottomnav", ".docnav", ".navheader", ".navfooter", ".toc",
    ".toctree-wrapper.navigation", ".breadcrumb", ".breadcrumbs", "#sidebar", "body > .sidebar", "aside.sidebar",
    ".sub-nav", ".top-nav", ".bottom-nav", ".skip-nav", ".skip-link", ".mw-editsection", ".mw-jump-link",
    ".printfooter", "#catlinks", "#top", "#nav-path", ".header-link", ".wy-nav-side", ".rst-footer-buttons",
    ".md-sidebar", ".md-header", ".md-footer", ".cookie-banner", "#cookie-banner",
]  # fmt: skip
_SPACES_AT_END = re.compile(r"[ \t\xa0]+(?=\n|$)")
_FRAGMENT = re.compile(rb"<(?:div|p|table|h[1-6]|ul|ol|section|article|main|title|meta|span|a|center|font)[\s>]")
_BLANK_LINES = re.compile(r"\n{3,}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u2028\u2029\ufeff]")


@dataclass(frozen=True, slots=True)
class Page:
    title: str
    text: str
    encoding: str


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a page has no text: not_html, too_large, unknown_encoding, extraction_failed or empty_page."""

    reason: str
    detail: str = ""


def extract_page(
    body: bytes, media_type: str = "", charset: str | None = None, max_bytes: int = MAX_PAGE_BYTES
) -> Page | Rejection:
    """Title and main text of a page. ``charset`` is what HTTP stated. Never raises for any input.

    A body over ``max_bytes`` is refused before it is looked at.
    """
    if len(body) > max_bytes:
        return Rejection("too_large", f"{len(body)} bytes, at most {max_bytes} are parsed")
    if not is_html(body, media_type):
        return Rejection("not_html", f"media type {media_type[:80]!r}")
    if not body.strip():
        return Rejection("empty_page", "no bytes")
    try:
        html, encoding = decode(body, charset, from_html=True)
    except UnknownEncodingError as error:
        return Rejection("unknown_encoding", str(error))
    if (refused := nesting.refusal(html, _HARMLESS_TAGS)) is not None:
        return Rejection("extraction_failed", refused[1])
    try:
        title, text = _title_and_text(html)
    except (ValueError, RuntimeError, TypeError, MemoryError, RecursionError) as error:
        return Rejection("extraction_failed", f"{type(error).__name__}: {error}")
    if len(text) < MIN_PAGE_CHARACTERS:
        return Rejection("empty_page", f"{len(text)} characters of text")
    return Page(title, text, encoding)


def is_html(body: bytes, media_type: str) -> bool:
    """By the stated media type; by the first bytes where none, or only plain text or bytes, is stated."""
    if media_type in HTML_MEDIA_TYPES:
        return True
    if media_type not in {"", "text/plain", "application/octet-stream"}:
        return False
    beginning = body[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if beginning.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return True
    return not media_type and _FRAGMENT.match(beginning) is not None


def _title_and_text(html: str) -> tuple[str, str]:
    from resiliparse.parse.html import HTMLTree

    tree = HTMLTree.parse(html)
    title = " ".join((tree.title or "").split())
    whole = _plain(html, main_content=False)
    text = ""
    document = tree.document
    for selector in _CONTAINERS:
        element = document.query_selector(selector) if document is not None else None
        if element is not None:
            text = _plain(element.html, main_content=False)
            # A container that holds next to nothing of a full page is a decoration with a well-known name; on a small
            # page ("this page has moved") the navigation outweighs the content.
            if len(text) >= 0.3 * len(whole) or (text and len(whole) < SMALL_PAGE_CHARACTERS):
                break
            text = ""
    if not text:
        guess = _plain(html, main_content=True)
        text = guess if len(guess) >= 0.5 * len(whole) else whole
    if not title and document is not None:
        heading = document.query_selector("h1")
        title = " ".join((heading.text or "").split()) if heading is not None else ""
    return _CONTROL.sub(" ", title)[:500].strip(), text


def _plain(html: str, main_content: bool) -> str:
    from resiliparse.extract.html2text import extract_plain_text

    text = extract_plain_text(
        html, preserve_formatting=True, main_content=main_content, alt_texts=False, skip_elements=_NOT_CONTENT
    )
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _CONTROL.sub("", text)
    text = _SPACES_AT_END.sub("", text)
    return _BLANK_LINES.sub("\n\n", text).strip("\n")
