"""The AWS CLI's worked examples: what is wanted, the command, its output (an item is one service's folder).

Read from the unpacked wheel (source.artifact), ``awscli/examples/<service>/**/<operation>.rst``. One file is one
episode: each example's title and sentence of intent is a user turn, each ``aws`` command one call of the tool
``shell``, the output block that follows is its observation. A file that states no output at all is rejected
(``no_output``).
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from forge.artifacts import artifact_path
from forge.config import ConfigurationError, Settings, SourceSettings
from forge.schema import Decision, Item, Step, ToolCall, Trajectory, content_hash
from forge.trajectories.checks import check

MAX_FILE_BYTES = 1_000_000
TOOL: Mapping[str, Any] = {
    "name": "shell",
    "description": "Runs a command in a shell and returns what it prints. The AWS CLI is installed and configured.",
    "parameters": {
        "type": "object",
        "properties": {"command": {"type": "string", "description": "The command line."}},
        "required": ["command"],
    },
}
_STEP = "parse_trajectories"

_OUTPUT_LABEL = re.compile(
    r"^(?:-\s*)?(?:sample |example )?(?:output|result|response|returns?|the output[^.]*)\b[^.]{0,60}:*$", re.IGNORECASE
)
_COMMAND_LABEL = re.compile(r"^(?:-\s*)?(?:sample |example )?(?:command|input)\s*:*$", re.IGNORECASE)
_NO_OUTPUT = re.compile(
    r"\b(?:produces?|returns?|has|have|generates?|provides?|is) no output\b"
    r"|\bnot (?:produce|return|generate|have) any output\b"
    r"|\bno output is (?:returned|produced|generated)\b|\bdoes not (?:produce|return|generate) output\b",
    re.IGNORECASE,
)
_POINTER = re.compile(r"^(?:for more information|for details|see also|see `)", re.IGNORECASE)
_COMMAND_START = re.compile(r"^(?:\$ ?|# ?|> ?|C:\\> ?)?(?=aws\s+(?:-|[a-z]))")
_LINK = re.compile(r"`([^`<]+?)\s*<[^>]*>`__?")
_EXAMPLE_NUMBER = re.compile(r"^example(?: \d[\d.]*)?\s*[:.-]\s*(?=\S)", re.IGNORECASE)
_ROLE = re.compile(r":[a-z:]+:`([^`]+)`")


@dataclass(frozen=True, slots=True)
class _Block:
    kind: Literal["title", "paragraph", "literal"]
    text: str
    opens_literal: bool = False


@dataclass(slots=True)
class _Turn:
    """One user turn with the commands that answer it. An observation is None where the file states none."""

    said: list[str] = field(default_factory=list)
    commands: list[tuple[str, str | None]] = field(default_factory=list)


def list_items(name: str, source: SourceSettings, settings: Settings) -> Iterator[Item]:
    """One item per service folder. Raises :class:`ConfigurationError` when no artifact is configured or unpacked."""
    root = _examples(name, source, settings)
    if root is None:
        return
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        parts: list[str | bytes] = []
        for file in _files(folder):
            parts += [file.relative_to(folder).as_posix(), file.read_bytes()]
        if parts:
            yield Item(name, folder.name, content_hash(*parts), {"folder": str(folder)})


def read_item(item: Item, source: SourceSettings, settings: Settings) -> Iterator[Trajectory | Decision]:  # noqa: ARG001
    """The service's episodes, in path order."""
    folder = Path(item.locator["folder"])
    for file in _files(folder):
        operation = file.relative_to(folder).with_suffix("").as_posix()
        part = f"{item.item_id}#{operation}"
        size = file.stat().st_size
        if size > MAX_FILE_BYTES:
            yield Decision(item.source, part, _STEP, "oversized", f"{size} bytes, at most {MAX_FILE_BYTES} are read")
            continue
        try:
            text = file.read_bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            yield Decision(item.source, part, _STEP, "not_utf8", str(error))
            continue
        found = episode_of(text, item, source.license or "")
        if isinstance(found, str):
            yield Decision(item.source, part, _STEP, found)
            continue
        problem = check(found)
        if problem is None:
            yield replace(found, episode=operation)
        else:
            yield Decision(item.source, part, _STEP, problem.reason, problem.detail)


def episode_of(text: str, item: Item, spdx: str) -> Trajectory | str:
    """The episode of one file, or the reason why it has none: ``no_command``, ``no_output``, ``no_intent``."""
    turns = _turns(_blocks(text))
    observations = [observation for turn in turns for _, observation in turn.commands]
    if not observations:
        return "no_command"
    if all(observation is None for observation in observations):
        return "no_output"
    if not turns[0].said:
        return "no_intent"
    steps: list[Step] = []
    for turn in turns:
        if turn.said:
            steps.append(Step("user", "\n\n".join(turn.said)))
        for command, observation in turn.commands:
            steps.append(Step("assistant", calls=(ToolCall("shell", {"command": command}),)))
            if observation is not None:
                steps.append(Step("tool", observation))
    return Trajectory(
        task=steps[0].content or "",
        tools=(TOOL,),
        steps=tuple(steps),
        outcome="unknown",
        reward=None,
        environment="aws_cli",
        license=spdx,
        generator="human",
        source=item.source,
        item_id=item.item_id,
    )


def _examples(name: str, source: SourceSettings, settings: Settings) -> Path | None:
    if source.artifact is None:
        raise ConfigurationError(f"sources.{name}.artifact: the unpacked awscli wheel is needed, nothing is given")
    root = artifact_path(settings, source.artifact)
    if root is None:
        return None
    folder = root / "awscli" / "examples"
    if not folder.is_dir():
        raise ConfigurationError(f"sources.{name}.artifact: {source.artifact!r} holds no folder awscli/examples")
    return folder


def _files(folder: Path) -> list[Path]:
    """The example files; ``_description`` files replace a command's help text and hold no examples."""
    return [file for file in sorted(folder.rglob("*.rst")) if not file.stem.endswith("_description")]


def _blocks(text: str) -> list[_Block]:
    """The file as titles, paragraphs and literal blocks: the part of reStructuredText that these files use."""
    blocks: list[_Block] = []
    lines = text.expandtabs(4).splitlines()
    index = 0
    while index < len(lines):
        if not lines[index].strip():
            index += 1
            continue
        indented = lines[index].startswith("  ")
        start = index
        while index < len(lines) and (
            (lines[index].startswith("  ") or not lines[index].strip()) if indented else lines[index].strip()
        ):
            index += 1
        if indented:
            literal = textwrap.dedent("\n".join(line.rstrip() for line in lines[start:index])).strip("\n")
            blocks.append(_Block("literal", literal))
        elif not lines[start].startswith(".."):  # comments and directives
            blocks.extend(_prose(lines[start:index]))
    return blocks


def _prose(lines: list[str]) -> Iterator[_Block]:
    """A paragraph; where its first line is bold, that is a title. Underlined section titles are titles too."""
    if len(lines) >= 2 and re.fullmatch(r"([=\-~^*#\"])\1{2,}", lines[1].strip()):
        yield _Block("title", _plain(lines[0]))
        lines = lines[2:]
    elif (bold := re.fullmatch(r"\*\*(.+?)\*\*:?", lines[0].strip())) is not None:
        yield _Block("title", _EXAMPLE_NUMBER.sub("", _plain(bold.group(1))))
        lines = lines[1:]
    raw = " ".join(line.strip() for line in lines)
    if words := _plain(raw):
        yield _Block("paragraph", words, opens_literal=raw.endswith(":"))


def _plain(text: str) -> str:
    text = _ROLE.sub(r"\1", _LINK.sub(r"\1", text)).replace("``", "`")
    text = re.sub(r"\s*::\s*$", ":", text).replace("\\ ", "").strip()
    return text[:-1] if text.endswith(".:") or text == ":" else text


def _turns(blocks: list[_Block]) -> list[_Turn]:
    turns: list[_Turn] = []
    turn = _Turn()
    label = ""

    def is_answered() -> bool:
        return bool(turn.commands) and turn.commands[-1][1] is not None

    for block in blocks:
        if block.kind == "literal":
            commands = _commands(block.text)
            if _OUTPUT_LABEL.match(label) and turn.commands:
                command, observation = turn.commands[-1]
                shown = block.text if not observation else f"{observation}\n\n{block.text}"
                turn.commands[-1] = (command, shown)
            elif commands:
                turn.commands.extend((command, None) for command in commands)
            elif not is_answered():  # an input file that the command reads, shown before or after it
                turn.said.append(f"{label}\n\n{block.text}" if label and label not in turn.said else block.text)
            label = ""
            continue
        if block.kind == "title" or (turn.commands and _starts_a_turn(block, is_answered())):
            if turn.commands:
                turns.append(turn)
            turn = _Turn()
        label = block.text
        if _OUTPUT_LABEL.match(label) or _COMMAND_LABEL.match(label) or _POINTER.match(label):
            continue
        if turn.commands and _NO_OUTPUT.search(label):
            if not is_answered():
                turn.commands[-1] = (turn.commands[-1][0], "")
            continue
        if not turn.commands:
            turn.said.append(label)
    if turn.commands:
        turns.append(turn)
    return turns


def _starts_a_turn(block: _Block, answered: bool) -> bool:
    """Prose after a command opens the next turn when it announces a literal block and is no label. Other prose after a
    command comments on it and is left out."""
    text = block.text
    if _OUTPUT_LABEL.match(text) or _COMMAND_LABEL.match(text) or _NO_OUTPUT.search(text):
        return False
    contents = re.match(r"(?:the )?contents? of\b", text, re.IGNORECASE)
    return block.opens_literal and (answered or contents is None)


def _commands(literal: str) -> list[str]:
    """The ``aws`` commands of a literal block, each with its further lines; none when it is something else."""
    commands: list[str] = []
    current: list[str] = []
    for line in literal.splitlines():
        start = _COMMAND_START.match(line)
        if start is not None and not (current and current[-1].endswith("\\")):
            if current:
                commands.append("\n".join(current).rstrip())
            current = [line[start.end() :]]
        elif current:
            current.append(line)
        elif line.strip():
            return []
    if current:
        commands.append("\n".join(current).rstrip())
    return commands
