"""Which formats of trajectories there are, and which one a record or a text is in."""

from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType
from typing import Any

from forge.trajectories.formats.fields import Record

RECORD_FORMATS: tuple[str, ...] = (
    # The first that matches reads the record: formats with marks of their own come before those that share their keys.
    "table_rows",
    "atif",
    "adp",
    "swe_agent",
    "toolbench",
    "tooleval",
    "tooltalk",
    "seal_tools",
    "agentdojo",
    "games",
    "fireact",
    "nebius",
    "openhands",
    "openhands_events",
    "swe_smith",
    "tau_bench",
    "toolace",
    "agent_instruct",
    "agent_flan",
    "xlam",
    "alpaca_calls",
    "reflexion_memories",
    "react_notebook",
    "react_prompts",
    "sharegpt",
    "openai_messages",
)
FILE_FORMATS: tuple[str, ...] = ("api_bank", "openhands_events")
"""Formats in which the records of one file make one episode."""
TEXT_FORMATS: tuple[str, ...] = ("api_bank_scenes", "react_text")

NAMES = (*RECORD_FORMATS, *FILE_FORMATS, *TEXT_FORMATS)


@cache
def module_of(name: str) -> ModuleType:
    """The module that reads a format."""
    return importlib.import_module(f"forge.trajectories.formats.{name}")


def format_of_record(record: Any) -> str | None:
    """The name of the record's format; None when no format knows it."""
    if not isinstance(record, dict):
        return None
    return next((name for name in RECORD_FORMATS if module_of(name).matches(record)), None)


def format_of_file(first: Record) -> str | None:
    """The name of the format of a file with such a first record, if it is one whose records belong together."""
    return next((name for name in FILE_FORMATS if module_of(name).matches_first(first)), None)


def format_of_text(head: str) -> str | None:
    """The name of the format of a text that begins so; None when no format knows it."""
    return next((name for name in TEXT_FORMATS if module_of(name).matches_text(head)), None)
