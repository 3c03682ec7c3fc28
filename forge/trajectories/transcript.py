"""The form ``transcript``: the episode as it happened, in plain text."""

from __future__ import annotations

from forge.schema import Trajectory
from forge.trajectories.shown_tools import shown_tools
from forge.trajectories.wording import PROMPTS, is_at_prompt, speaker, tools_text, turn_text


def transcript(trajectory: Trajectory) -> str:
    """Task, tools, then every turn; a session at one prompt (shell, Python, game) without empty lines in between."""
    first_turn = next((step for step in trajectory.steps if step.role == "user"), None)
    task = trajectory.task.strip()
    tells_task = first_turn is not None and task in (first_turn.content or "")
    parts: list[str] = []
    if task and not tells_task:
        parts.append(speaker("task") + task)
    tools = shown_tools(trajectory)
    if any(tool.get("name") not in PROMPTS for tool in tools):
        parts.append(tools_text(tools))
    in_session = False
    for step in trajectory.steps:
        said_as = "task" if tells_task and step is first_turn else step.role
        text = turn_text(step, said_as)
        is_bare_action = (
            bool(step.calls)
            and not step.content
            and not step.thought
            and all(is_at_prompt(call) for call in step.calls)
        )
        if text and in_session and (step.role == "tool" or is_bare_action):
            parts[-1] += "\n" + text
        elif text:
            parts.append(text)
        in_session = bool(step.calls) or (in_session and step.role == "tool")
    return "\n\n".join(parts) + "\n"
