"""The loop over an environment that is written out here: a countdown that the model has to bring to zero."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from training.base_model import load_model, load_tokenizer
from training.evaluation.interactive.episode import (
    CONTEXT_FULL,
    ENVIRONMENT_LOST,
    MAX_MESSAGE_CHARACTERS,
    NOT_SOLVED,
    TURN_LIMIT,
    EnvironmentLost,
    EpisodeItem,
    Limits,
    Turn,
    Verdict,
    play,
)
from training.evaluation.subject import Conversation, LocalSubject
from training.evaluation.task import NotEvaluated

ITEMS = [EpisodeItem(f"from/{start}", "even" if start % 2 == 0 else "odd") for start in range(1, 10)]
LIMITS = Limits(max_turns=6, max_new_tokens=8, episodes=4)


@dataclass
class Countdown:
    left: int
    observation: str = "went down"
    lose: Callable[[], bool] = lambda: False
    opened: list[bool] = field(default_factory=list)
    has_score: bool = True

    def opening(self) -> Conversation:
        self._work()
        self.opened.append(True)
        return Conversation((), ({"role": "user", "content": f"count down from {self.left}"},))

    def take(self, answer: str) -> Turn:
        self._work()
        if answer == "stop":
            return Turn((), 0, True)
        self.left -= 1
        return Turn(({"role": "tool", "content": self.observation},), 1, self.left == 0)

    def verdict(self) -> Verdict:
        self._work()
        return Verdict(self.left == 0, score=100.0 if self.left == 0 else 0.0)

    def close(self) -> None:
        self.opened.append(False)

    def _work(self) -> None:
        if self.lose():
            raise EnvironmentLost("somebody killed it")


def countdown_of(item: EpisodeItem) -> Countdown:
    return Countdown(int(item.item_id.partition("/")[2]))


def test_episodes_advance_together_and_end_where_they_must(scripted):
    subject = scripted(lambda _, said: "down")
    records = {record.item_id: record for record in play(ITEMS, countdown_of, subject, LIMITS)}
    assert set(records) == {item.item_id for item in ITEMS}
    for start in range(1, 10):
        record = records[f"from/{start}"]
        solved = start <= LIMITS.max_turns
        assert record.measures == {
            "success": (float(solved), 1.0),
            "steps": (float(min(start, 6)), 1.0),
            "score": (100.0 * solved, 1.0),
        }
        assert record.problem == ("" if solved else TURN_LIMIT)
        assert record.category == ("even" if start % 2 == 0 else "odd")
        assert record.detail["turns"] == min(start, 6)
    assert max(subject.asked) == LIMITS.episodes
    assert len(subject.asked) < sum(subject.asked) / 2


def test_records_do_not_depend_on_how_many_are_played_at_a_time(scripted):
    def records(items, episodes):
        subject = scripted(
            lambda conversation, said: "stop" if "from 5" in conversation.messages[0]["content"] else "down"
        )
        found = play(items, countdown_of, subject, Limits(6, 8, episodes))
        return {record.item_id: record for record in found}

    expected = records(ITEMS, 4)
    assert expected["from/5"].problem == NOT_SOLVED
    assert records(ITEMS, 1) == records(ITEMS[::-1], 100) == expected
    assert records(ITEMS[3:5], 2) == {item.item_id: expected[item.item_id] for item in ITEMS[3:5]}


def test_a_lost_environment_is_tried_anew_and_leaves_no_trace(scripted):
    subject = scripted(lambda _, said: "down")
    (expected,) = play(ITEMS[3:4], countdown_of, subject, LIMITS)
    for lost_at in range(6):  # opening, four answers, verdict
        works = iter([False] * lost_at + [True] + [False] * 20)
        made = []

        def environment_of(item, works=works, made=made):
            made.append(Countdown(4, lose=lambda: next(works)))
            return made[-1]

        (record,) = play(ITEMS[3:4], environment_of, subject, LIMITS)
        assert record == expected
        assert len(made) == 2
        assert all(environment.opened[-1] is False for environment in made)


def test_an_environment_that_is_lost_again_is_a_failure_with_the_reason(scripted):
    def environment_of(item):
        turns = iter([False, False] + [True] * 20)
        return Countdown(4, lose=lambda: next(turns))

    (record,) = play(ITEMS[3:4], environment_of, scripted(lambda _, said: "down"), LIMITS)
    assert record.problem == f"{ENVIRONMENT_LOST}: somebody killed it"
    assert record.measures == {"success": (0.0, 1.0), "steps": (1.0, 1.0), "score": (0.0, 1.0)}


def test_an_environment_that_does_not_start_says_nothing_of_the_model(scripted):
    with pytest.raises(NotEvaluated, match="does not start: somebody killed it"):
        list(play(ITEMS, lambda item: Countdown(4, lose=lambda: True), scripted(lambda _, said: "down"), LIMITS))


def test_environments_are_closed_when_nobody_reads_on(scripted):
    made = []

    def environment_of(item):
        made.append(countdown_of(item))
        return made[-1]

    records = play(ITEMS, environment_of, scripted(lambda _, said: "down"), LIMITS)
    next(records)
    records.close()
    assert made
    assert all(environment.opened[-1] is False for environment in made)


def test_observations_are_cut_and_can_be_encoded(scripted):
    seen = []

    def script(conversation, said):
        seen.append(conversation.messages[-1]["content"])
        return "\ud800 down"

    flood = "x\ud800" * 100_000
    (record,) = play(ITEMS[1:2], lambda item: Countdown(2, flood), scripted(script), LIMITS)
    assert seen[1].startswith("x?x?")
    assert len(seen[1]) < MAX_MESSAGE_CHARACTERS + 100
    assert seen[1].endswith("characters left out]")
    assert record.answer == "? down"


def test_a_conversation_that_leaves_no_room_for_an_answer_ends(tiny_model):
    """The tiny model has room for 512 tokens; it is not asked once they are full."""
    subject = LocalSubject(load_model(tiny_model), load_tokenizer(tiny_model), batch_items=2)
    long = Countdown(1000, "create delete list get put " * 10)
    (record,) = play([EpisodeItem("long", "c")], lambda item: long, subject, Limits(1000, 8, 1))
    assert record.problem == CONTEXT_FULL
    assert 1 <= record.detail["turns"] < 20
    huge = Countdown(3, "x")
    huge.opening = lambda: Conversation((), ({"role": "user", "content": "create delete " * 400},))
    (record,) = play([EpisodeItem("huge", "c")], lambda item: huge, subject, Limits(1000, 8, 1))
    assert (record.problem, record.detail["turns"]) == (CONTEXT_FULL, 0)
