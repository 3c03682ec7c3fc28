"""How the command writes: JSON for programs, tables for people, and no control characters of anybody's documents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from forge.config import Settings
    from forge.lake import Lake

_PIPE_COLUMNS = 140


def settings_of(context: typer.Context) -> Settings:
    """The settings of the profile that was asked for."""
    from forge.config import load_settings

    return load_settings(context.obj)


def lake_of(context: typer.Context) -> Lake:
    from forge.lake import Lake

    return Lake.of(settings_of(context))


def write_json(value: object) -> None:
    """One indented JSON object with sorted keys on standard output."""
    import orjson

    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode())


def console() -> Console:
    """Standard output, as wide as the terminal, or a fixed width in a pipe."""
    from rich.console import Console

    found = Console(highlight=False, markup=False, emoji=False)
    if not found.is_terminal:
        found = Console(highlight=False, markup=False, emoji=False, width=_PIPE_COLUMNS)
    return found


def printable(value: object) -> str:
    """Text without control sequences and direction marks: a document may hold any character."""
    import unicodedata

    def shown(character: str) -> bool:
        return character in "\n\t" or character.isprintable() or unicodedata.category(character) == "Zs"

    text = "-" if value is None else str(value)
    return "".join(character if shown(character) else "\N{REPLACEMENT CHARACTER}" for character in text)


def figure(value: object) -> str:
    """A number with thousands separators; anything else as printable text."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.4g}" if isinstance(value, float) else printable(value)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], right: Sequence[str] = ()) -> None:
    """A titled table; the columns named in ``right`` are figures. Nothing is printed for no rows."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(printable(title), style="bold"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*[Text(figure(value)) for value in row])
    if table.row_count:
        console().print(table)


def say(text: str = "", *, error: bool = False) -> None:
    """One line, control characters replaced."""
    typer.echo(printable(text), err=error)
