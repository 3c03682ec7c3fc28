"""A key that two records of one episode share, however their sources space, number and stamp them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from forge.schema import Step, Trajectory, canonical_json, content_hash, normalised_text
from forge.trajectories.observations import answered

_TIME = (
    r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?(?![\w:])"
    r"|\b(?:mon|tue|wed|thu|fri|sat|sun),? \d{1,2} (?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec) \d{4}"
    r" \d\d:\d\d:\d\d(?: (?:gmt|utc|[+-]\d{4}))?\b"
)
_IDENTIFIER = r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b|\b0x[0-9a-f]{6,16}\b"
_CLOCK = re.compile(r"\d:\d\d")
_VOLATILE = re.compile(f"(?P<time>{_TIME})|(?P<identifier>{_IDENTIFIER})", re.IGNORECASE)


def normalised_key(trajectory: Trajectory) -> str:
    """128-bit hash of the task and the normalised steps. Equal for episodes that differ only in

    - white space, case and the form of characters (NFKC) of what is said, thought and observed
    - the ids of calls: only which observation answers which call counts
    - times of day, UUIDs and addresses of memory that the environment gives, also where the assistant uses them: a
      time is any time, an identifier is its number in the order of appearance

    Arguments count as they are, except for those values; so do values that the user gives. What is offered, how it
    ended and where it was found do not count. Raises TypeError for arguments that are no JSON
    (:func:`~forge.trajectories.checks.check` finds them).
    """
    environment = _EnvironmentValues()
    call_of = {answer.observation: (answer.call_step, answer.call_place) for answer in answered(trajectory.steps)}
    steps: list[Any] = []
    for number, step in enumerate(trajectory.steps):
        mask = environment.remembered if step.role in {"system", "tool"} else environment.recognised
        texts = [_substituted(normalised_text(text), mask) if text else "" for text in _said(step)]
        calls = [[call.name, _masked(call.arguments, environment.recognised)] for call in step.calls]
        steps.append([step.role, *texts, calls, call_of.get(number)])
    return content_hash(normalised_text(trajectory.task), canonical_json(steps))


class _EnvironmentValues:
    """The volatile values that the environment gave so far, and what stands for each."""

    def __init__(self) -> None:
        self._times: set[str] = set()
        self._identifiers: dict[str, str] = {}

    def remembered(self, found: re.Match[str]) -> str:
        value = found.group().lower()
        if found["time"]:
            self._times.add(value)
        else:
            self._identifiers.setdefault(value, f"<{len(self._identifiers)}>")
        return self.recognised(found)

    def recognised(self, found: re.Match[str]) -> str:
        """A value that the environment never gave stays as it is."""
        value = found.group().lower()
        return "<time>" if value in self._times else self._identifiers.get(value, found.group())


def _said(step: Step) -> tuple[str | None, str | None, str | None]:
    return step.content, step.thought, step.error


def _substituted(text: str, mask: Callable[[re.Match[str]], str]) -> str:
    """The text masked. What every volatile value holds is looked for first: most texts have none of it."""
    might = "0x" in text or "0X" in text or text.count("-") >= 4 or (":" in text and _CLOCK.search(text) is not None)
    return _VOLATILE.sub(mask, text) if might else text


def _masked(value: Any, mask: Callable[[re.Match[str]], str]) -> Any:
    """The same value with its texts masked. Levels of nesting are bounded by what canonical JSON allows."""
    if isinstance(value, str):
        return _substituted(value, mask)
    if isinstance(value, dict):
        return {key: _masked(inner, mask) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_masked(inner, mask) for inner in value]
    return value
