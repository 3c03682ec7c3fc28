"""The form ``feedback``: each failed call, what the environment said to it, and what corrected it."""

from __future__ import annotations

from collections.abc import Sequence

from forge.schema import Step, Trajectory
from forge.trajectories.fitting import shortened
from forge.trajectories.recovery import Correction
from forge.trajectories.wording import (
    PROMPTS,
    heading,
    is_at_prompt,
    observation_text,
    speaker,
    tools_text,
    turn_text,
)

MAX_OBSERVATION_CHARACTERS = 1_500


def feedback(trajectory: Trajectory, corrected: Sequence[Correction], max_characters: int) -> str | None:
    """The text, with as many corrections as fit; None when nothing was corrected or not one fits. Several failures that
    one step corrects are shown together. At a prompt, where every command is a call of one tool, only a command with
    the same first word corrects: ``ls`` does not correct ``git comit``."""
    steps = trajectory.steps
    found: dict[int, list[tuple[int, int]]] = {}
    for failed, _, observed, right in corrected:
        if _openings(steps[failed]) & _openings(steps[right]):
            found.setdefault(right, []).append((failed, observed))
    if not found:
        return None
    places = [*found, *(failed for failures in found.values() for failed, _ in failures)]
    concerned = {call.name for place in places for call in steps[place].calls}
    tools = [tool for tool in trajectory.tools if tool.get("name") in concerned]
    parts = [speaker("task") + trajectory.task]
    if any(tool.get("name") not in PROMPTS for tool in tools):
        parts.append(tools_text(sorted(tools, key=lambda tool: str(tool.get("name")))))
    opening = len(parts)
    for right, failures in found.items():
        pieces = [f"{heading('failed')}\n{_call_and_answer(steps, *failure)}" for failure in failures]
        pieces.append(f"{heading('corrected')}\n{_call_and_answer(steps, right, right + 1)}")
        if len("\n\n".join([*parts, *pieces])) >= max_characters:
            break
        parts += pieces
    return "\n\n".join(parts) + "\n" if len(parts) > opening else None


def _openings(step: Step) -> set[str]:
    """The names that a step calls; of commands at a prompt, with their first words."""
    return {
        f"{call.name} {str(call.arguments[PROMPTS[call.name][0]]).split(maxsplit=1)[:1]}"
        if is_at_prompt(call)
        else call.name
        for call in step.calls
    }


def _call_and_answer(steps: Sequence[Step], call: int, answer: int) -> str:
    parts = [turn_text(steps[call], "assistant")]
    if answer < len(steps) and steps[answer].role == "tool":
        parts.append(shortened(observation_text(steps[answer]), MAX_OBSERVATION_CHARACTERS))
    return "\n".join(part for part in parts if part)
