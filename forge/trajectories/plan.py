"""The form ``plan``: task, plan and calls, without what was observed on the way.

A line of the plan says what the called tool does, in the words of its description; what the agent thought before it had
observed anything stands above. Later thoughts are no plan: they know what was observed. Calls that failed and were
corrected are not part of a plan, nor is a failed episode.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from forge.schema import ToolCall, Trajectory
from forge.trajectories.recovery import Correction
from forge.trajectories.shown_tools import shown_tools
from forge.trajectories.wording import call_text, heading, speaker, tools_text

MIN_CALLS, MAX_CALLS = 2, 20
MAX_THOUGHT_CHARACTERS = 1_000


def plan(trajectory: Trajectory, corrected: Sequence[Correction], max_characters: int) -> str | None:
    """The text; None for failures, for fewer than :data:`MIN_CALLS` or more than :data:`MAX_CALLS` calls, for one tool
    called again and again, for tools without a description, and beyond ``max_characters``."""
    if trajectory.outcome == "failure":
        return None
    failed = {(found.failed_step, found.failed_place) for found in corrected}
    calls = [
        call
        for number, step in enumerate(trajectory.steps)
        for place, call in enumerate(step.calls)
        if (number, place) not in failed
    ]
    purposes = {str(tool.get("name")): _purpose(tool) for tool in trajectory.tools}
    called = {call.name for call in calls}
    if not MIN_CALLS <= len(calls) <= MAX_CALLS or len(called) == 1 or not all(map(purposes.get, called)):
        return None
    parts = [speaker("task") + trajectory.task, tools_text(shown_tools(trajectory))]
    thought = _first_thought(trajectory)
    lines = [f"{number}. {purpose}" for number, purpose in enumerate(_merged(calls, purposes), start=1)]
    parts.append("\n".join([heading("plan"), *([thought] if thought else []), *lines]))
    parts.append("\n".join([heading("calls"), *(call_text(call).removeprefix(speaker("action")) for call in calls)]))
    text = "\n\n".join(parts) + "\n"
    return text if len(text) <= max_characters else None


def _merged(calls: Sequence[ToolCall], purposes: Mapping[str, str]) -> list[str]:
    """One line a tool in a row: three calls of one tool are one step of a plan."""
    names: list[str] = []
    for call in calls:
        if not names or names[-1] != call.name:
            names.append(call.name)
    return [f"{name}: {purposes[name]}" for name in names]


def _first_thought(trajectory: Trajectory) -> str:
    """What the agent thought before anything was observed, on one line; empty when it is too long."""
    thoughts: list[str] = []
    for step in trajectory.steps:
        if step.role == "tool":
            break
        if step.role == "assistant" and step.thought:
            thoughts.append(step.thought)
    thought = " ".join(" ".join(thoughts).split())
    return thought if len(thought) <= MAX_THOUGHT_CHARACTERS else ""


def _purpose(tool: Mapping[str, object]) -> str:
    """The first sentence of the tool's description."""
    return " ".join(str(tool.get("description") or "").split()).partition(". ")[0].rstrip(".")
