"""A task is measured once, whatever interrupts it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from forge.config import load_settings
from training.evaluation.evaluator import max_items_of, measure_task, prepare_tasks
from training.evaluation.records import ItemRecord
from training.evaluation.subject import Conversation, Subject
from training.evaluation.task import NotEvaluated, Task, sample
from training.run import Stopped


class Echo:
    """Answers with what it was asked."""

    prompt_hash = "p"
    device = "remote"

    def answers(self, conversations: Sequence[Conversation], *, max_new_tokens: int) -> Iterator[tuple[int, str]]:
        for place, conversation in reversed(list(enumerate(conversations))):
            yield place, str(conversation.messages[0]["content"])[:max_new_tokens]


def lengths(asked: list[str], key: str = "k", items: int = 6) -> Task:
    def measure(subject: Subject, ids: Sequence[str]) -> Iterator[ItemRecord]:
        conversations = [Conversation((), [{"role": "user", "content": item_id}]) for item_id in ids]
        for place, text in subject.answers(conversations, max_new_tokens=9):
            asked.append(ids[place])
            yield ItemRecord(ids[place], "length", {"characters": (float(len(text)), 1.0)}, text)

    return Task("lengths", key, [f"item_{number}" for number in range(items)], measure)


def test_records_are_in_the_order_of_the_items_and_measured_once(tmp_path: Path) -> None:
    asked, lines = [], []
    first = measure_task(lengths(asked), Echo(), "m", tmp_path, False, lines.append)
    assert list(first.measured.records) == [f"item_{number}" for number in range(6)]
    again = measure_task(lengths(asked), Echo(), "m", tmp_path, False, lines.append)
    assert again.measured == first.measured
    assert len(asked) == 6
    assert lines[-1] == "lengths: measured before"
    measure_task(lengths(asked, items=8), Echo(), "m", tmp_path, False, lines.append)
    assert sorted(asked[6:]) == ["item_6", "item_7"]  # more items of the same task: only they


@pytest.mark.parametrize(("key", "identity"), [("other", "m"), ("k", "other")])
def test_another_task_or_model_is_measured_anew(tmp_path: Path, key: str, identity: str) -> None:
    asked: list[str] = []
    measure_task(lengths(asked), Echo(), "m", tmp_path, False, lambda _: None)
    measure_task(lengths(asked, key), Echo(), identity, tmp_path, False, lambda _: None)
    assert len(asked) == 12


def test_a_stopped_evaluation_goes_on_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    whole = measure_task(lengths([]), Echo(), "m", tmp_path / "whole", False, lambda _: None)
    asked: list[str] = []

    class AfterTwo:
        def __bool__(self) -> bool:
            return len(asked) == 2

    with pytest.raises(Stopped, match="2 of 6"):
        measure_task(lengths(asked), Echo(), "m", tmp_path / "cut", AfterTwo(), lambda _: None)
    rest = measure_task(lengths(asked), Echo(), "m", tmp_path / "cut", False, lambda _: None)
    assert len(asked) == 6
    assert rest.measured == whole.measured


def test_a_task_that_loses_an_item_is_an_error(tmp_path: Path) -> None:
    def measure(_subject: Subject, ids: Sequence[str]) -> Iterator[ItemRecord]:
        yield ItemRecord(ids[0], "x", {})

    with pytest.raises(RuntimeError, match="no record of 1 items, the first is b"):
        measure_task(Task("t", "k", ["a", "b"], measure), Echo(), "m", tmp_path, False, lambda _: None)


def test_what_cannot_be_measured_is_named_with_its_reason(tmp_path: Path) -> None:
    settings = load_settings("demo", environment={})
    chosen = settings.evaluation.model_copy(update={"tasks": ["held_out_loss", "api_bank"], "folders": {}})
    settings = settings.model_copy(update={"home": str(tmp_path), "evaluation": chosen})
    prepared = prepare_tasks(settings, None, Echo())
    assert list(prepared) == ["held_out_loss", "api_bank"]
    assert all(isinstance(reason, NotEvaluated) and str(reason) for reason in prepared.values())


def test_items_are_all_but_on_a_cpu() -> None:
    settings = load_settings("local", environment={})
    chosen: Any = {"items": {"bfcl": 7}, "max_items_on_cpu": 50}
    settings = settings.model_copy(update={"evaluation": settings.evaluation.model_copy(update=chosen)})
    assert [max_items_of(settings, "bfcl", device) for device in ("cpu", "cuda")] == [7, 7]
    assert max_items_of(settings, "mmlu", "cpu") == 50
    assert max_items_of(settings, "mmlu", "cuda") > 10**6


def test_a_larger_sample_keeps_the_smaller_one_and_balances_categories() -> None:
    items = [(category, number) for category in ("simple", "multiple") for number in range(20)]

    def chosen(count: int, seed: int) -> list[tuple[str, int]]:
        return sample(
            items, count, seed, "x", item_id=lambda item: f"{item[0]}_{item[1]}", category=lambda item: item[0]
        )

    assert chosen(12, 3)[:6] == chosen(6, 3)
    assert sum(category == "multiple" for category, _ in chosen(6, 3)) == 3
    assert chosen(6, 3) != chosen(6, 4)
    assert len(chosen(100, 3)) == 40
