"""The form ``chat_messages``: ``{"tools": [...], "messages": [...]}`` with calls and tools in the layout that chat
templates read. Instruction tuning renders it with the model's own template and counts the assistant's tokens only, but
for messages with ``"loss": false``."""

from __future__ import annotations

from typing import Any

from forge.schema import Step, ToolCall, Trajectory, canonical_json
from forge.trajectories.shown_tools import shown_tools
from forge.trajectories.wording import observation_text


def chat(trajectory: Trajectory) -> str:
    """The canonical JSON of an episode's messages; it ends with the assistant or a tool, never with a question."""
    messages = [_message(step) for step in trajectory.steps]
    if not any(message["role"] in {"user", "system"} for message in messages):
        messages.insert(0, {"role": "user", "content": trajectory.task})
    while messages and messages[-1]["role"] == "user":  # cut short: a question without its answer teaches nothing
        messages.pop()
    tools = [{"type": "function", "function": dict(tool)} for tool in shown_tools(trajectory)]
    return canonical_json({"tools": tools, "messages": messages})


def _message(step: Step) -> dict[str, Any]:
    if step.role == "tool":
        message: dict[str, Any] = {"role": "tool", "content": observation_text(step)}
        if step.answers is not None:
            message["tool_call_id"] = step.answers
        return message
    message = {"role": step.role, "content": "\n".join(part for part in (step.thought, step.content) if part)}
    if step.calls:
        message["tool_calls"] = [_call(call) for call in step.calls]
    if step.loss is False:
        message["loss"] = False
    return message


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"type": "function", "function": function} | ({} if call.call_id is None else {"id": call.call_id})
