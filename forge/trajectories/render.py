"""Trajectories as training texts: a plain transcript, and chat messages for instruction tuning.

A document shows the tools that the episode calls and a few others of its environment, chosen by hash: with all of them
(AgentDojo: 28) the list would be longer than the episode, and near-duplicate detection would see only the list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from forge.schema import CHAT_FORM, Document, Step, ToolCall, Trajectory, canonical_json, content_hash, split_of

TRANSCRIPT_FORM = "transcript"
MAX_TOOLS = 8
MIN_OBSERVATION_CHARACTERS = 400
_PROMPTS: Mapping[str, tuple[str, str]] = {
    "shell": ("command", "$ "),
    "python": ("code", ">>> "),
    "act": ("action", "> "),
}
"""Tools with one text argument that a transcript shows as typed at their prompt: name -> (argument, prompt)."""


def render_version() -> str:
    """Hash of this module: documents rendered by another version are other documents."""
    return content_hash(Path(__file__).read_bytes())


def render(trajectory: Trajectory, held_out_share: float, max_characters: int) -> Iterator[Document]:
    """The transcript and the chat of one episode, each of at most ``max_characters``.

    What is too long loses the middle of its longest observations, then its last steps. The chat is left out where not
    one action fits. The split is that of the task and of what was seen before the first action, so that other runs of
    one task, and both forms, fall on one side.
    """
    split = split_of(task_group(trajectory), held_out_share)
    for form, write in ((TRANSCRIPT_FORM, _transcript), (CHAT_FORM, _chat)):
        text = _fitted(trajectory, write, max_characters)
        if text is not None:
            yield Document(kind="trajectory", form=form, text=text, split=split)


def task_group(trajectory: Trajectory) -> str:
    """What identifies the task: the environment, the task and everything said before the first action."""
    opening: list[str] = []
    for step in trajectory.steps:
        if step.role == "assistant":
            break
        opening.append(step.content or "")
    return content_hash(trajectory.environment, trajectory.task, *opening)


def shown_tools(trajectory: Trajectory) -> list[Mapping[str, Any]]:
    """The called tools and, up to ``MAX_TOOLS`` in all, others chosen by a hash of task and name; sorted by name."""
    called = {call.name for step in trajectory.steps for call in step.calls}
    group = task_group(trajectory)

    def place(tool: Mapping[str, Any]) -> tuple[bool, str]:
        name = str(tool.get("name"))
        return name not in called, content_hash(group, name)

    count = max(MAX_TOOLS, sum(tool.get("name") in called for tool in trajectory.tools))
    return sorted(sorted(trajectory.tools, key=place)[:count], key=lambda tool: str(tool.get("name")))


def _fitted(trajectory: Trajectory, write: Any, max_characters: int) -> str | None:
    text: str = write(trajectory)
    if len(text) <= max_characters:
        return text
    limit = max(max_characters // 8, MIN_OBSERVATION_CHARACTERS)
    steps = [
        replace(step, content=_shortened(step.content, limit)) if step.role == "tool" and step.content else step
        for step in trajectory.steps
    ]
    kept, refused = 0, len(steps) + 1  # the longest beginning that fits, by bisection: length grows with the steps
    while refused - kept > 1:
        middle = (kept + refused) // 2
        if len(write(replace(trajectory, steps=steps[:middle]))) <= max_characters:
            kept = middle
        else:
            refused = middle
    beginning = steps[:kept]
    if not any(step.calls for step in beginning):
        return str(write(replace(trajectory, steps=beginning)))[:max_characters] if write is _transcript else None
    return str(write(replace(trajectory, steps=beginning)))


def _shortened(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"


def _transcript(trajectory: Trajectory) -> str:
    parts: list[str] = []
    if (
        not trajectory.steps
        or trajectory.steps[0].role != "user"
        or not (trajectory.steps[0].content or "").startswith(trajectory.task)
    ):
        parts.append(f"Task: {trajectory.task}")
    tools = shown_tools(trajectory)
    if any(tool.get("name") not in _PROMPTS for tool in tools):
        parts.append("Tools:\n" + "\n".join(f"- {_signature(tool)}" for tool in tools))
    in_session = False
    for step in trajectory.steps:
        text = _step_text(step)
        is_bare_action = bool(step.calls) and not step.content and not step.thought and _is_at_prompt(step.calls)
        if text and in_session and (step.role == "tool" or is_bare_action):  # one session at one prompt
            parts[-1] += "\n" + text
        elif text:
            parts.append(text)
        in_session = bool(step.calls) or (in_session and step.role == "tool")
    return "\n\n".join(parts) + "\n"


def _step_text(step: Step) -> str:
    if step.role == "tool":
        return _observation_text(step)
    lines: list[str] = []
    if step.thought:
        lines.append(f"Thought: {step.thought}")
    if step.content:
        speaker = {"system": "System", "user": "Task", "assistant": "Assistant"}[step.role]
        lines.append(f"{speaker}: {step.content}")
    lines.extend(_call_text(call) for call in step.calls)
    return "\n".join(lines)


def _observation_text(step: Step) -> str:
    if step.error and step.error not in (step.content or ""):
        return f"Error: {step.error}" if not step.content else f"{step.content}\nError: {step.error}"
    return (step.content or "").strip("\n")


def _call_text(call: ToolCall) -> str:
    if _is_at_prompt((call,)):
        argument, prompt = _PROMPTS[call.name]
        lines = str(call.arguments[argument]).split("\n")
        follow = "... " if call.name == "python" else ""
        return "\n".join([prompt + lines[0], *(follow + line for line in lines[1:])])
    return f"Action: {call.name} {canonical_json(call.arguments)}"


def _is_at_prompt(calls: Sequence[ToolCall]) -> bool:
    return all(
        call.name in _PROMPTS
        and list(call.arguments) == [_PROMPTS[call.name][0]]
        and isinstance(call.arguments[_PROMPTS[call.name][0]], str)
        for call in calls
    )


def _signature(tool: Mapping[str, Any]) -> str:
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


def _chat(trajectory: Trajectory) -> str:
    """``{"tools": [...], "messages": [...]}`` with calls and tools in the layout that chat templates read."""
    messages: list[dict[str, Any]] = []
    for step in trajectory.steps:
        said = step.content or ""
        if step.role == "tool":
            message: dict[str, Any] = {"role": "tool", "content": _observation_text(step)}
            if step.answers is not None:
                message["tool_call_id"] = step.answers
        else:
            message = {"role": step.role, "content": "\n".join(part for part in (step.thought, said) if part)}
            if step.calls:
                message["tool_calls"] = [_chat_call(call) for call in step.calls]
        messages.append(message)
    if not any(message["role"] in {"user", "system"} for message in messages):
        messages.insert(0, {"role": "user", "content": trajectory.task})
    while messages and messages[-1]["role"] == "user":  # cut short: a question without its answer teaches nothing
        messages.pop()
    tools = [{"type": "function", "function": dict(tool)} for tool in shown_tools(trajectory)]
    return canonical_json({"tools": tools, "messages": messages})


def _chat_call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"type": "function", "function": function} | ({} if call.call_id is None else {"id": call.call_id})
