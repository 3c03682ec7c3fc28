"""Calls that a model writes into the text of a message, to be answered by the user's turns after it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from forge.schema import Step

CallReader = Callable[[Step, str], Step]
"""Of an assistant's step without calls, and its text: the step with the calls in the text; the same step without."""


def with_written_calls(steps: Iterable[Step], read: CallReader) -> list[Step]:
    """The steps with the calls in the assistant's texts as calls, and as many of the user's turns right after them as
    observations. Steps that have calls already stay as they are."""
    found: list[Step] = []
    pending = 0
    for step in steps:
        if step.role == "user" and pending:
            pending -= 1
            found.append(Step("tool", step.content or ""))
            continue
        pending = 0
        if step.role == "assistant" and not step.calls and step.content:
            step = read(step, step.content)
            pending = len(step.calls)
        found.append(step)
    return found
