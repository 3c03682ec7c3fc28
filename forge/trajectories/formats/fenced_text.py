"""Commands written into the text of a message as a fenced block, as SWE-agent prompts models without tool calling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from forge.schema import Step, ToolCall
from forge.trajectories.formats.written_calls import with_written_calls

SHELL = "shell"
_FENCE = "```"


def with_commands(steps: Sequence[Step]) -> list[Step]:
    """The steps with the command in each of the assistant's texts as a call of the shell, what stands around it as the
    thought (as the content, where the step has a thought), and the user's turn after it as the observation."""
    return with_written_calls(steps, _with_command)


def _with_command(step: Step, said: str) -> Step:
    around, command = fenced_command(said)
    if command is None:
        return step
    words, calls = around.strip() or None, (ToolCall(SHELL, {"command": command}),)
    if step.thought:
        return replace(step, content=words, calls=calls)
    return replace(step, content=None, thought=words, calls=calls)


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
