"""A page of headings, paragraphs, tables, pictures and quotations, written as one HTML file and as Markdown.

The HTML holds everything in itself, runs no script and loads nothing (its Content-Security-Policy says so too); it
follows the reader's light or dark palette. Texts may come from anybody: in both forms they are shown, never obeyed.
"""

from __future__ import annotations

import base64
import html
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
"""Content-Security-Policy of the page; whoever serves it may send the same."""

MAX_QUOTED_CHARACTERS = 1_500


@dataclass(frozen=True, slots=True)
class Heading:
    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Paragraph:
    text: str
    tone: str = ""
    """"good" and "bad" stand out; "" does not."""


@dataclass(frozen=True, slots=True)
class Table:
    """``figures``: how many of the last columns are numbers. ``folded``: the words behind which HTML hides the rows."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    figures: int = 0
    folded: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """An SVG file; ``name`` is its file's name beside the Markdown."""

    name: str
    svg: bytes
    text: str


@dataclass(frozen=True, slots=True)
class Quotation:
    """A text as it was written, cut to :data:`MAX_QUOTED_CHARACTERS`, below what it is."""

    title: str
    text: str


Block = Heading | Paragraph | Table | Picture | Quotation


def printable(text: str) -> str:
    """Text without control characters and direction marks; line breaks and tabs stay."""
    return "".join(
        character
        if character in "\n\t" or character.isprintable() or unicodedata.category(character) == "Zs"
        else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )


def _cut(text: str) -> str:
    if len(text) <= MAX_QUOTED_CHARACTERS:
        return printable(text)
    return printable(text[:MAX_QUOTED_CHARACTERS]) + f" … ({len(text):,} characters)"


# --- HTML ----------------------------------------------------------------------------------------------------------

_STYLE = """
:root { color-scheme: light dark; --surface: #fdfdfc; --ink: #22262e; --muted: #646b78; --line: #e3e5ea;
  --band: #f4f5f7; --good: #0b8a72; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --surface: #16181d; --ink: #eceef2; --muted: #9aa2b1; --line: #2d323c;
  --band: #1d2027; --good: #3fd0b0; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 66rem; background: var(--surface); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .6rem; padding-top: .9rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
p { max-width: 46rem; margin: .5rem 0; }
p.good, p.bad { border-left: 4px solid var(--good); background: var(--band); padding: .6rem .9rem; font-weight: 600; }
p.bad { border-color: var(--bad); }
.wide { overflow-x: auto; margin: .6rem 0; }
table { border-collapse: collapse; font-size: .87rem; }
th, td { padding: .28rem .8rem .28rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line);
  max-width: 34rem; overflow-wrap: break-word; }
th { color: var(--muted); font-weight: 600; white-space: nowrap; }
td.figure, th.figure { text-align: right; padding: .28rem 0 .28rem 1.1rem; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
summary { cursor: pointer; color: var(--muted); }
img { display: block; width: 100%; height: auto; margin: .8rem 0; }
pre { margin: .2rem 0 1rem; padding: .6rem .8rem; background: var(--band); font: .82rem/1.45 ui-monospace, Menlo,
  Consolas, monospace; white-space: pre-wrap; overflow-wrap: anywhere; max-height: 22rem; overflow-y: auto; }
pre + h3, .what { margin-bottom: .2rem; }
.what { font-size: .87rem; color: var(--muted); max-width: none; overflow-wrap: anywhere; }
@media print { body { max-width: none; } details > .wide { display: block; } }
"""


def as_html(title: str, blocks: Iterable[Block]) -> str:
    """The whole file."""
    body = "\n".join(_html_of(block) for block in blocks)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_text(POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{_text(title)}</h1>\n"
        f"{body}\n</body>\n</html>\n"
    )


def _text(text: str) -> str:
    return html.escape(printable(text))


def _html_of(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{_text(text)}</h{level}>"
        case Paragraph(text, tone):
            kind = f' class="{_text(tone)}"' if tone else ""
            return f"<p{kind}>{_text(text)}</p>"
        case Table():
            return _html_table(block)
        case Picture(_, svg, text):
            data = base64.b64encode(svg).decode()
            return f'<img alt="{_text(text)}" src="data:image/svg+xml;base64,{data}">'
        case Quotation(title, text):
            return f'<p class="what">{_text(title)}</p>\n<pre>{html.escape(_cut(text))}</pre>'


def _html_table(table: Table) -> str:
    first = len(table.columns) - table.figures

    def row(cells: Sequence[str], tag: str) -> str:
        kinds = ['class="figure"' if place >= first else "" for place in range(len(cells))]
        opened = [f"<{tag} {kind}>" if kind else f"<{tag}>" for kind in kinds]
        return "<tr>" + "".join(f"{start}{_text(cell)}</{tag}>" for start, cell in zip(opened, cells, strict=True))

    head = f"<thead>{row(table.columns, 'th')}</thead>" if any(table.columns) else ""
    body = "\n".join(row(cells, "td") for cells in table.rows)
    whole = f'<div class="wide"><table>\n{head}\n<tbody>\n{body}\n</tbody>\n</table></div>'
    return f"<details><summary>{_text(table.folded)}</summary>\n{whole}\n</details>" if table.folded else whole


# --- Markdown ------------------------------------------------------------------------------------------------------


def as_markdown(title: str, blocks: Iterable[Block]) -> str:
    """The whole file; pictures are links to the files beside it."""
    return "\n\n".join([f"# {_inline(title)}", *(_markdown_of(block) for block in blocks)]) + "\n"


def _inline(text: str) -> str:
    """One line in which nothing is markup, HTML or a link."""
    flat = " ".join(printable(text).split())
    escaped = re.sub(r"([\\`*_\[\]|~#])", r"\\\1", html.escape(flat, quote=False))
    return re.sub(r"(?<=\w):(?=//)", "&#58;", escaped)


def _markdown_of(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {_inline(text)}"
        case Paragraph(text, tone):
            return f"**{_inline(text)}**" if tone else _inline(text)
        case Table(columns, rows, figures, folded):
            first = len(columns) - figures
            rule = ["---:" if place >= first else "---" for place in range(len(columns))]
            lines = [map(_inline, columns), rule, *(map(_inline, cells) for cells in rows)]
            table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
            return f"{_inline(folded)}:\n\n{table}" if folded else table
        case Picture(name, _, text):
            return f"![{_inline(text)}]({name})"
        case Quotation(title, text):
            quoted = _cut(text)
            longest = max((len(run) for run in re.findall(r"`+", quoted)), default=0)
            fence = "`" * max(3, longest + 1)
            return f"{_inline(title)}\n\n{fence}text\n{quoted}\n{fence}"
