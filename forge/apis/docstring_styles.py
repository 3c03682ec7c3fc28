"""Which style a docstring is written in, and its headings and fields in the spelling that griffe's parsers take.

Authors mix styles and misspell them: fields that are indented or of Epytext, ``Example::``, NumPy headings underlined
with ``===``, a fenced block that is not indented below its heading. Only such marks are rewritten here, never words.
"""

from __future__ import annotations

import re
import textwrap
from typing import Literal

Style = Literal["google", "numpy", "sphinx"]

_SECTIONS = (
    "Parameters|Other Parameters|Returns|Yields|Receives|Raises|Warns|Examples|Attributes|Notes|See Also|Methods"
    "|References"
)
_NUMPY = re.compile(rf"^[ \t]*(?:{_SECTIONS})[ \t]*\n[ \t]*-{{3,}}[ \t]*$", re.MULTILINE)
_FIELDS = "param|parameter|arg|argument|key|keyword|kwarg|type|returns?|rtype|yields?|raises?|except|exception|ivar|var"
_SPHINX = re.compile(rf"^[ \t]*[:@](?:{_FIELDS})\b[^\n:]*:", re.MULTILINE)
_GOOGLE = re.compile(
    r"^[ \t]*(?:Args|Arguments|Params|Parameters|Keyword Args|Keyword Arguments|Returns?|Yields|Raises|Examples?"
    r"|Attributes):{1,2}[ \t]*$",
    re.MULTILINE,
)
_LOOSE_HEADING = re.compile(
    r"^([ \t]*)(Example|Examples|Args|Arguments|Params|Parameters|Returns?|Raises|Yields):{1,2}[ \t]*\n(?:[ \t]*\n)*",
    re.MULTILINE,
)
_HEADINGS = {"Example": "Examples", "Params": "Args", "Parameters": "Args", "Return": "Returns"}
_OUTER_EXAMPLES = re.compile(r"^Examples:\n(?=\S)", re.MULTILINE)
_OUTER_HEADING = re.compile(r"^[A-Z][A-Za-z ]{2,30}:[ \t]*$", re.MULTILINE)
_EQUALS_HEADING = re.compile(
    r"^([ \t]*)(Parameters|Returns|Raises|Examples|Notes|See Also|References|Attributes|Yields)"
    r"([ \t]*\n)([ \t]*)={3,}[ \t]*\n(?:[ \t]*\n)*",
    re.MULTILINE,
)
_COLON_HEADING = re.compile(
    r"^(Parameters|Returns|Raises|Yields|Examples|Notes):[ \t]*\n((?:[ \t]+\S[^\n]*(?:\n|$)|[ \t]*\n)+)", re.MULTILINE
)
_EMPTY_SECTION = re.compile(
    rf"^(?:{_SECTIONS})[ \t]*\n-{{3,}}[ \t]*\n(?:[ \t]*\n)*(?=(?:{_SECTIONS})[ \t]*\n-{{3,}}[ \t]*$)", re.MULTILINE
)
_TYPE_AND_WORDS = re.compile(r"^(\w[^:\n]*):[ \t]+(?=\S)", re.MULTILINE)
_FIELD = re.compile(rf"^[ \t]*[:@]({_FIELDS})\b[ \t]*([^\n:]*):", re.MULTILINE)
_LATE_ERROR = re.compile(r"^:raises:[ \t]*([A-Za-z_][\w.]*)[ \t]*(?::|$)", re.MULTILINE)
_FIELD_NAMES = {
    "parameter": "param", "argument": "param", "arg": "param", "key": "param", "keyword": "param", "kwarg": "param",
    "raise": "raises", "except": "raises", "exception": "raises", "return": "returns", "yield": "returns",
    "yields": "returns", "ivar": "var",
}  # fmt: skip


def guess_style(docstring: str) -> Style | None:
    """The style of one docstring by its section headings; None for plain prose."""
    if "---" in docstring and _NUMPY.search(docstring):
        return "numpy"
    if ":" not in docstring:
        return None
    if _GOOGLE.search(docstring):
        return "google"
    return "sphinx" if has_fields(docstring) else None


def has_fields(text: str) -> bool:
    """Whether fields of the Sphinx (``:param x:``) or Epytext style (``@param x:``) stand in a text."""
    return _SPHINX.search(text) is not None


def with_underlines(docstring: str) -> str:
    """SymPy's ``===`` below NumPy's headings as ``---``."""
    if "===" not in docstring:
        return docstring
    return _EQUALS_HEADING.sub(r"\1\2\3\4-----\n", docstring)


def in_google_spelling(docstring: str) -> str:
    """Headings with one colon and nothing empty below them; unindented examples indented; Sphinx fields at the margin,
    where they end a section and stay text."""
    if has_fields(docstring):
        docstring = in_sphinx_spelling(docstring)
    text = _LOOSE_HEADING.sub(lambda match: f"{match[1]}{_HEADINGS.get(match[2], match[2])}:\n", docstring)
    start = 0
    while match := _OUTER_EXAMPLES.search(text, start):
        following = _OUTER_HEADING.search(text, match.end())
        end = following.start() if following else len(text)
        block = textwrap.indent(text[match.end() : end], "    ")
        text = text[: match.end()] + block + text[end:]
        start = match.end() + len(block)
    return text


def in_numpy_spelling(docstring: str) -> str:
    """Google's headings, which some authors mix in, with an underline; what stands below them not indented. Sections
    that hold nothing are gone: griffe would take the next heading for their content."""

    def underlined(match: re.Match[str]) -> str:
        block = textwrap.dedent(match[2])
        if match[1] in {"Returns", "Yields", "Raises"}:
            block = _TYPE_AND_WORDS.sub(r"\1\n    ", block)
        return f"{match[1]}\n{'-' * len(match[1])}\n{block}"

    return _EMPTY_SECTION.sub("", _COLON_HEADING.sub(underlined, docstring))


def in_sphinx_spelling(docstring: str) -> str:
    """Fields at the margin, in one name each; a type of several words in a field of its own."""
    return _LATE_ERROR.sub(r":raises \1:", _FIELD.sub(_respelled, docstring))


def _respelled(match: re.Match[str]) -> str:
    name = _FIELD_NAMES.get(match[1], match[1])
    words = match[2].split()
    if name == "param" and len(words) > 2:
        return f":type {words[-1]}: {' '.join(words[:-1])}\n:param {words[-1]}:"
    if name == "raises":
        return f":raises {''.join(words)}:" if words else ":raises:"
    return f":{' '.join([name, *words])}:"
