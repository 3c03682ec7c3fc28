"""Commands written into the text of a message as a fenced block, as SWE-agent prompts models without tool calling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from forge.schema import Step, ToolCall

SHELL = "shell"
_FENCE = "```"


def with_commands(steps: Sequence[Step]) -> list[Step]:
    """The steps with the command in each of the assistant's texts as a call of the shell, what stands around it as the
    thought, and the user's turn after it as the observation. Steps that have calls already stay as they are."""
    found: list[Step] = []
    is_pending = False
    for step in steps:
        thought, command = (step.content or "", None)
        if step.role == "assistant" and not step.calls:
            thought, command = fenced_command(thought)
        if command is not None:
            call = ToolCall(SHELL, {"command": command})
            found.append(replace(step, content=None, thought=thought.strip() or None, calls=(call,)))
        elif step.role == "user" and is_pending:
            found.append(Step("tool", step.content or ""))
        else:
            found.append(step)
        is_pending = command is not None
    return found


def fenced_command(said: str) -> tuple[str, str | None]:
    """The text around the last fenced block, and the block, which is the command; None without one. A block inside a
    block belongs to the outer one."""
    opened: list[tuple[int, int]] = []
    block: tuple[int, int, int, int] | None = None
    place = 0
    for line in said.splitlines(keepends=True):
        after = place + len(line)
        label = line[len(_FENCE) :].strip() if line.startswith(_FENCE) else None
        if label == "" and opened:
            start, inside = opened.pop()
            block = block if opened else (start, inside, place, after)
        elif label is not None and not any(letter.isspace() for letter in label):
            opened.append((place, after))
        place = after
    if block is None:
        return said, None
    start, inside, end, rest = block
    return said[:start] + said[rest:], said[inside:end].strip("\n")
