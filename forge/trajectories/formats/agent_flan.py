"""Agent-FLAN: ``conversation`` of ``{role, content, loss}`` with actions in the text, in the many forms that the set
was rewritten into: AgentInstruct's and ToolBench's labels, a JSON object whose keys differ from row to row, a call in
a fence after a sentence. The tools stand in the system prompt. Negative samples have none to call.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from forge.schema import Step, ToolCall, is_deeper_than
from forge.trajectories.formats.agent_instruct import loss_of, turn_steps
from forge.trajectories.formats.fields import (
    MAX_NESTING,
    Found,
    Record,
    UnusableRecordError,
    identifier,
    objects,
    parsed_json,
    role_of,
    tools_of,
    trajectory,
)
from forge.trajectories.formats.python_literals import keyword_arguments, parsed_literal
from forge.trajectories.formats.react_steps import (
    Turn,
    chat_steps,
    code_call,
    fence_of,
    labelled,
    last_request,
    words_of,
)

_KEYS = frozenset({"id", "conversation", "type", "source", "dataset", "split"})
"""Other chats under the same key have a model, a language, tools."""
_NAME = re.compile(r"[A-Za-z_][\w.\-]*")
_TOOL_LINE = re.compile(r"([A-Za-z_][\w.\-]*): ?(.*)", re.DOTALL)
_CALL = re.compile(r"([A-Za-z_][\w.\-]*)\((.*)\)", re.DOTALL)
_RUN = ("bash", "sh", "sql")
_PARAMETERS = "Input parameters are as follows:"
_ONE_API = "You have access to the following API:"
_ARGUMENTS = ("parameters", "arguments", "args", "input")


def matches(record: Record) -> bool:
    turns = record.get("conversation")
    if not isinstance(turns, list) or not record.keys() <= _KEYS:
        return False
    return bool(turns) and isinstance(turns[0], dict) and turns[0].keys() >= {"role", "content"}


def read(record: Record) -> Iterator[Found]:
    turns = objects(record.get("conversation"), "conversation")
    steps = chat_steps(_turns(turns), _steps_of_turn)
    system = next((step.content or "" for step in steps if step.role == "system"), "")
    yield trajectory(last_request(steps), steps, tools=_tools(system), episode=identifier(record.get("id")))


def _turns(turns: list[dict[str, Any]]) -> Iterator[Turn]:
    for turn_number, turn in enumerate(turns):
        yield Turn(role_of(turn.get("role"), turn_number), words_of(turn.get("content"), turn_number), loss_of(turn))


def _steps_of_turn(said: str) -> list[Step]:
    words = said.strip()
    if words.startswith("{") and words.endswith("}"):
        step = _object_step(parsed_json(words))
        if step is not None:
            return [step]
    fence = fence_of(words)
    if fence is not None and not any(part.kind == "action" for part in labelled(fence.before)[1]):
        call = _fenced_call(fence.language, fence.code.strip())
        if call is not None:
            content = "\n".join(part.strip() for part in (fence.before, fence.after) if part.strip())
            return [Step("assistant", content or None, calls=(call,))]
    return turn_steps(said)


def _object_step(value: Any) -> Step | None:
    """An object of a name, an object of arguments and a thought, under whatever keys; None when it may be another."""
    if not isinstance(value, dict) or is_deeper_than(value, MAX_NESTING):
        return None
    objects_ = [entry for entry in value.values() if isinstance(entry, dict)]
    words = [entry for entry in value.values() if isinstance(entry, str)]
    names = [word for word in words if _NAME.fullmatch(word)]
    if len(objects_) > 1 or len(names) != 1 or len(words) > 2 or len(objects_) + len(words) != len(value):
        return None
    thought = next((word for word in words if word is not names[0]), None)
    return Step("assistant", thought=thought or None, calls=(ToolCall(names[0], objects_[0] if objects_ else {}),))


def _fenced_call(language: str, code: str) -> ToolCall | None:
    for value in (parsed_json(code), parsed_literal(code)):
        if isinstance(value, dict) and isinstance(value.get("name"), str) and value["name"] and len(value) <= 2:
            arguments: Any = next((value[key] for key in _ARGUMENTS if key in value), {})
            if isinstance(arguments, dict) and not is_deeper_than(arguments, MAX_NESTING):
                return ToolCall(value["name"], arguments)
    called = _python_call(code) or _yaml_call(code)
    return called or (code_call(language, code) if language in _RUN else None)


def _python_call(code: str) -> ToolCall | None:
    """``api.name(key="value")`` with literals only."""
    called = _CALL.fullmatch(code)
    if called is None:
        return None
    try:
        return ToolCall(called[1], keyword_arguments(called[2], called[1]))
    except UnusableRecordError:
        return None


def _yaml_call(code: str) -> ToolCall | None:
    """``name: api`` and, below ``parameters:``, one ``key: value`` a line."""
    first, *lines = code.split("\n")
    name = first.removeprefix("name:").strip()
    if not first.startswith("name:") or not _NAME.fullmatch(name):
        return None
    arguments: dict[str, Any] = {}
    if lines and lines[0].strip() not in ("parameters:", "parameters: {}"):
        return None
    for line in lines[1:]:
        key, colon, value = line.strip().partition(":")
        if not colon or not line.startswith(" ") or not _NAME.fullmatch(key):
            return None
        words = value.strip()
        scalar = parsed_json(words)
        arguments[key] = words.strip("'") if scalar is None or isinstance(scalar, (dict, list)) else scalar
    return ToolCall(name, arguments)


def _tools(system: str) -> tuple[Mapping[str, Any], ...]:
    """The functions that the prompt describes: a line of name and description and one of parameters, or one Python
    literal."""
    found: list[Any] = []
    lines = system.split("\n")
    for number, line in enumerate(lines):
        if line.startswith(_PARAMETERS):
            described = _TOOL_LINE.fullmatch(lines[number - 1]) if number else None
            parameters = parsed_json(line.removeprefix(_PARAMETERS).strip())
            if described and isinstance(parameters, dict):
                found.append({"name": described[1], "description": described[2], "parameters": parameters})
        elif line.startswith(_ONE_API) and number + 1 < len(lines):
            found.append(parsed_literal(lines[number + 1].strip()))
    return tools_of(found)
