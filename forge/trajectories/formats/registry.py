"""Which formats of trajectories there are, and which one a record or a text is in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from forge.trajectories.formats import (
    adp,
    agent_flan,
    agent_instruct,
    agentdojo,
    alpaca_calls,
    api_bank,
    api_bank_scenes,
    atif,
    fireact,
    games,
    nebius,
    openai_messages,
    openhands,
    openhands_events,
    react_notebook,
    react_prompts,
    react_text,
    reflexion_memories,
    seal_tools,
    sharegpt,
    swe_agent,
    swe_smith,
    table_rows,
    tau_bench,
    toolace,
    toolbench,
    tooleval,
    tooltalk,
    xlam,
)
from forge.trajectories.formats.fields import Found, Record


def _named(*modules: ModuleType) -> Mapping[str, ModuleType]:
    return {module.__name__.rpartition(".")[2]: module for module in modules}


# Imported by name, not looked up: a job's fingerprint counts the code that its imports reach. The first that matches
# reads the record: formats with marks of their own come before those that share their keys.
RECORD_FORMATS = _named(
    table_rows,
    atif,
    adp,
    swe_agent,
    toolbench,
    tooleval,
    tooltalk,
    seal_tools,
    agentdojo,
    games,
    fireact,
    nebius,
    openhands,
    openhands_events,
    swe_smith,
    tau_bench,
    toolace,
    agent_instruct,
    agent_flan,
    xlam,
    alpaca_calls,
    reflexion_memories,
    react_notebook,
    react_prompts,
    sharegpt,
    openai_messages,
)
ARRAY_FORMATS = _named(agentdojo)
"""Formats whose records may be arrays."""
FILE_FORMATS = _named(api_bank, openhands_events)
"""Formats in which the records of one file make one episode."""
TEXT_FORMATS = _named(api_bank_scenes, react_text)
_MODULES: Mapping[str, ModuleType] = {**RECORD_FORMATS, **FILE_FORMATS, **TEXT_FORMATS}
NAMES: tuple[str, ...] = tuple(_MODULES)


def module_of(name: str) -> ModuleType:
    """The module that reads a format."""
    return _MODULES[name]


def format_of_record(record: Any) -> str | None:
    """The name of the record's format; None when no format knows it."""
    if isinstance(record, list):
        return next((name for name, module in ARRAY_FORMATS.items() if module.matches_array(record)), None)
    if not isinstance(record, dict):
        return None
    return next((name for name, module in RECORD_FORMATS.items() if module.matches(record)), None)


def read_record(record: Any, name: str) -> Iterator[Found]:
    """The episodes of a record in a format. Raises what that format raises."""
    module = _MODULES[name]
    found: Iterator[Found] = module.read_episode_array(record) if isinstance(record, list) else module.read(record)
    return found


def format_of_file(first: Record) -> str | None:
    """The name of the format of a file with such a first record, if it is one whose records belong together."""
    return next((name for name, module in FILE_FORMATS.items() if module.matches_first(first)), None)


def format_of_text(head: str) -> str | None:
    """The name of the format of a text that begins so; None when no format knows it."""
    return next((name for name, module in TEXT_FORMATS.items() if module.matches_text(head)), None)
