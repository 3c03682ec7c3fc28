"""The form ``chat_messages``: ``{"tools": [...], "messages": [...]}`` with calls and tools in the layout that chat
templates read. Instruction tuning renders it with the model's own template and counts the assistant's tokens only, but
for messages with ``"loss": false``: turns whose source says so, and calls that failed and were corrected.

A model must not learn to call what nobody offered: an episode whose calls name tools that are not listed is no chat.
Only the prompts of :data:`~forge.trajectories.wording.PROMPTS` have descriptions of ours (templates.yaml), for episodes
without a system prompt, which might ask for another form of answer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from forge.schema import Step, ToolCall, Trajectory, canonical_json
from forge.trajectories.recovery import corrections
from forge.trajectories.shown_tools import shown_tools
from forge.trajectories.wording import observation_text, templates


def chat(trajectory: Trajectory) -> str | None:
    """The canonical JSON of an episode's messages; it ends with the assistant or a tool, never with a question. None
    where tools are called that are not offered."""
    corrected = corrections(trajectory)
    mistakes = {found.failed_step for found in corrected}
    tools = _offered(trajectory, mistakes)
    if tools is None:
        return None
    messages = [_message(step, number in mistakes) for number, step in enumerate(trajectory.steps)]
    if not any(message["role"] in {"user", "system"} for message in messages):
        messages.insert(0, {"role": "user", "content": trajectory.task})
    while messages and messages[-1]["role"] == "user":  # cut short: a question without its answer teaches nothing
        messages.pop()
    return canonical_json(
        {"tools": [{"type": "function", "function": dict(tool)} for tool in tools], "messages": messages}
    )


def _offered(trajectory: Trajectory, mistakes: Collection[int]) -> list[Mapping[str, Any]] | None:
    """The tools that the chat shows; None where a call that is no corrected mistake names another one."""
    shown = shown_tools(trajectory)
    known = {str(tool.get("name")) for tool in shown}
    called = {
        call.name for number, step in enumerate(trajectory.steps) if number not in mistakes for call in step.calls
    }
    prompts: Mapping[str, Mapping[str, Any]] = templates()["tools"]
    missing = sorted(called - known)
    if not missing:
        return shown
    if not prompts.keys() >= set(missing) or any(step.role == "system" for step in trajectory.steps):
        return None
    return [*shown, *({"name": name, **prompts[name]} for name in missing)]


def _message(step: Step, is_mistake: bool) -> dict[str, Any]:
    if step.role == "tool":
        message: dict[str, Any] = {"role": "tool", "content": observation_text(step)}
        if step.answers is not None:
            message["tool_call_id"] = step.answers
        return message
    message = {"role": step.role, "content": "\n".join(part for part in (step.thought, step.content) if part)}
    if step.calls:
        message["tool_calls"] = [_call(call) for call in step.calls]
    if step.loss is False or is_mistake:
        message["loss"] = False
    return message


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"type": "function", "function": function} | ({} if call.call_id is None else {"id": call.call_id})
