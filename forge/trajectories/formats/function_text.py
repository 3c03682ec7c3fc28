"""Function calls written into the text of a message, as OpenHands and SWE-agent prompt models without tool calling::

    I look at the file first.
    <function=str_replace_editor>
    <parameter=command>view</parameter>
    <parameter=path>/repo/a.py</parameter>
    </function>

and the description of the functions that their system prompt gives.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from forge.schema import Step, ToolCall, is_deeper_than
from forge.trajectories.formats.fields import MAX_NESTING, parsed_json
from forge.trajectories.formats.parameter_types import Parameter, described_tool
from forge.trajectories.formats.written_calls import with_written_calls

OPEN = "<function="
_CLOSE = "</function>"
_PARAMETER_OPEN, _PARAMETER_CLOSE = "<parameter=", "</parameter>"
_MAX_NAME = 200
_DESCRIPTION_BEGIN = re.compile(r"---- BEGIN FUNCTION #\d+: (\S+) ----")
_DESCRIPTION_END = re.compile(r"---- END FUNCTION #\d+ ----")
_PARAMETER = re.compile(r"  \(\d+\) (\S+) \((\w+), (required|optional)\):(.*)")


def with_calls(steps: Sequence[Step], tools: Sequence[Mapping[str, Any]]) -> list[Step]:
    """The steps with the calls in the assistant's texts as calls, and the user's turns that answer them as
    observations."""

    def read(step: Step, said: str) -> Step:
        content, calls = parsed_calls(said, tools)
        return replace(step, content=content or None, calls=tuple(calls)) if calls else step

    return with_written_calls(steps, read)


def parsed_calls(said: str, tools: Sequence[Mapping[str, Any]]) -> tuple[str, list[ToolCall]]:
    """The text around the calls, and the calls. A text in which a call is not well formed has none: it stays whole.
    Arguments are texts, except where the function's description states another type and they are JSON of it."""
    schemas = {tool.get("name"): tool.get("parameters") for tool in tools}
    around: list[str] = []
    calls: list[ToolCall] = []
    place = 0
    while (start := said.find(OPEN, place)) >= 0:
        parsed = _call(said, start)
        if parsed is None:
            return said, []
        name, arguments, end = parsed
        around.append(said[place:start])
        calls.append(ToolCall(name, _typed(arguments, schemas.get(name))))
        place = end
    if not calls:
        return said, []
    around.append(said[place:])
    return "\n".join(part.strip() for part in around if part.strip()), calls


def described_tools(prompt: str) -> list[dict[str, Any]]:
    """The functions that a system prompt describes between ``---- BEGIN FUNCTION #n: name ----`` and its end."""
    tools: list[dict[str, Any]] = []
    name, lines = "", list[str]()
    for line in prompt.split("\n"):
        begin = _DESCRIPTION_BEGIN.fullmatch(line.rstrip())
        if begin is not None:
            name, lines = begin[1], []
        elif name and _DESCRIPTION_END.fullmatch(line.rstrip()):
            tools.append(_tool(name, lines))
            name = ""
        else:
            lines.append(line)
    return tools


def _call(said: str, start: int) -> tuple[str, dict[str, str], int] | None:
    """Name, arguments and end of the call at ``start``; None where it is not well formed. The end tag may be missing at
    the end of the text: it is the word that models are told to stop at."""
    name, place = _name(said, start + len(OPEN))
    arguments: dict[str, str] = {}
    while name:
        place = _after_space(said, place)
        if said.startswith(_CLOSE, place):
            return name, arguments, place + len(_CLOSE)
        if said.startswith(_PARAMETER_OPEN, place):
            parameter, begin = _name(said, place + len(_PARAMETER_OPEN))
            end = _value_end(said, begin)
            if not parameter or end < 0 or parameter in arguments:
                return None
            arguments[parameter] = said[begin:end].removeprefix("\n").removesuffix("\n")
            place = end + len(_PARAMETER_CLOSE)
        elif _CLOSE.startswith(said[place:]):
            return name, arguments, len(said)
        else:
            return None
    return None


def _name(said: str, start: int) -> tuple[str, int]:
    """The name that ``>`` ends, and the place after it; an empty name where there is none."""
    end = said.find(">", start, start + _MAX_NAME)
    name = said[start:end].strip() if end >= 0 else ""
    return ("", start) if "\n" in name else (name, end + 1)


def _value_end(said: str, start: int) -> int:
    """Where a parameter's value ends: at an end tag after which the call goes on or ends, for values may hold tags."""
    end = said.find(_PARAMETER_CLOSE, start)
    while end >= 0:
        after = _after_space(said, end + len(_PARAMETER_CLOSE))
        if said.startswith((_PARAMETER_OPEN, _CLOSE), after) or _CLOSE.startswith(said[after : after + len(_CLOSE)]):
            return end
        end = said.find(_PARAMETER_CLOSE, end + 1)
    return -1


def _after_space(said: str, place: int) -> int:
    while place < len(said) and said[place].isspace():
        place += 1
    return place


def _typed(arguments: Mapping[str, str], schema: object) -> dict[str, Any]:
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    typed: dict[str, Any] = dict(arguments)
    for name, value in arguments.items():
        stated = properties.get(name) if isinstance(properties, Mapping) else None
        if isinstance(stated, Mapping) and stated.get("type") not in (None, "string"):
            found = parsed_json(value.strip())
            is_usable = isinstance(found, (int, float)) or (
                isinstance(found, (dict, list)) and not is_deeper_than(found, MAX_NESTING)
            )
            if is_usable:
                typed[name] = found
    return typed


def _tool(name: str, lines: Sequence[str]) -> dict[str, Any]:
    """``Description: …``, then ``Parameters:`` with ``(1) name (type, required): description`` of one line or more."""
    starts = [index for index, line in enumerate(lines) if _PARAMETER.fullmatch(line)]
    headline = next((index for index, line in enumerate(lines) if line.rstrip() == "Parameters:"), len(lines))
    parameters: list[Parameter] = []
    for start, end in pairwise([*starts, len(lines)]):
        found = _PARAMETER.fullmatch(lines[start])
        if found is not None:
            parameter, kind, need, first = found.groups()
            said = "\n".join([first.strip(), *lines[start + 1 : end]]).strip()
            parameters.append(Parameter(parameter, kind, need == "required", said))
    description = "\n".join(lines[:headline]).strip().removeprefix("Description:")
    description = description.removesuffix("No parameters are required for this function.").strip()
    return described_tool(name, description, parameters)
