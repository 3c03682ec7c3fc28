"""The form ``plan``: task, plan and calls, without what was observed on the way.

The plan is in the agent's own words where it thought before it called; else a line says what the called tool does, in
the words of its description. Calls that failed and were corrected are not part of a plan, nor is a failed episode.
"""

from __future__ import annotations

from collections.abc import Sequence

from forge.schema import Step, Trajectory
from forge.trajectories.recovery import Correction
from forge.trajectories.shown_tools import shown_tools
from forge.trajectories.wording import call_text, heading, speaker, tools_text

MIN_CALLS, MAX_CALLS = 2, 20
MAX_LINE_CHARACTERS = 300


def plan(trajectory: Trajectory, corrected: Sequence[Correction], max_characters: int) -> str | None:
    """The text; None for failures, for fewer than :data:`MIN_CALLS` or more than :data:`MAX_CALLS` steps that call,
    for one tool called again and again without a thought, and beyond ``max_characters``."""
    if trajectory.outcome == "failure":
        return None
    failed = {place for place, _, _ in corrected}
    steps = [step for place, step in enumerate(trajectory.steps) if step.calls and place not in failed]
    called = {call.name for step in steps for call in step.calls}
    if not MIN_CALLS <= len(steps) <= MAX_CALLS or (len(called) == 1 and not any(step.thought for step in steps)):
        return None
    purposes = {str(tool.get("name")): str(tool.get("description") or "") for tool in trajectory.tools}
    lines = [f"{number}. {_line(step, purposes)}" for number, step in enumerate(steps, start=1)]
    calls = [call_text(call).removeprefix(speaker("action")) for step in steps for call in step.calls]
    parts = [speaker("task") + trajectory.task]
    tools = shown_tools(trajectory)
    if tools:
        parts.append(tools_text(tools))
    parts.append("\n".join([heading("plan"), *lines]))
    parts.append("\n".join([heading("calls"), *calls]))
    text = "\n\n".join(parts) + "\n"
    return text if len(text) <= max_characters else None


def _line(step: Step, purposes: dict[str, str]) -> str:
    said = step.thought or step.content
    if not said:
        said = "; ".join(_purpose(call.name, purposes.get(call.name, "")) for call in step.calls)
    line = " ".join(said.split())
    if len(line) <= MAX_LINE_CHARACTERS:
        return line
    cut = line[:MAX_LINE_CHARACTERS]
    return cut[: cut.rfind(". ") + 1] or cut.rpartition(" ")[0] + " ..."


def _purpose(name: str, description: str) -> str:
    first = " ".join(description.split()).partition(". ")[0].rstrip(".")
    return f"{name}: {first}" if first else name
