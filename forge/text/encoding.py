"""Bytes to text: what is declared, what the bytes show, and a refusal where neither makes sense."""

from __future__ import annotations

import codecs
import re

MAX_BROKEN_SHARE = 0.01
"""Above this share of undecodable or control characters the guess is wrong or the bytes are no text."""
_META_BYTES = 2048
_META = re.compile(
    rb"""<(?:meta|\?xml)[^>]*?(?:charset|encoding)\s*=\s*["']?\s*([A-Za-z0-9_.:-]{1,40})""", re.IGNORECASE
)
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_NOT_TEXT = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x9f\ufffd]")


class UnknownEncodingError(ValueError):
    """The bytes are text in no encoding that was declared or could be recognised."""


def decode(body: bytes, declared: str | None = None, from_html: bool = False) -> tuple[str, str]:
    """Text and the encoding it was in. Raises :class:`UnknownEncodingError`.

    Order: a byte order mark; UTF-8 when the bytes are valid UTF-8 (hardly anything else is by chance, and pages that
    are UTF-8 often declare something else); the declared label (HTTP, then the ``meta`` element with ``from_html``) by
    the WHATWG table; detection by uchardet; last, the declared encoding with at most 1 % of broken characters.
    """
    from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

    for mark, encoding in _BOMS:
        if body.startswith(mark):
            text = body[len(mark) :].decode(encoding, "replace")
            return _checked(text), encoding
    labels = [declared or ""]
    if from_html:
        match = _META.search(body, 0, _META_BYTES)
        labels.append(match[1].decode("ascii") if match else "")
    named = [name for name in (map_encoding_to_html5(label, fallback_utf8=False) for label in labels if label) if name]
    guesses = ["utf-8", *(name for name in named if name != "utf-8")]
    detected = detect_encoding(body, html5_compatible=False)
    mapped = map_encoding_to_html5(detected, fallback_utf8=False) if detected else None
    if mapped:
        guesses.append(mapped)
    for encoding in guesses:
        try:
            text = body.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
        if _broken_share(text) <= MAX_BROKEN_SHARE:
            return text, encoding
    for encoding in dict.fromkeys([*named, "utf-8"]):
        try:
            text = body.decode(encoding, "replace")
        except LookupError:
            continue
        if _broken_share(text) <= MAX_BROKEN_SHARE:
            return text, encoding
    stated = ", ".join(label[:40] for label in labels if label) or "nothing"
    raise UnknownEncodingError(f"declared {stated}; recognised {detected or 'nothing'}")


def _broken_share(text: str) -> float:
    return len(_NOT_TEXT.findall(text)) / len(text) if text else 0.0


def _checked(text: str) -> str:
    share = _broken_share(text)
    if share > MAX_BROKEN_SHARE:
        raise UnknownEncodingError(f"{share:.0%} of the characters after the byte order mark are broken")
    return text
