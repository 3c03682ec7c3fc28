"""Plain Old Documentation (perlpod) -> the sections and blocks that manual pages have.

Paragraphs, ``=item`` lists, headings and verbatim text; formatting codes become text, ``C<code>`` in backticks. What is
for other formatters (``=for``, ``=begin``) is left out. Time is linear in the length, whatever is nested.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field

from forge.apis.roff import MAX_LEVEL, Block, Section

MAX_NESTED_CODES = 20
_CODE = re.compile(r"[A-Z]<(?:<+(?=\s))?|>+")
_COMMAND = re.compile(r"=([a-zA-Z]\w*)[ \t]*(.*)", re.DOTALL)
_ENTITIES = {"sol": "/", "verbar": "|", "lchevron": "\u00ab", "rchevron": "\u00bb"}
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufeff\ufffe\uffff\u2028\u2029]")


def read_pod(text: str) -> tuple[Section, ...]:
    """The sections (``=head1``) of a document; what stands before the first one is in a section without a title."""
    reader = _Reader()
    reader.read(_CONTROL.sub(" ", text.replace("\r\n", "\n")))
    return tuple(Section(title, tuple(blocks)) for title, blocks in reader.sections if title or blocks)


@dataclass
class _Reader:
    sections: list[tuple[str, list[Block]]] = field(default_factory=lambda: [("", [])])
    depth: int = 0  # of the lists that are open
    skipped: str = ""  # the format of the block that is passed over
    is_pod: bool = False
    is_open: bool = False  # whether the last block is an item that still has no text

    @property
    def blocks(self) -> list[Block]:
        return self.sections[-1][1]

    def read(self, text: str) -> None:
        for paragraph in re.split(r"\n(?:[ \t]*\n)+", text.strip("\n")):
            match = _COMMAND.match(paragraph)
            if match is not None:
                self.is_pod = match[1] != "cut"
                self.command(match[1], match[2])
            elif self.is_pod and not self.skipped and paragraph.strip():
                self.paragraph(paragraph)

    def command(self, name: str, rest: str) -> None:
        if self.skipped:
            if name == "end":
                self.skipped = ""
            return
        if name == "begin":
            self.skipped = (rest.split(maxsplit=1) or ["?"])[0]
        elif name == "head1":
            self.depth, self.is_open = 0, False
            self.sections.append((" ".join(plain(rest, marks=False).split()), []))
        elif name in {"head2", "head3", "head4", "head5", "head6"}:
            self.depth, self.is_open = 0, False
            self.blocks.append(Block("heading", " ".join(plain(rest, marks=False).split())))
        elif name == "over":
            self.depth, self.is_open = self.depth + 1, False
        elif name == "back":
            self.depth, self.is_open = max(0, self.depth - 1), False
        elif name == "item":
            tag = " ".join(plain(rest, marks=False).split())
            self.blocks.append(Block("item", "", "\u2022" if tag in {"", "*"} else tag, self.level(self.depth - 1)))
            self.is_open = True

    def level(self, depth: int) -> int:
        return min(max(0, depth), MAX_LEVEL)

    def paragraph(self, text: str) -> None:
        level = self.level(self.depth)
        if text[0] in " \t":
            self.code(text.rstrip(), level)
            return
        said = " ".join(plain(text).split())
        if not said:
            return
        if self.is_open:
            item = self.blocks[-1]
            self.blocks[-1] = Block("item", said, item.tag, item.level)
            self.is_open = False
        else:
            self.blocks.append(Block("paragraph", said, "", level))

    def code(self, text: str, level: int) -> None:
        self.is_open = False
        lines = "\n".join(line.rstrip().expandtabs() for line in text.split("\n"))
        last = self.blocks[-1] if self.blocks else None
        if last is not None and last.kind == "code" and last.level == level and len(last.text) < 20_000:
            self.blocks[-1] = Block("code", f"{last.text}\n\n{lines}", "", level)
        else:
            self.blocks.append(Block("code", lines, "", level))


def plain(text: str, marks: bool = True) -> str:
    """The text without formatting codes; ``C<x>`` in backticks, if ``marks``."""
    if "<" not in text:
        return text
    open_codes: list[tuple[str, int, list[str]]] = [("", 0, [])]
    position = 0
    for match in _CODE.finditer(text):
        found = match.group()
        if match.start() < position:
            continue
        pieces = open_codes[-1][2]
        pieces.append(text[position : match.start()])
        position = match.end()
        if found[0] != ">":
            if len(open_codes) > MAX_NESTED_CODES:
                pieces.append(found)
            else:
                open_codes.append((found[0], len(found) - 1, []))
            continue
        left = len(found)
        while left and len(open_codes) > 1:
            code, width, inner = open_codes[-1]
            is_end = width == 1 or (left >= width and (match.start() == 0 or text[match.start() - 1].isspace()))
            if not is_end:
                break
            left -= width
            open_codes.pop()
            open_codes[-1][2].append(_rendered(code, "".join(inner), width, marks))
        open_codes[-1][2].append(">" * left)
    open_codes[-1][2].append(text[position:])
    while len(open_codes) > 1:  # never closed
        code, width, inner = open_codes.pop()
        open_codes[-1][2].append(f"{code}{'<' * width}{''.join(inner)}")
    return "".join(open_codes[0][2])


def _rendered(code: str, text: str, width: int, marks: bool) -> str:
    if width > 1:
        text = text.strip()
    if code == "C":
        said = text.replace("`", "")
        return f"`{said}`" if marks and said else said
    if code == "E":
        return _entity(text)
    if code in {"X", "Z"}:
        return ""
    return _link(text) if code == "L" else text.replace("\xa0", " ")


def _entity(name: str) -> str:
    if name in _ENTITIES:
        return _ENTITIES[name]
    if re.fullmatch(r"\d{1,7}|0x[0-9a-fA-F]{1,6}", name):
        number = int(name, 0) if name[:2] == "0x" else int(name)
        return _CONTROL.sub("", chr(number)) if 31 < number <= 0x10FFFF else ""
    found = html.unescape(f"&{name};") if name.isalnum() and len(name) < 20 else ""
    return found if len(found) == 1 else ""


def _link(text: str) -> str:
    shown, bar, _ = text.partition("|")
    if bar:
        return shown
    if re.match(r"[a-z]+://", text):
        return text
    page, slash, section = text.partition("/")
    section = section.strip('"')
    if not slash:
        return page
    return f"{section} in {page}" if page else section
