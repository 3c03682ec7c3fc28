from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from forge.schema import Step, ToolCall
from forge.trajectories.formats.written_calls import with_written_calls

CALL = ToolCall("f", {})
TEXTS = st.sampled_from([None, "", "0", "1", "2"])
STEPS = st.lists(
    st.builds(Step, st.sampled_from(["system", "user", "assistant", "tool"]), TEXTS)
    | st.builds(Step, st.just("assistant"), TEXTS, calls=st.just((CALL,))),
    max_size=12,
)


def counted(step: Step, said: str) -> Step:
    """A text is the number of calls in it."""
    return replace(step, calls=(CALL,) * int(said))


def test_as_many_turns_answer_as_calls_were_made() -> None:
    steps = [Step("user", "2"), Step("assistant", "2"), *[Step("user", "dry")] * 3, Step("assistant", "1")]
    assert with_written_calls(steps, counted) == [
        Step("user", "2"),
        Step("assistant", "2", calls=(CALL, CALL)),
        *[Step("tool", "dry")] * 2,
        Step("user", "dry"),
        Step("assistant", "1", calls=(CALL,)),
    ]


def test_only_the_turns_right_after_a_call_answer_it() -> None:
    for between in (
        Step("system", "1"),
        Step("assistant", "0"),
        Step("assistant", "1", calls=(CALL,)),
        Step("tool", "1"),
    ):
        steps = [Step("assistant", "2"), between, Step("user", "dry")]
        assert with_written_calls(steps, counted)[1:] == [between, Step("user", "dry")]


@given(STEPS)
def test_steps_stay_in_their_order_with_their_texts(steps: list[Step]) -> None:
    found = with_written_calls(steps, counted)
    assert [step.content or "" for step in found] == [step.content or "" for step in steps]
    assert all(
        (after.role == before.role or (before.role, after.role) == ("user", "tool"))
        and after.calls[: len(before.calls)] == before.calls
        for before, after in zip(steps, found, strict=True)
    )
