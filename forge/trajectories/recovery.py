"""Failures teach where a later step recovers: which call failed, what was observed, which step corrected it."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from forge.schema import Step, Trajectory
from forge.trajectories.observations import Answer, answered, is_error


class Correction(NamedTuple):
    """A failed call (its step and its place among that step's calls), the step of its observation, and the step that
    corrects it."""

    failed_step: int
    failed_place: int
    observation: int
    correcting_step: int


def recovers(trajectory: Trajectory) -> bool:
    """Whether a call fails and the episode recovers: by a later call of the same tool that succeeds, or, in an episode
    that ends in success, by anything that the assistant does later."""
    if trajectory.outcome != "success":
        return bool(corrections(trajectory))
    last_act = max((number for number, step in enumerate(trajectory.steps) if step.role == "assistant"), default=-1)
    return any(step.role == "tool" and is_error(step) for step in trajectory.steps[: last_act + 1])


def corrections(trajectory: Trajectory) -> list[Correction]:
    """The corrections of an episode, by observation.

    A call fails when its observation tells of an error (:func:`~forge.trajectories.observations.is_error`). The next
    call of the same tool whose observation tells of none corrects it, when it was made after the error was seen; calls
    that fail in between have the same correction.
    """
    return [
        Correction(answer.call_step, answer.call_place, answer.observation, step)
        for answer, step in corrected(trajectory.steps, answered(trajectory.steps))
    ]


def corrected(steps: Sequence[Step], given: Sequence[Answer]) -> Iterator[tuple[Answer, int]]:
    """Each failed call that a later step corrects, and that step; ``given`` are the answers in these steps."""
    failed = [answer for answer in given if is_error(steps[answer.observation])]
    if not failed:
        return
    failures = {answer.observation for answer in failed}
    successes: defaultdict[str, list[int]] = defaultdict(list)
    for answer in given:
        if answer.observation not in failures:
            successes[answer.call.name].append(answer.call_step)
    for found in successes.values():
        found.sort()  # named observations come in any order
    for answer in failed:
        later = successes[answer.call.name]
        place = bisect_right(later, answer.observation)
        if place < len(later):
            yield answer, later[place]
