"""Perl's plain old documentation as blocks (commands, paragraphs, verbatim text), and its formatting codes as text.

The format is that of perlpodspec. Blocks of other formats (``=begin html``) are left out; nothing recurses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from forge.apis.descriptions import plain_text

_COMMAND = re.compile(r"=([a-zA-Z]\w*)\s*(.*)", re.DOTALL)
_OPENING = re.compile(r"([A-Z])(<<+\s|<)")
_ENTITIES = {"lt": "<", "gt": ">", "verbar": "|", "sol": "/", "amp": "&", "quot": '"', "nbsp": " ", "eacute": "é"}
_MAX_OPEN_CODES = 32


@dataclass(frozen=True, slots=True)
class Block:
    """``command`` of kind "command" is "head1", "item", "over" ...; its ``text``, like a paragraph's, still has its
    formatting codes. ``line`` counts from 1."""

    kind: Literal["command", "paragraph", "verbatim"]
    text: str
    line: int
    command: str = ""


def blocks_of(text: str) -> Iterator[Block]:
    """The blocks of a file, its code left out."""
    inside, other_format = False, ""
    line = 1
    for raw in re.split(r"(\n(?:[ \t]*\n)+)", text.replace("\r\n", "\n")):
        here, line = line, line + raw.count("\n")
        block = raw.strip("\n")
        if not block.strip():
            continue
        match = _COMMAND.match(block) if block.startswith("=") else None
        if match is not None:
            command, rest = match[1], match[2].strip()
            if command == "cut":
                inside = False
                continue
            inside = True
            if command in {"pod", "encoding", "for"}:
                continue
            if command in {"begin", "end"}:
                other_format = rest.split()[0] if command == "begin" and rest and rest[0] != ":" else ""
            elif not other_format:
                yield Block("command", rest, here, command)
        elif inside and not other_format:
            is_verbatim = block[0] in " \t"
            yield Block("verbatim" if is_verbatim else "paragraph", block, here)


def formatted(text: str) -> str:
    """Formatting codes as plain text on one line: ``C<x>`` in backticks, ``L<text|target>`` as its text, ``E<gt>`` as
    the character, ``X<>`` and ``Z<>`` as nothing. A code that is not closed ends with the text."""
    return " ".join(plain_text(_written(text)).split())


def bare(text: str) -> str:
    """The same without backticks: names and signatures."""
    return formatted(text).replace("`", "")


def _written(text: str) -> str:
    parts: list[list[str]] = [[]]
    codes: list[tuple[str, str]] = []  # code, what closes it
    position = 0
    while position < len(text):
        if codes and text.startswith(codes[-1][1], position):
            code, closing = codes.pop()
            inner = "".join(parts.pop())
            parts[-1].append(_meaning(code, inner))
            position += len(closing)
            continue
        match = _OPENING.match(text, position)
        if match is not None and len(codes) < _MAX_OPEN_CODES:
            codes.append((match[1], ">" if match[2] == "<" else " " + ">" * (len(match[2]) - 1)))
            parts.append([])
            position = match.end()
            continue
        following = _NEXT.search(text, position + 1)
        end = following.start() if following else len(text)
        parts[-1].append(text[position:end])
        position = end
    while codes:
        code, _ = codes.pop()
        inner = "".join(parts.pop())
        parts[-1].append(_meaning(code, inner))
    return "".join(parts[0])


_NEXT = re.compile(r"[A-Z]<| ?>")


def _meaning(code: str, inner: str) -> str:
    if code == "C":
        return f"`{inner.strip()}`" if inner.strip() and "`" not in inner else inner
    if code in {"X", "Z"}:
        return ""
    if code == "E":
        return _ENTITIES.get(inner) or _numbered(inner)
    if code == "L":
        shown, bar, _ = inner.partition("|")
        return shown if bar else inner.removeprefix("/").replace('"', "")
    return inner


def _numbered(inner: str) -> str:
    try:
        number = int(inner, 16 if inner[:2].lower() == "0x" else 8 if inner[:1] == "0" else 10)
        return chr(number) if 31 < number < 0xD800 else ""
    except ValueError:
        return inner


def prose(blocks: list[Block]) -> str:
    """The text of some blocks: paragraphs parted by empty lines, items with a dash, code with its lines."""
    parts: list[str] = []
    for block in blocks:
        if block.kind == "verbatim":
            lines = [plain_text(line).expandtabs().rstrip() for line in block.text.split("\n")]
            margin = min((len(line) - len(line.lstrip()) for line in lines if line), default=0)
            parts.append("\n".join(line[margin:] for line in lines))
        elif block.kind == "paragraph":
            parts.append(formatted(block.text))
        elif block.command == "item":
            label = formatted(block.text).removeprefix("*").lstrip()
            parts.append(f"- {label}" if label else "-")
        elif block.command.startswith("head"):
            parts.append(formatted(block.text))
    text = "\n\n".join(part for part in parts if part)
    return re.sub(r"(?m)^-\n\n", "- ", text)
