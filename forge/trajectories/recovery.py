"""Failures teach where a later step recovers: which call failed, what was observed, which step corrected it."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence

from forge.schema import Step, Trajectory
from forge.trajectories.observations import Answer, DanglingObservationError, answers, is_error


def recovers(trajectory: Trajectory) -> bool:
    """Whether a call fails and the episode recovers: by a later call of the same tool that succeeds, or, in an episode
    that ends in success, by anything that the assistant does later."""
    if trajectory.outcome != "success":
        return bool(corrections(trajectory))
    last_act = max((number for number, step in enumerate(trajectory.steps) if step.role == "assistant"), default=-1)
    return any(step.role == "tool" and is_error(step) for step in trajectory.steps[: last_act + 1])


def corrections(trajectory: Trajectory) -> list[tuple[int, int, int]]:
    """(step of the failed call, step of its observation, step of the correcting call), by observation.

    A call fails when its observation tells of an error (:func:`~forge.trajectories.observations.is_error`). The next
    call of the same tool whose observation tells of none corrects it, when it was made after the error was seen; calls
    that fail in between have the same correction.
    """
    answered = _answered(trajectory.steps)
    failed = [answer for answer in answered if is_error(trajectory.steps[answer.observation])]
    if not failed:
        return []
    failures = {answer.observation for answer in failed}
    successes: defaultdict[str, list[int]] = defaultdict(list)
    for answer in answered:
        if answer.observation not in failures:
            successes[answer.call.name].append(answer.call_step)
    for steps in successes.values():
        steps.sort()  # named observations come in any order
    found: list[tuple[int, int, int]] = []
    for answer in failed:
        later = successes[answer.call.name]
        place = bisect_right(later, answer.observation)
        if place < len(later):
            found.append((answer.call_step, answer.observation, later[place]))
    return found


def _answered(steps: Sequence[Step]) -> list[Answer]:
    """The observations up to the first that answers no call."""
    found: list[Answer] = []
    try:
        for answer in answers(steps):
            found.append(answer)  # noqa: PERF402  what came before the error counts
    except DanglingObservationError:
        pass
    return found
