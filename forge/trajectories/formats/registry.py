"""Which formats of trajectories there are, and which one a record or a text is in."""

from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType

from forge.trajectories.formats.fields import Record

RECORD_FORMATS: tuple[str, ...] = (
    # The first that matches reads the record: formats with marks of their own come before those that share their keys.
    "table_rows",
    # "atif",
    # "adp",
    # "swe_agent",
    # "toolbench",
    # "tooleval",
    # "tooltalk",
    # "seal_tools",
    # "api_bank",
    # "agentdojo",
    # "games",
    # "fireact",
    # "nebius",
    # "openhands",
    # "swe_smith",
    # "tau_bench",
    # "toolace",
    # "agent_instruct",
    # "agent_flan",
    # "xlam",
    # "alpaca_calls",
    "sharegpt",
    "openai_messages",
)
TEXT_FORMATS: tuple[str, ...] = ()  # "react_text"


@cache
def module_of(name: str) -> ModuleType:
    """The module that reads a format."""
    return importlib.import_module(f"forge.trajectories.formats.{name}")


def format_of_record(record: Record) -> str | None:
    """The name of the record's format; None when no format knows it."""
    return next((name for name in RECORD_FORMATS if module_of(name).matches(record)), None)


def format_of_text(head: str) -> str | None:
    """The name of the format of a text that begins so; None when no format knows it."""
    return next((name for name in TEXT_FORMATS if module_of(name).matches_text(head)), None)
