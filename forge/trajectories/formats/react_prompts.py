"""Prompts with solved examples (ReAct): an object of names and texts, each one or several episodes in a row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from io import StringIO

from forge.stored_files import Problem
from forge.trajectories.formats.fields import Found, Record
from forge.trajectories.formats.react_text import matches_text, read_text

_HEAD_CHARACTERS = 64 * 1024
_COLUMNS = frozenset({"instruction", "input", "output", "prompt", "completion", "response", "text", "system"})
"""Fields of one record of other layouts, whose values are texts as well."""


def matches(record: Record) -> bool:
    return (
        all(isinstance(text, str) for text in record.values())
        and _COLUMNS.isdisjoint(record)
        and any(matches_text(text[:_HEAD_CHARACTERS]) for text in record.values())
    )


def read(record: Record) -> Iterator[Found]:
    """Episodes are called by the prompt's name and, where it has several, their number. Problem ``no_action``: a prompt
    that only reasons or answers."""
    for name, text in record.items():
        if not isinstance(text, str):
            yield Problem(str(name), "malformed_record", "a prompt is no text")
        elif not matches_text(text):
            yield Problem(str(name), "no_action", "a prompt without an action")
        else:
            found = list(read_text(StringIO(text)))
            for number, one in enumerate(found, start=1):
                episode = f"{name}.{number}" if len(found) > 1 else str(name)
                yield (replace(one, part=episode) if isinstance(one, Problem) else replace(one, episode=episode))
