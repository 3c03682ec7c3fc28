"""Evaluation sets never train anything: episodes of them are refused by name and by content (DESIGN D10).

By name: the words of a source's name, artifact, paths and files, and of an episode's environment and id. By content:

- a turn of the user or a system prompt is one of a set's (``conf/evaluation_sets/<set>.txt``: hashes of texts)
- the tools are those of a set: at least two of them, and at least half of all that are called or offered; or a single
  call of one of its tools with at least two arguments, each a parameter of that tool

Content finds what was renamed, rerun with another model, or mixed into a larger set. It cannot find a task told in
other words with other tools. Documents are compared with BFCL once more, by n-grams and signatures, in `decontaminate`.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import yaml

from forge.config import SourceSettings, checkout
from forge.schema import Item, Trajectory, content_hash, normalised_text
from forge.stored_files import matches_pattern

MIN_TASK_WORDS = 8
"""Shorter turns ("Thank you for your help!") are nobody's in particular."""
MIN_SHARED_TOOLS = 2
MIN_SHARED_SHARE = 0.5
_HASH_CHARACTERS = 16
_GIVEN = ("system", "user")  # what an episode is given; a set's policy is as much its own as its questions


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """``names``: as they stand in file and source names, words in lower case. ``tools``: name -> parameters, empty
    where they are not known. ``tasks``: :func:`task_hash` of what its items ask."""

    name: str
    names: tuple[str, ...]
    tools: Mapping[str, frozenset[str]]
    tasks: frozenset[str]


def task_hash(text: str) -> str:
    """Of the normalised text: case, spacing and punctuation do not matter."""
    return content_hash(" ".join(re.findall(r"\w+", normalised_text(text))))[:_HASH_CHARACTERS]


@lru_cache(maxsize=1)
def evaluation_sets() -> tuple[EvaluationSet, ...]:
    """The sets of ``conf/evaluation_sets``."""
    folder = _folder()
    stated = yaml.safe_load((folder / "sets.yaml").read_text())
    found = []
    for name, entry in sorted(stated.items()):
        tasks = folder / f"{name}.txt"
        found.append(
            EvaluationSet(
                name,
                tuple(_words(alias) for alias in entry["names"]),
                {tool: frozenset(parameters or ()) for tool, parameters in (entry.get("tools") or {}).items()},
                frozenset(tasks.read_text().split()) if tasks.is_file() else frozenset(),
            )
        )
    return tuple(found)


def evaluation_sets_version() -> str:
    """Hash of all sets: files are read anew when a set is added."""
    return content_hash(*(file.read_bytes() for file in sorted(_folder().iterdir()) if file.is_file()))


def _folder() -> Path:
    return checkout() / "conf" / "evaluation_sets"


def denied_by_name(item: Item, source: SourceSettings) -> str | None:
    """Why an item belongs to an evaluation set by what it and its source are called; None when it does not."""
    paths = source.options.get("paths")
    patterns = [str(path) for path in paths] if isinstance(paths, (list, tuple)) else []
    found = [path for path in patterns if matches_pattern(path, item)]
    return _named((item.source, source.artifact or "", item.item_id, *found))


def denied_episode(trajectory: Trajectory) -> str | None:
    """Why an episode belongs to an evaluation set by what it is called or what it holds; None when it does not."""
    return _named((trajectory.environment, trajectory.episode)) or _contained(trajectory)


def _named(stated: Sequence[str]) -> str | None:
    pattern, sets = _aliases()
    for text in stated:
        found = pattern.search(f" {_words(text)} ") if text else None
        if found is not None:
            return f"{text!r} names the evaluation set {sets[found.group()]}"
    return None


@lru_cache(maxsize=1)
def _aliases() -> tuple[re.Pattern[str], Mapping[str, str]]:
    sets = {alias: known.name for known in evaluation_sets() for alias in known.names}
    longest_first = sorted(sets, key=lambda alias: (-len(alias), alias))
    return re.compile(f"(?<= )(?:{'|'.join(longest_first)})(?= )"), sets


def _words(text: str) -> str:
    """``tau-bench/Results_v2.json`` -> ``tau bench results v2 json``: names are compared word by word."""
    return " ".join(re.findall(r"[a-z]+\d*|\d+", text.lower()))


def _contained(trajectory: Trajectory) -> str | None:
    tasks, sets_of_tool = _contents()
    said = {step.content for step in trajectory.steps if step.role in _GIVEN and step.content}
    for text in (trajectory.task, *sorted(said)):
        if _is_long_enough(text) and (known := tasks.get(task_hash(text))) is not None:
            return f"a task of the evaluation set {known}"
    calls = [call for step in trajectory.steps for call in step.calls]
    called = {call.name for call in calls}
    for names in (called, {str(tool.get("name")) for tool in trajectory.tools}):
        for known_set in {found.name: found for name in names for found in sets_of_tool.get(name, ())}.values():
            shared = names & known_set.tools.keys()
            if len(shared) >= max(MIN_SHARED_TOOLS, MIN_SHARED_SHARE * len(names)):
                return f"tools of the evaluation set {known_set.name}: {', '.join(sorted(shared)[:5])}"
    if len(called) == 1:
        for call in calls:
            for known_set in sets_of_tool.get(call.name, ()):
                if len(call.arguments) >= 2 and known_set.tools[call.name].issuperset(call.arguments):
                    parameters = ", ".join(sorted(call.arguments))
                    return f"a call of the evaluation set {known_set.name}: {call.name}({parameters})"
    return None


@lru_cache(maxsize=1)
def _contents() -> tuple[Mapping[str, str], Mapping[str, Sequence[EvaluationSet]]]:
    """(hash of a task -> its set, name of a tool -> the sets that have it)."""
    tasks: dict[str, str] = {}
    tools: dict[str, list[EvaluationSet]] = {}
    for known in evaluation_sets():
        for task in known.tasks:
            tasks.setdefault(task, known.name)
        for tool in known.tools:
            tools.setdefault(tool, []).append(known)
    return tasks, tools


def _is_long_enough(text: str) -> bool:
    return len(text.split(maxsplit=MIN_TASK_WORDS)) >= MIN_TASK_WORDS


def hashes_of(lines: Iterator[str]) -> list[str]:
    """Sorted distinct hashes of the texts, one a line, that are long enough to be somebody's."""
    return sorted({task_hash(line) for line in lines if _is_long_enough(line)})


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the hashes of the tasks on standard input, one a line, as ``conf/evaluation_sets/*.txt`` hold them."""
    argparse.ArgumentParser(prog="python -m forge.trajectories.evaluation_sets", description=main.__doc__).parse_args(
        arguments
    )
    sys.stdout.write("".join(f"{found}\n" for found in hashes_of(iter(sys.stdin))))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
