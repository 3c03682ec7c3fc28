"""Words of a trajectory's parts: a tool's signature, a call, an observation, a turn. Fixed words: templates.yaml."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from forge.schema import Step, ToolCall, canonical_json

PROMPTS: Mapping[str, tuple[str, str]] = {
    "shell": ("command", "$ "),
    "python": ("code", ">>> "),
    "act": ("action", "> "),
}
"""Tools with one text argument that is shown as typed at their prompt: name -> (argument, prompt)."""
TEMPLATES_FILE = Path(__file__).with_name("templates.yaml")


@cache
def templates() -> Mapping[str, Any]:
    """The fixed words, by section."""
    loaded: Mapping[str, Any] = yaml.safe_load(TEMPLATES_FILE.read_text())
    return loaded


def heading(name: str) -> str:
    return str(templates()["headings"][name])


def speaker(name: str) -> str:
    return str(templates()["speakers"][name])


def tools_text(tools: Sequence[Mapping[str, Any]]) -> str:
    """A heading and one signature a line."""
    return "\n".join([heading("tools"), *(f"- {signature(tool)}" for tool in tools)])


def signature(tool: Mapping[str, Any]) -> str:
    """``send_email(recipients: array, subject: string, cc?: array): Sends an email.``"""
    parameters = tool.get("parameters")
    properties = parameters.get("properties") if isinstance(parameters, Mapping) else None
    required = parameters.get("required") if isinstance(parameters, Mapping) else None
    needed = {str(name) for name in required} if isinstance(required, list) else set()
    words: list[str] = []
    for name, schema in sorted(properties.items()) if isinstance(properties, Mapping) else ():
        kind = schema.get("type") if isinstance(schema, Mapping) else None
        words.append(f"{name}{'' if name in needed else '?'}" + (f": {kind}" if isinstance(kind, str) else ""))
    description = " ".join(str(tool.get("description") or "").split())
    return f"{tool.get('name')}({', '.join(words)})" + (f": {description}" if description else "")


def turn_text(step: Step, said_as: str) -> str:
    """A turn of the transcript; ``said_as`` is the speaker of what it says."""
    if step.role == "tool":
        return observation_text(step)
    lines: list[str] = []
    if step.thought:
        lines.append(speaker("thought") + step.thought)
    if step.content:
        lines.append(speaker(said_as) + step.content)
    lines.extend(call_text(call) for call in step.calls)
    return "\n".join(lines)


def observation_text(step: Step) -> str:
    """What the environment answered; its error message too, where the answer does not hold it."""
    if step.error and not _is_shown(step.error, step.content or ""):
        error = speaker("error") + step.error
        return f"{step.content}\n{error}" if step.content else error
    return (step.content or "").strip("\n")


def _is_shown(error: str, observation: str) -> bool:
    """Whether the observation holds the message, as it stands or inside JSON."""
    return error in observation or canonical_json(error)[1:-1] in observation or json.dumps(error)[1:-1] in observation


def call_text(call: ToolCall) -> str:
    """``Action: name {arguments}``, or the command as typed at its prompt."""
    if is_at_prompt(call):
        argument, prompt = PROMPTS[call.name]
        lines = str(call.arguments[argument]).split("\n")
        follow = "... " if call.name == "python" else ""
        return "\n".join([prompt + lines[0], *(follow + line for line in lines[1:])])
    return f"{speaker('action')}{call.name} {canonical_json(call.arguments)}"


def is_at_prompt(call: ToolCall) -> bool:
    """Whether the call is one text for a tool with a prompt."""
    argument = PROMPTS[call.name][0] if call.name in PROMPTS else None
    return argument is not None and list(call.arguments) == [argument] and isinstance(call.arguments[argument], str)
