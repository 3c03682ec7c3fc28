from __future__ import annotations

from dataclasses import replace

from forge.schema import Outcome, Step, ToolCall, Trajectory
from forge.trajectories.recovery import corrections, recovers


def steps_of(trajectory: Trajectory) -> list[tuple[int, int, int]]:
    """Of each correction: the failed call, its observation, what corrects it."""
    return [(found.failed_step, found.observation, found.correcting_step) for found in corrections(trajectory)]


def episode(*steps: Step, outcome: Outcome = "unknown") -> Trajectory:
    return Trajectory("t", (), steps, outcome, None, "e", "MIT", "human", "s", "i")


def act(name: str = "f", call_id: str | None = None, **arguments: object) -> Step:
    return Step("assistant", calls=(ToolCall(name, arguments, call_id),))


BAD, GOOD = Step("tool", "Error: no such table"), Step("tool", "3 rows")


def test_a_later_success_of_the_same_tool_corrects() -> None:
    steps = (Step("user", "count"), act(table="x"), BAD, act(table="y"), GOOD)
    assert steps_of(episode(*steps)) == [(1, 2, 3)]
    assert recovers(episode(*steps))
    assert recovers(episode(*steps, outcome="failure")), "a failed episode may still teach this"


def test_failures_in_between_have_the_same_correction() -> None:
    assert steps_of(episode(act(n=1), BAD, act(n=2), BAD, act("g"), GOOD, act(n=3), GOOD, act(n=4), GOOD)) == [
        (0, 1, 6),
        (2, 3, 6),
    ]


def test_nothing_is_corrected_without_a_success_after_the_error() -> None:
    for steps in (
        (act(), GOOD),
        (act(), BAD),
        (act(), GOOD, act(), BAD),
        (act(), BAD, act("g"), GOOD),
        (act(), BAD, act()),
        (act(), BAD, act(), replace(GOOD, error="refused")),
    ):
        assert steps_of(episode(*steps)) == []
        assert not recovers(episode(*steps))


def test_a_call_made_before_the_error_was_seen_corrects_nothing() -> None:
    both = Step("assistant", calls=(ToolCall("f", {"n": 1}, "a"), ToolCall("f", {"n": 2}, "b")))
    seen = (Step("tool", "Error: no", answers="a"), Step("tool", "yes", answers="b"))
    assert steps_of(episode(both, *seen)) == []
    assert steps_of(episode(both, *seen, act("f", "c", n=3), replace(seen[1], answers="c"))) == [(0, 1, 3)]


def test_answers_out_of_order() -> None:
    both = Step("assistant", calls=(ToolCall("f", {}, "a"), ToolCall("g", {}, "b")))
    steps = (both, Step("tool", "Error: no", answers="b"), Step("tool", "yes", answers="a"))
    later = (act("f", "c"), Step("tool", "yes", answers="c"), act("g", "d"), Step("tool", "yes", answers="d"))
    assert steps_of(episode(*steps, *later)) == [(0, 1, 5)]


def test_a_success_at_the_end_recovers() -> None:
    steps = (act(), BAD, Step("assistant", "the table is y"))
    assert recovers(episode(*steps, outcome="success"))
    assert not recovers(episode(*steps, outcome="failure"))
    assert not recovers(episode(*steps[:2], outcome="success")), "nothing was done after the error"
    assert not recovers(episode(act(), GOOD, steps[2], outcome="success")), "nothing failed"


def test_an_observation_without_a_call_ends_what_is_known() -> None:
    assert steps_of(episode(act(), BAD, act(), GOOD, GOOD, act(), BAD, act(), GOOD)) == [(0, 1, 2)]
    assert steps_of(episode()) == []
