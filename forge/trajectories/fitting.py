"""Episodes that are longer than a document may be: shorter observations first, then fewer steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from forge.schema import Trajectory

MIN_OBSERVATION_CHARACTERS = 400


def fitted(
    trajectory: Trajectory,
    write: Callable[[Trajectory], str | None],
    max_characters: int,
    *,
    needs_action: bool = False,
) -> str | None:
    """``write(trajectory)``, cut to ``max_characters``: observations lose their middle, then the last steps go.

    Where not one action fits: None with ``needs_action``, else the beginning of the text. None where ``write`` gives
    None.
    """
    text = write(trajectory)
    if text is None or len(text) <= max_characters:
        return text
    limit = max(max_characters // 8, MIN_OBSERVATION_CHARACTERS)
    steps = [
        replace(step, content=shortened(step.content, limit)) if step.role == "tool" and step.content else step
        for step in trajectory.steps
    ]
    kept, refused = 0, len(steps) + 1  # the longest beginning that fits, by bisection: length grows with the steps
    while refused - kept > 1:
        middle = (kept + refused) // 2
        if len(write(replace(trajectory, steps=steps[:middle])) or "") <= max_characters:
            kept = middle
        else:
            refused = middle
    beginning = write(replace(trajectory, steps=steps[:kept]))
    if beginning is None or any(step.calls for step in steps[:kept]):
        return beginning
    return None if needs_action else beginning[:max_characters]


def shortened(text: str, limit: int) -> str:
    """The text without its middle when it is longer than ``limit`` characters."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"
