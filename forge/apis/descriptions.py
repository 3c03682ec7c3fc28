"""What specifications say in words: CommonMark, HTML fragments, or one inside the other, as plain text."""

from __future__ import annotations

import html
import re

from forge.text.markup import cut, text_of

_MAX_CHARACTERS = 20_000
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u2028\u2029]")
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,1000}>")
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_BLOCK = re.compile(r"<(?:p|ul|ol|li|dl|div|table|pre|h[1-6])[ >/]", re.IGNORECASE)


def plain_text(text: str) -> str:
    """The text without control characters and lone surrogates; line feeds and tabs stay."""
    if text.isprintable():
        return text
    return _CONTROL.sub(" ", text.replace("\r\n", "\n")) if _CONTROL.search(text) else text


def description_text(stated: object) -> str:
    """A description as plain text, "" for what is no text. CommonMark is left as it is; tags inside it go, its lines
    stay; what is an HTML fragment is converted. At most 20,000 characters."""
    if not isinstance(stated, str):
        return ""
    text = plain_text(stated).strip()
    if "<" not in text:
        return text if len(text) <= _MAX_CHARACTERS else cut(text, _MAX_CHARACTERS)
    if _TAG.search(text):
        # An empty line parts paragraphs in CommonMark and means nothing in HTML.
        is_fragment = "\n" not in text or text.startswith("<") or ("\n\n" not in text and _BLOCK.search(text))
        text = text_of(text) if is_fragment else html.unescape(_TAG.sub("", _BREAK.sub("\n", text))).strip()
        text = plain_text(text)
    return cut(text, _MAX_CHARACTERS)
