"""Manual pages in roff -> sections of paragraphs, items and code.

The macros of man(7), and those of mdoc(7) by :mod:`forge.apis.mdoc`; of roff itself only what pages use: comments,
escapes, strings, conditions (as for a terminal: ``n`` is true), no-fill mode. Nothing is executed and no other file is
read; macros that a page defines itself are passed over. Time is linear in the page's length.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from forge.apis.roff_escapes import FIXED_STRINGS, MAX_STRING_CHARACTERS, arguments, plain, without_comment

Kind = Literal["paragraph", "item", "code", "heading"]
MAX_LEVEL = 8
_MAX_STRINGS = 1000
_MAX_LINE_CHARACTERS = 10_000
_MAX_TAG_CHARACTERS = 2000
_MAX_ROW_CHARACTERS = 20_000
_GLUE = "\b"  # before what follows without a blank; no text has it, since control characters are taken out


@dataclass(frozen=True, slots=True)
class Block:
    """``tag`` is the term or bullet of an item, the text of which may be ""; ``level`` is how deep it is indented.
    A heading is that of a subsection."""

    kind: Kind
    text: str
    tag: str = ""
    level: int = 0


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class ManualPage:
    """``section`` is "3" or "3type"; ``source`` the fourth field of the title line ("Linux man-pages 6.03"). A page
    that only includes another (``.so man3/other.3``) has that path as ``alias_of``."""

    title: str = ""
    section: str = ""
    source: str = ""
    sections: tuple[Section, ...] = ()
    alias_of: str = ""

    def blocks(self, *titles: str) -> tuple[Block, ...]:
        """Of the first section with one of these titles, in their order."""
        for title in titles:
            for section in self.sections:
                if section.title.upper() == title:
                    return section.blocks
        return ()


def read_page(text: str) -> ManualPage:
    """The page's structure; a text without any macro of a manual page has no title and no sections."""
    reader = Reader()
    reader.read(text)
    return reader.page()


_BULLET = re.compile(r"[-+]|\(?(?:\d{1,3}|[A-Za-z]|[ivx]{1,4})[.)]|\d{1,3}|\[\d{1,3}\]")


def text_of_blocks(blocks: Iterable[Block]) -> str:
    """Paragraphs parted by an empty line; items one a line, their text below their term; code as it is."""
    lines: list[str] = []
    previous: Block | None = None
    for block in blocks:
        indent = "  " * block.level
        if previous is not None and not (block.kind == previous.kind == "item"):
            lines.append("")
        if block.kind == "item":
            bullet = {"\u2022": "-", "*": "-", "o": "-", "\u2013": "-", "\u2014": "-"}.get(block.tag, block.tag)
            if block.text and _BULLET.fullmatch(bullet):
                first, *rest = block.text.split("\n")
                lines += [f"{indent}{bullet} {first}".rstrip(), *(f"{indent}  {line}" for line in rest)]
            else:
                body = block.text.split("\n") if block.text else []
                lines += [indent + bullet, *(f"{indent}  {line}".rstrip() for line in body)]
        else:
            lines += [(indent + line).rstrip() for line in block.text.split("\n")]
        previous = block
    return "\n".join(lines).strip("\n")


# --- reading --------------------------------------------------------------------------------------------------------

_MACRO = re.compile(r"[.'][ \t]*([^\s\\\"]+|\\(?=[{}]))?[ \t]*(.*)", re.DOTALL)
_ALTERNATING = frozenset({"BR", "RB", "BI", "IB", "RI", "IR"})
_FONTS = frozenset({"B", "I", "SM", "SB", "R", "CW"})
_FILL_OFF, _FILL_ON = frozenset({"nf", "EX", "Vb", "DS"}), frozenset({"fi", "EE", "Ve", "DE"})
_SILENT = frozenset({"IX", "rm", "nr", "Sh", "zY", "zZ"})  # of the macros that generators of pages define
_CONDITION = re.compile(r"(!?)([a-z]|'[^']*'[^']*'|\([^)]*\)|\\n\S*|\S+)[ \t]*")


@dataclass
class Reader:
    """Collects blocks line by line. ``level`` is that of relative indents; an item's further paragraphs lie one level
    deeper than it."""

    title: list[str] = field(default_factory=list)
    sections: list[tuple[str, list[Block]]] = field(default_factory=list)
    strings: dict[str, str] = field(default_factory=dict)
    alias_of: str = ""
    level: int = 0
    inner: int = 0
    is_filled: bool = True
    kind: Kind = "paragraph"
    tag: str = ""
    pieces: list[str] = field(default_factory=list)
    awaits: Literal["", "tag", "section", "subsection"] = ""
    joins: bool = False
    address: str = ""
    own_macros: set[str] = field(default_factory=set)
    mdoc: Callable[[str, list[str]], None] | None = None

    def page(self) -> ManualPage:
        self.flush()
        title = [*self.title, "", "", "", ""]
        return ManualPage(
            title[0],
            title[1].lower(),
            title[3],
            tuple(Section(name, tuple(blocks)) for name, blocks in self.sections),
            "" if self.sections else self.alias_of,
        )

    # Lines

    def read(self, text: str) -> None:
        lines = _lines(text)
        for name, rest in lines:
            if name is None:
                self.text_line(rest)
            elif name == "TS":
                self.table(lines)
            else:
                self.macro(name, rest)

    def text_line(self, line: str) -> None:
        if self.is_filled and not line.strip():
            self.flush()
            return
        joined = line.endswith("\\c")
        self.say(plain(line.removesuffix("\\c"), self.strings), joined)

    def say(self, text: str, joins_next: bool = False) -> None:
        """Text of one input line, wherever such text now belongs."""
        if self.awaits == "tag":
            words = " ".join(text.split())
            if len(self.tag) < _MAX_TAG_CHARACTERS:
                self.tag = f"{self.tag}, {words}" if self.tag else words
            self.awaits = ""
        elif self.awaits:
            waiting, self.awaits = self.awaits, ""
            (self.section if waiting == "section" else self.subsection)(text)
        else:
            self.pieces.append(_GLUE + text if self.joins else text)
        self.joins = joins_next

    # Blocks

    def flush(self) -> None:
        """Ends the current block."""
        pieces, tag, kind = self.pieces, self.tag, self.kind
        self.pieces, self.tag, self.kind = [], "", "paragraph"
        self.awaits, self.joins = "", False
        if not self.sections:
            return
        blocks = self.sections[-1][1]
        if not self.is_filled:
            if tag:
                blocks.append(Block("item", "", tag, min(self.level, MAX_LEVEL)))
            text = "\n".join(piece.rstrip() for piece in pieces).replace(f"\n{_GLUE}", "").strip("\n")
            if text:
                blocks.append(Block("code", text, "", min(self.level + self.inner, MAX_LEVEL)))
            return
        filled = "".join(piece if piece == "\n" else f"{piece} " for piece in pieces).replace(f" {_GLUE}", "")
        text = "\n".join(" ".join(line.split()) for line in filled.split("\n")).strip("\n")
        if text or tag:
            level = self.level + (0 if kind == "item" else self.inner)
            blocks.append(Block(kind, text, tag, min(level, MAX_LEVEL)))

    def section(self, title: str) -> None:
        self.flush()
        self.level = self.inner = 0
        self.is_filled = True
        self.sections.append((" ".join(title.split()), []))

    def subsection(self, title: str) -> None:
        self.flush()
        self.level = self.inner = 0
        self.is_filled = True
        if self.sections and title.strip():
            self.sections[-1][1].append(Block("heading", " ".join(title.split())))

    def paragraph(self) -> None:
        if self.is_filled:
            self.flush()
            self.inner = 0
        else:
            self.pieces.append("")

    def item(self, tag: str) -> None:
        self.flush()
        self.kind, self.tag, self.inner = "item", tag, 1

    def fill(self, on: bool) -> None:
        if on != self.is_filled:
            self.flush()
            self.is_filled = on

    # Macros

    def macro(self, name: str, rest: str) -> None:
        given = arguments(rest)
        if name == "Dd" and self.mdoc is None and not self.sections:
            from forge.apis.mdoc import Mdoc

            self.mdoc = Mdoc(self).macro
        if self.mdoc is not None and name not in {"br", "sp", "so", "ds", "nf", "fi"}:
            self.mdoc(name, given)
            return
        words = [plain(argument, self.strings) for argument in given]
        if name in _ALTERNATING:
            self.say("".join(words), rest.endswith("\\c"))
        elif name in _FONTS:
            if words:
                self.say(" ".join(words), rest.endswith("\\c"))
        elif name == "TH":
            self.title = words
        elif name in {"SH", "SS"}:
            if not words:
                self.flush()
                self.awaits = "section" if name == "SH" else "subsection"
            else:
                (self.section if name == "SH" else self.subsection)(" ".join(words))
        elif name in {"PP", "P", "LP", "HP", "Sp"}:
            self.paragraph()
        elif name == "IP":
            self.indented(words)
        elif name == "TP":
            self.item("")
            self.awaits = "tag"
        elif name == "TQ":
            self.awaits = "tag" if self.kind == "item" and not self.pieces else ""
        elif name in _FILL_OFF or name in _FILL_ON:
            self.fill(name in _FILL_ON)
        elif name == "RS":
            self.flush()
            if not (words and words[0].startswith("-")):
                self.level, self.inner = self.level + 1, 0
        elif name == "RE":
            self.flush()
            self.level, self.inner = max(0, self.level - 1), 0
        elif name == "ds":
            self.define(rest)
        else:
            self.further(name, words)

    def define(self, rest: str) -> None:
        """A string: all that follows its name; one quote before it only keeps its blanks."""
        name, _, value = rest.partition(" ")
        if name not in FIXED_STRINGS and len(self.strings) < _MAX_STRINGS:
            self.strings[name] = value.lstrip(" ").removeprefix('"')[:MAX_STRING_CHARACTERS]

    def indented(self, words: Sequence[str]) -> None:
        if words and words[0].strip():
            self.item(" ".join(words[0].split()))
        elif self.is_filled:
            self.flush()
            self.inner = 1
        else:
            self.pieces.append("")

    def further(self, name: str, words: Sequence[str]) -> None:
        """The macros that pages use less."""
        if name == "br":
            self.pieces.append("\n" if self.is_filled else "")
        elif name == "sp":
            self.paragraph()
        elif name in {"UR", "MT"}:
            self.address = " ".join(words)
        elif name in {"UE", "ME"}:
            said = f"<{self.address}>" if self.address else ""
            self.say(said + "".join(words[:1]))
            self.address = ""
        elif name == "SY":
            self.flush()
            self.say(" ".join(words))
        elif name == "OP":
            self.say(f"[{' '.join(words)}]")
        elif name == "YS":
            self.flush()
        elif name == "de" and words:
            self.own_macros.add(words[0])
        elif name in self.own_macros and name not in _SILENT:
            self.say(" ".join(words))
        elif name == "so" and words and not self.alias_of:
            self.alias_of = words[0]

    def table(self, lines: Iterator[Line]) -> None:
        """What stands between ``.TS`` and ``.TE``, a row a line and a bar between its cells, as a block of code."""
        was_filled = self.is_filled
        self.flush()
        rows: list[str] = []
        cell: list[str] | None = None
        is_head = True
        for name, rest in lines:
            if name == "TE":
                break
            if name == "T&":
                is_head = True
            elif name is None and is_head:
                is_head = not rest.rstrip().endswith(".")
            else:
                said = plain(rest, self.strings) if name is None else self.cell_text(name, rest)
                if cell is None:
                    rows.append(said.removesuffix("T{"))
                    cell = [] if said.endswith("T{") else None
                elif said.startswith("T}"):
                    if len(rows[-1]) > _MAX_ROW_CHARACTERS:
                        rows.append("")
                    rows[-1] += " ".join(" ".join(cell).split()) + said[2:]
                    cell = [] if rows[-1].endswith("T{") else None
                    rows[-1] = rows[-1].removesuffix("T{")
                else:
                    cell.append(said)
        texts = [" | ".join(part.strip() for part in row.split("\t")) for row in rows if row.strip(" \t_=")]
        if texts and self.sections:
            self.sections[-1][1].append(Block("code", "\n".join(texts), "", min(self.level + self.inner, MAX_LEVEL)))
        self.is_filled = was_filled

    def cell_text(self, name: str, rest: str) -> str:
        words = [plain(argument, self.strings) for argument in arguments(rest)]
        return "".join(words) if name in _ALTERNATING else " ".join(words) if name in _FONTS else ""


# --- lines ----------------------------------------------------------------------------------------------------------

Line = tuple[str | None, str]
"""The name of a macro and what follows it; None and the text of a line of text."""


def _lines(text: str) -> Iterator[Line]:
    """The lines that count: continued ones joined; comments, definitions and what a false condition holds left out. A
    definition is told as ("de", the macro's name)."""
    end_of_skipped = ""
    braces = 0  # that are open in a condition that is false
    was_true = False
    for raw in _joined(text):
        if end_of_skipped:
            if re.fullmatch(r"[.'][ \t]*" + re.escape(end_of_skipped) + r"[ \t]*", raw):
                end_of_skipped = ""
            continue
        if braces:
            braces = max(0, braces + raw.count("\\{") - raw.count("\\}"))
            continue
        name, rest = _parts(without_comment(raw))
        if name in {"if", "ie", "el"}:
            holds, rest = (not was_true, rest) if name == "el" else _condition(rest)
            was_true = holds if name == "ie" else was_true
            if not holds:
                braces = max(0, rest.count("\\{") - rest.count("\\}"))
                continue
            line = rest.replace("\\{", "").replace("\\}", "").strip()
            if not line:
                continue
            name, rest = _parts(line)
        if name in {"de", "de1", "am", "ig"}:
            given = rest.split()
            first = 0 if name == "ig" else 1
            end_of_skipped = given[first][:_MAX_TAG_CHARACTERS] if len(given) > first else "."
            if name != "ig" and given:
                yield "de", given[0]
        else:
            yield name, rest


def _joined(text: str) -> Iterator[str]:
    """A line that ends with a single backslash goes on in the next one."""
    pending = ""
    for raw in text.replace("\r\n", "\n").split("\n"):
        line = pending + raw
        is_continued = line.endswith("\\") and (len(line) - len(line.rstrip("\\"))) % 2 == 1
        pending = line[:-1] if is_continued and len(line) < _MAX_LINE_CHARACTERS else ""
        if not pending:
            yield line
    if pending:
        yield pending


def _parts(line: str) -> Line:
    match = _MACRO.match(line) if line[:1] in {".", "'"} else None
    return (match[1] or "", match[2]) if match else (None, line)


def _condition(rest: str) -> tuple[bool, str]:
    """Whether a condition holds for GNU's roff on a terminal, and what follows it. Comparisons of what is not kept are
    false."""
    match = _CONDITION.match(rest)
    if match is None:
        return False, rest
    holds = match[2] in {"n", "\\n(.g", "\\n[.g]"}
    return holds != bool(match[1]), rest[match.end() :]
