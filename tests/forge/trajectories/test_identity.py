from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forge.schema import Step, ToolCall, Trajectory
from forge.trajectories.identity import normalised_key


def episode(*steps: Step, task: str = "t") -> Trajectory:
    return Trajectory(task, (), steps, "unknown", None, "e", "MIT", "human", "s", "i")


def key(*steps: Step) -> str:
    return normalised_key(episode(*steps))


def act(call_id: str | None = None, **arguments: Any) -> Step:
    return Step("assistant", calls=(ToolCall("f", arguments, call_id),))


def test_spacing_case_and_where_it_was_found_do_not_count() -> None:
    one = episode(Step("user", "Book a  table\n"), act(n=1), Step("tool", "Done.\n"), task="Book a table")
    other = episode(Step("user", "book a table"), act(n=1), Step("tool", "done."), task="book  a table")
    assert normalised_key(one) == normalised_key(replace(other, source="x", outcome="success", episode="7"))
    assert normalised_key(one) != normalised_key(replace(one, task="Cancel it"))


def test_what_happened_counts() -> None:
    steps = (Step("user", "go"), act("a", n=1), Step("tool", "1", answers="a"))
    different = (
        (Step("user", "stop"), *steps[1:]),
        (steps[0], act("a", n=2), steps[2]),
        (steps[0], act("a", n="1"), steps[2]),
        (steps[0], replace(steps[1], calls=(ToolCall("g", {"n": 1}, "a"),)), steps[2]),
        (*steps[:2], Step("tool", "2", answers="a")),
        (*steps[:2], Step("tool", "1", answers="a", error="refused")),
        (*steps, Step("assistant", "done")),
        steps[:2],
        (*steps[:2], Step("user", "1")),
    )
    keys = {key(*steps), *(key(*other) for other in different)}
    assert len(keys) == 1 + len(different)


def test_which_call_an_observation_answers_counts_and_its_id_does_not() -> None:
    calls = Step("assistant", calls=(ToolCall("f", {"n": 1}, "a"), ToolCall("f", {"n": 1}, "b")))
    renamed = Step("assistant", calls=(ToolCall("f", {"n": 1}, "call_9"), ToolCall("f", {"n": 1}, "call_8")))
    unnamed = Step("assistant", calls=(ToolCall("f", {"n": 1}), ToolCall("f", {"n": 1})))
    in_order = key(calls, Step("tool", "1", answers="a"), Step("tool", "2", answers="b"))
    assert in_order == key(renamed, Step("tool", "1", answers="call_9"), Step("tool", "2", answers="call_8"))
    assert in_order == key(unnamed, Step("tool", "1"), Step("tool", "2"))
    assert in_order != key(calls, Step("tool", "1", answers="b"), Step("tool", "2", answers="a"))


ONE, OTHER = "3f2504e0-4f89-11d3-9a0c-0305e82c3301", "9b2c6f0a-0c1d-4e5f-8a9b-1c2d3e4f5a6b"


def test_times_and_identifiers_of_the_environment_do_not_count() -> None:
    def run(time: str, first: str, second: str, chosen: str) -> str:
        return key(
            Step("user", "delete the newest"),
            act(),
            Step("tool", f"[{time}] {first} {second}"),
            act(item=chosen, at=time),
            Step("tool", f"object at 0x7f{first[:6]}"),
            Step("assistant", f"deleted {chosen} at {time}"),
        )

    assert run("2024-05-15 15:00:01", ONE, OTHER, ONE) == run("2025-01-01T00:00:00.12Z", OTHER, ONE, OTHER)
    assert run("2024-05-15 15:00:01", ONE, OTHER, ONE) != run("2024-05-15 15:00:01", ONE, OTHER, OTHER), "another item"


@pytest.mark.parametrize(("one", "other"), [(ONE, OTHER), ("2024-05-15 15:00", "2024-05-16 15:00")])
def test_values_that_the_user_gives_count(one: str, other: str) -> None:
    assert key(Step("user", "book"), act(at=one), Step("tool", f"booked {one}")) != key(
        Step("user", "book"), act(at=other), Step("tool", f"booked {other}")
    )
    assert key(Step("user", one), act()) != key(Step("user", other), act())


def test_dates_and_plain_numbers_count() -> None:
    assert key(act(), Step("tool", "2024-05-15")) != key(act(), Step("tool", "2024-05-16"))
    assert key(act(), Step("tool", "price 17")) != key(act(), Step("tool", "price 18"))


words = st.text("abc XYZ.", min_size=1, max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | words, lambda inner: st.lists(inner, max_size=3), max_leaves=4
)
arguments = st.dictionaries(st.text("nm", min_size=1, max_size=2), values, max_size=2)
turns = st.lists(st.tuples(words, arguments, words), min_size=1, max_size=6)


def conversation(turns: Sequence[tuple[str, dict[str, Any], str]], ids: Sequence[str], gap: str) -> Trajectory:
    steps: list[Step] = []
    for (said, given_arguments, seen), name in zip(turns, ids, strict=True):
        calls = (ToolCall("f", given_arguments, name),)
        steps += [
            Step("assistant", gap + said.replace(" ", gap), calls=calls),
            Step("tool", seen.replace(" ", gap) + gap, answers=name),
        ]
    return episode(*steps)


@hypothesis_settings(max_examples=60, deadline=None)
@given(turns, st.data())
def test_renamed_calls_and_spacing_are_the_same_episode(turns: Any, data: st.DataObject) -> None:
    names = st.lists(st.text("abc_0123", min_size=1), min_size=len(turns), max_size=len(turns), unique=True)
    first = conversation(turns, data.draw(names), " ")
    second = conversation(turns, data.draw(names), data.draw(st.sampled_from([" ", "  ", "\n", "\t \r\n"])))
    assert normalised_key(first) == normalised_key(second)


@hypothesis_settings(max_examples=60, deadline=None)
@given(turns, st.data())
def test_another_argument_is_another_episode(turns: Any, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(turns) - 1))
    changed = data.draw(arguments)
    assume(repr(sorted(changed.items(), key=str)) != repr(sorted(turns[place][1].items(), key=str)))
    others = [*turns]
    others[place] = (turns[place][0], changed, turns[place][2])
    ids = [str(number) for number in range(len(turns))]
    assert normalised_key(conversation(turns, ids, " ")) != normalised_key(conversation(others, ids, " "))
