"""Which tools a document shows, and what identifies its task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from forge.schema import Trajectory, content_hash

MAX_TOOLS = 8


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
    if len(trajectory.tools) <= MAX_TOOLS:
        return sorted(trajectory.tools, key=lambda tool: str(tool.get("name")))
    called = {call.name for step in trajectory.steps for call in step.calls}
    group = task_group(trajectory)

    def place(tool: Mapping[str, Any]) -> tuple[bool, str]:
        name = str(tool.get("name"))
        return name not in called, content_hash(group, name)

    count = max(MAX_TOOLS, sum(tool.get("name") in called for tool in trajectory.tools))
    return sorted(sorted(trajectory.tools, key=place)[:count], key=lambda tool: str(tool.get("name")))
