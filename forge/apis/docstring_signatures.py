"""Signatures that stand on the first lines of a docstring, as those of compiled functions do: ``sin(x, /[, out])``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from forge.apis.python_objects import Parameter
from forge.apis.python_source import parse_module

_MAX_CHARACTERS = 1500
_MAX_LINES = 12
_SPARE_COMMA = re.compile(r",(?=\s*(?:,|$))|^\s*,")
_WORD = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class Signature:
    """``parameters`` is None when ``text`` is none that Python understands. ``rest`` is the docstring below it."""

    text: str
    parameters: Sequence[Parameter] | None
    returns: str
    rest: str


def split_signature(docstring: str, name: str) -> Signature | None:
    """The signature that a docstring begins with; None when it begins with something else. Of several (one a line) the
    first tells the parameters."""
    begin = re.compile(rf"(?:\w+\.)*{re.escape(name)}\(")
    lines = docstring.split("\n")
    found: list[str] = []
    number = 0
    while number < len(lines) and begin.match(lines[number]):
        end = _end_of_call(lines, number)
        if end is None:
            break
        found.append(" ".join(line.strip() for line in lines[number:end]))
        number = end
    if not found or (number < len(lines) and lines[number].strip()):
        return None  # a sentence that begins with a call
    parameters, returns = _read(found[0])
    return Signature("\n".join(found), parameters, returns, "\n".join(lines[number:]).strip("\n"))


def _end_of_call(lines: list[str], start: int) -> int | None:
    """The line after the one that closes the parenthesis which the first one opens, if nothing but a result follows."""
    depth = 0
    for number in range(start, min(start + _MAX_LINES, len(lines))):
        for position, character in enumerate(lines[number]):
            depth += {"(": 1, ")": -1}.get(character, 0)
            if depth == 0 and character == ")":
                after = lines[number][position + 1 :].strip()
                return number + 1 if not after or after.startswith(("->", "→")) else None
    return None


def _read(text: str) -> tuple[Sequence[Parameter] | None, str]:
    if len(text) > _MAX_CHARACTERS:
        return None, ""
    call, arrow, returns = text.partition("->")
    while arrow and call.count("(") != call.count(")"):  # an arrow inside
        further, arrow, returns = returns.partition("->")
        call += "->" + further
    inside = call.partition("(")[2].rpartition(")")[0]
    parameters = _parsed(inside)
    if parameters is None:
        plain, optional = _without_brackets(inside)
        parameters = _parsed(plain)
        if parameters is not None:
            parameters = [
                replace(entry, default="") if entry.default is None and entry.name in optional else entry
                for entry in parameters
            ]
    return parameters, returns.strip()


def _parsed(parameters: str) -> Sequence[Parameter] | None:
    try:
        source = parse_module("signature", f"def call({parameters}):\n    '''.'''\n")
        if list(source.members) != ["call"]:
            return None
        (described,) = source.objects("call")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    told = described.parameters or ()
    return told[1:] if told and told[0].name in {"self", "$self"} else told


def _without_brackets(text: str) -> tuple[str, set[str]]:
    """``stop[, step=1]`` -> ``stop, step=1`` and the names that stood in brackets: they can be left out."""
    kept: list[str] = []
    optional: list[str] = []
    depth = 0
    for character in text:
        if character in "[]":
            depth += 1 if character == "[" else -1
            optional.append(" ")
            continue
        kept.append(character)
        if depth > 0:
            optional.append(character)
    plain = "".join(kept)
    for _ in range(3):
        plain = _SPARE_COMMA.sub("", plain)
    return plain, set(_WORD.findall("".join(optional)))
