"""The text level of roff: escape sequences to characters, and the arguments of a macro line.

What only changes the look (fonts, sizes, motions) goes; glyphs become Unicode; strings that the page defines are put in
once, never again in what they gave.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

MAX_STRING_CHARACTERS = 64
"""Of a string that a page defines: what it is put into stays within fifteen times the page's own length."""

# fmt: off
_GLYPHS = {
    "-": "-", "aq": "'", "dq": '"', "lq": "\u201c", "rq": "\u201d", "oq": "\u2018", "cq": "\u2019", "ga": "`",
    "ha": "^", "ti": "~", "bu": "\u2022", "em": "\u2014", "en": "\u2013", "hy": "-", "mi": "-", "pl": "+", "eq": "=",
    "mu": "\u00d7", "di": "\u00f7", "+-": "\u00b1", "<=": "\u2264", ">=": "\u2265", "!=": "\u2260", "==": "\u2261",
    "->": "\u2192", "<-": "\u2190", "ua": "\u2191", "da": "\u2193", "la": "\u27e8", "ra": "\u27e9", "de": "\u00b0",
    "co": "\u00a9", "rg": "\u00ae", "tm": "\u2122", "sc": "\u00a7", "ps": "\u00b6", "dg": "\u2020", "fm": "\u2032",
    "sd": "\u2033", "sl": "/", "rs": "\\", "at": "@", "sh": "#", "Do": "$", "lB": "[", "rB": "]", "lC": "{", "rC": "}",
    "ba": "|", "bv": "|", "br": "|", "ul": "_", "ru": "_", "rn": "\u203e", "12": "\u00bd", "14": "\u00bc",
    "34": "\u00be", "S1": "\u00b9", "S2": "\u00b2", "S3": "\u00b3", "if": "\u221e", "sr": "\u221a", "sum": "\u2211",
    "no": "\u00ac", "or": "|", "Po": "\u00a3", "Eu": "\u20ac", "ss": "\u00df", "*a": "\u03b1", "*b": "\u03b2",
    "*m": "\u03bc", "*p": "\u03c0", "*D": "\u0394", "*W": "\u03a9", "mc": "\u00b5", "~~": "\u2248", "ap": "~",
    "OK": "\u2713", "lh": "\u261c", "rh": "\u261e", "CR": "\u21b5", "r!": "\u00a1", "r?": "\u00bf", "ct": "\u00a2",
    "Ye": "\u00a5", "Fo": "\u00ab", "Fc": "\u00bb", "fo": "\u2039", "fc": "\u203a", "Bq": "\u201e", "bq": "\u201a",
}
_ACCENTS = {
    "'": "\u0301", "`": "\u0300", "^": "\u0302", ":": "\u0308", "~": "\u0303", ",": "\u0327", "o": "\u030a",
}
_STRINGS = {
    "lq": "\u201c", "rq": "\u201d", "R": "\u00ae", "Tm": "\u2122", "-": "-", "q": '"', "Px": "POSIX", "Ai": "ANSI",
}
# What pod2man means by those that it defines, whatever it then does to print them.
FIXED_STRINGS = {"--": "--", "C`": "`", "C'": "`", 'L"': '"', 'R"': '"', "PI": "\u03c0"}
_CHARACTERS = {
    "-": "-", "e": "\\", "\\": "\\", " ": " ", "~": " ", "0": " ", "t": "\t", "'": "\u00b4", "`": "`", ".": ".",
    "_": "_", "E": "\\",
}
# fmt: on
_ESCAPE = re.compile(
    r"\\(?:"
    r"\*(?:\((?P<string2>..)|\[(?P<string>[^\]\n]{0,99})\]|(?P<string1>.))"
    r"|\((?P<glyph2>..)|\[(?P<glyph>[^\]\n]{0,99})\]|N'(?P<number>\d{1,6})'"
    r"|[fFgkMmnVY][+-]?(?:\(..|\[[^\]\n]{0,99}\]|.)"
    r"|s[+-]?(?:\(\d\d|\[[^\]\n]{0,99}\]|'[^'\n]{0,99}'|[1-3]\d|\d)"
    r"|[AbBCDhHlLoRSvwxXZ]'[^'\n]{0,999}'"
    r"|(?P<character>.)|$)"
)
_ARGUMENT = re.compile(r"\"((?:[^\"]|\"\")*)(?:\"|$)|((?:\\.|[^ \t\\]|\\$)+)")
_COMMENT = re.compile(r"((?:^|[^\\])(?:\\\\)*)\\[\"#].*")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufeff\ufffe\uffff\u2028\u2029]")


def without_comment(line: str) -> str:
    return _COMMENT.sub(r"\1", line) if '\\"' in line or "\\#" in line else line


def arguments(text: str) -> list[str]:
    """The arguments after a macro's name, still with their escapes. Quotes hold what has blanks in it together."""
    return [match[1].replace('""', '"') if match[2] is None else match[2] for match in _ARGUMENT.finditer(text)]


def plain(text: str, strings: Mapping[str, str]) -> str:
    """The text without escapes."""
    if "\\" in text:
        text = _ESCAPE.sub(lambda match: _replacement(match, strings), text)
    return _CONTROL.sub(" ", text)


def _replacement(match: re.Match[str], strings: Mapping[str, str]) -> str:
    kind = match.lastgroup
    if kind is None:
        return ""
    value = match[kind]
    if kind == "character":
        return _CHARACTERS.get(value, "")
    if kind.startswith("string"):
        if value in FIXED_STRINGS:
            return FIXED_STRINGS[value]
        if value in strings:
            return _ESCAPE.sub(lambda inner: _replacement(inner, {}), strings[value])
        return _STRINGS.get(value, "")
    if kind == "number":
        return _character(int(value))
    if re.fullmatch(r"u[0-9A-F]{4,6}", value):
        return _character(int(value[1:], 16))
    if value in _GLYPHS:
        return _GLYPHS[value]
    if len(value) == 2 and value[0] in _ACCENTS and value[1].isalpha():
        from unicodedata import normalize

        return normalize("NFC", value[1] + _ACCENTS[value[0]])
    return ""


def _character(number: int) -> str:
    return chr(number) if 32 <= number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF else ""
