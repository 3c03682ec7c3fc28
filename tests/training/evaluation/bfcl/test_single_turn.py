"""The task over all 3,641 items, answered by subjects whose scores follow from the formulas."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from forge.config import load_settings
from training.chat import render_call
from training.evaluation.bfcl.data import AST_CATEGORIES, CATEGORIES
from training.evaluation.bfcl.single_turn import record_of, task
from training.evaluation.records import ItemRecord, RecordFile
from training.evaluation.statistics import figures_of
from training.evaluation.subject import Conversation
from training.evaluation.task import NotEvaluated

MULTI_TURN = tuple(f"multi_turn_{name}" for name in ("base", "miss_func", "miss_param", "long_context"))


@dataclass
class Answerer:
    """A subject that answers by a rule."""

    rule: Callable[[Conversation], str]
    prompt_hash: str = ""
    device: str = "cpu"
    asked: list[Conversation] = field(default_factory=list)

    def answers(self, conversations: Sequence[Conversation], *, max_new_tokens: int) -> Iterator[tuple[int, str]]:
        assert max_new_tokens == load_settings("demo").evaluation.generation_max_new_tokens
        self.asked += conversations
        for place in reversed(range(len(conversations))):
            yield place, self.rule(conversations[place])


@pytest.fixture(scope="module")
def whole_task(bfcl_artifact):
    assert bfcl_artifact
    return task(load_settings("demo"), None, 10_000)


def figures(records: Sequence[ItemRecord], whole_task) -> dict[tuple[str, str], float]:
    found = figures_of("bfcl", records, whole_task.overall, confidence=0.95, resamples=100, seed=3)
    return {(figure.category, figure.metric): figure.value for figure in found}


def test_an_empty_answerer_is_right_where_nothing_is_to_be_called(whole_task):
    records = list(whole_task.measure(Answerer(lambda _: ""), whole_task.item_ids))
    assert len(records) == len(whole_task.item_ids) == 3641
    found = figures(records, whole_task)
    for category in CATEGORIES:
        assert found[category, "accuracy"] == (1.0 if "irrelevance" in category else 0.0)
    assert found["all", "decodable"] == 0.0
    assert found["all", "accuracy"] == pytest.approx((240 + 884) / 3641)
    assert found["ast_v2_without_exec", "accuracy"] == pytest.approx(1 / 6)
    assert found["v3_without_exec_and_multi_turn", "accuracy"] == pytest.approx((884 / 2251 + 1 / 5) / 2)
    assert found["v4_without_agentic_and_multi_turn", "accuracy"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("text", ['[get_user(name="x")]', 'get_user(name="x")'])
def test_a_constant_call_is_right_where_any_call_is(whole_task, text):
    found = figures(list(whole_task.measure(Answerer(lambda _: text), whole_task.item_ids)), whole_task)
    for category in CATEGORIES:
        assert found[category, "accuracy"] == (1.0 if category == "live_relevance" else 0.0)
    assert found["all", "decodable"] == 1.0
    assert found["ast_v2_without_exec", "accuracy"] == pytest.approx(1 / 6)
    assert found["v3_without_exec_and_multi_turn", "accuracy"] == pytest.approx(16 / 2251 / 2)
    assert found["v4_without_agentic_and_multi_turn", "accuracy"] == 0.0


def test_a_random_answerer_gets_what_chance_gives_it(whole_task, items, checker):
    """Half of the time it calls one of the functions with the first names of things that it sees, else nothing."""
    chance = random.Random(20261121)

    def choices(tools: Sequence[Mapping[str, object]]) -> list[str]:
        return [
            render_call(str(tool["name"]), arguments) for tool in tools for arguments in ({}, {"location": "Paris"})
        ]

    def rule(conversation: Conversation) -> str:
        return chance.choice(choices(conversation.tools)) if conversation.tools and chance.random() < 0.5 else ""

    measured = figures(list(whole_task.measure(Answerer(rule), whole_task.item_ids)), whole_task)
    means, variances = defaultdict(float), defaultdict(float)
    counts = {category: sum(item.category == category for item in items) for category in CATEGORIES}
    for item in items:
        calls = choices(item.tools)
        right = sum(checker.check(item, call).right for call in calls) / len(calls) if calls else 0.0
        silent = checker.check(item, "").right
        share = 0.5 * right + 0.5 * silent if calls else float(silent)
        means[item.category] += share / counts[item.category]
        variances[item.category] += share * (1 - share) / counts[item.category] ** 2
    assert means["irrelevance"] == pytest.approx(0.5) == means["live_relevance"]
    assert max(means[category] for category in AST_CATEGORIES) < 0.1
    for category in CATEGORIES:
        assert abs(measured[category, "accuracy"] - means[category]) <= 4 * math.sqrt(variances[category])
    for score in whole_task.overall:
        if not set(score.weights) & set(MULTI_TURN):
            mean = sum(weight * means[category] for category, weight in score.weights.items())
            variance = sum(weight**2 * variances[category] for category, weight in score.weights.items())
            assert abs(measured[score.name, "accuracy"] - mean) <= 4 * math.sqrt(variance)


def test_gold_answers_get_everything_but_what_nobody_can(whole_task, items):
    by_id = {item.item_id: item for item in items}
    chosen = [by_id[item_id] for item_id in whole_task.item_ids]
    golds = [item.gold_call if item.ground_truth else "[f()]" for item in chosen]
    subject = Answerer(lambda _: golds.pop())  # it answers from the last to the first
    found = figures(list(whole_task.measure(subject, whole_task.item_ids)), whole_task)
    assert (
        found["simple_python", "accuracy"] == found["parallel", "accuracy"] == found["live_relevance", "accuracy"] == 1
    )
    assert found["live_simple", "accuracy"] == pytest.approx(256 / 258)
    assert found["live_multiple", "accuracy"] == pytest.approx(1050 / 1053)
    assert found["simple_java", "accuracy"] == pytest.approx(87 / 100)
    assert found["all", "decodable"] == 1.0


def test_a_record_does_not_depend_on_the_others_and_survives_a_kill(whole_task, tmp_path):
    def rule(conversation: Conversation) -> str:
        return f"[{conversation.tools[0]['name']}(a=1)]" if conversation.tools else ""

    ids = whole_task.item_ids[:40]
    together = {record.item_id: record for record in whole_task.measure(Answerer(rule), ids)}
    half = Answerer(rule)
    file = RecordFile(tmp_path / "bfcl.jsonl", "key")
    file.append(whole_task.measure(half, ids[:13]))
    again = RecordFile(tmp_path / "bfcl.jsonl", "key")
    again.append(whole_task.measure(half, [item_id for item_id in ids if item_id not in again.records]))
    assert again.records == together
    assert len(half.asked) == 40


def test_a_sample_is_even_over_categories_and_has_a_key_of_its_own(whole_task):
    small = task(load_settings("demo"), None, 26)
    assert len(small.item_ids) == 26
    counts = defaultdict(int)
    for record in small.measure(Answerer(lambda _: ""), small.item_ids):
        counts[record.category] += 1
    assert counts == dict.fromkeys(CATEGORIES, 2)
    assert small.key != whole_task.key
    settings = load_settings("demo")
    longer = settings.evaluation.model_copy(update={"generation_max_new_tokens": 7})
    assert task(settings.model_copy(update={"evaluation": longer}), None, 26).key != small.key


def test_what_is_no_unicode_does_not_end_an_evaluation(checker, items, tmp_path):
    record = record_of(checker, items[0], "[f(a='\ud800')]")
    assert record.answer == "[f(a='?')]"
    RecordFile(tmp_path / "bfcl.jsonl", "key").append([record])


def test_without_the_artifact_there_is_a_reason(tmp_path):
    with pytest.raises(NotEvaluated, match="not unpacked"):
        task(load_settings("demo").model_copy(update={"home": str(tmp_path)}), None, 10)
