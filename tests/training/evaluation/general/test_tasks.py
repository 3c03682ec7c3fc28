"""The tasks of general ability: which items, under which key, weighted how."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from forge.config import EvaluationTask, Settings, load_settings
from training.evaluation.general.olmo_files import olmo_files
from training.evaluation.subject import LocalSubject
from training.evaluation.task import NotEvaluated
from training.evaluation.tasks import task_of

NAMES: tuple[EvaluationTask, ...] = (
    "mmlu", "arc_easy", "arc_challenge", "hellaswag", "piqa", "winogrande", "boolq", "code_loss",
)  # fmt: skip


@pytest.fixture(scope="module")
def settings() -> Settings:
    found = load_settings("demo")
    try:
        olmo_files(found)
    except NotEvaluated as reason:
        pytest.skip(str(reason))
    return found


def test_a_larger_sample_keeps_the_items_and_another_seed_changes_the_key(settings: Settings) -> None:
    other = settings.model_copy(update={"evaluation": settings.evaluation.model_copy(update={"seed": 4})})
    for name in ("arc_challenge", "winogrande", "code_loss"):
        few, more = task_of(name, settings, None, 40), task_of(name, settings, None, 60)
        assert len(few.item_ids) == 40
        assert set(few.item_ids) < set(more.item_ids)
        assert len({few.key, more.key, task_of(name, other, None, 40).key}) == 3
        assert few.key == task_of(name, settings, None, 40).key
        assert few.needs_weights


def test_a_sample_of_mmlu_is_even_and_its_overall_scores_weigh_subjects_by_size(settings: Settings) -> None:
    task = task_of("mmlu", settings, None, 500)
    counts = Counter(item_id.partition("/")[0] for item_id in task.item_ids)
    assert len(counts) == 57
    assert set(counts.values()) == {8, 9}
    assert task.notes["items_in_all"] == 14_042
    scores = {score.name: score.weights for score in task.overall}
    assert set(scores) == {
        "mmlu by subject size", "mmlu stem", "mmlu humanities", "mmlu social sciences", "mmlu other",
    }  # fmt: skip
    assert all(sum(weights.values()) == pytest.approx(1) for weights in scores.values())
    assert scores["mmlu by subject size"]["anatomy"] == pytest.approx(135 / 14_042)


@pytest.mark.parametrize("name", NAMES)
def test_each_task_measures_real_items(settings: Settings, tiny_model: Path, name: EvaluationTask) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    configuration = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=8192,
    )  # fmt: skip
    subject = LocalSubject(LlamaForCausalLM(configuration).eval(), tokenizer)
    task = task_of(name, settings, None, 3)
    records = {record.item_id: record for record in task.measure(subject, task.item_ids)}
    assert sorted(records) == sorted(task.item_ids)
    last = task.item_ids[-1]
    assert list(task.measure(subject, [last])) == [records[last]]
    expected = {"nats_per_token", "bits_per_byte"} | (
        {"item_mean_nats_per_token"} if name == "code_loss" else {"accuracy"}
    )
    assert all(expected <= set(record.measures) for record in records.values())


class Endpoint:
    """Answers, but tells no probabilities."""

    device = "remote"
    prompt_hash = ""

    def answers(self, conversations, *, max_new_tokens):
        raise NotImplementedError


def test_an_endpoint_is_not_enough(settings: Settings) -> None:
    for name in ("boolq", "code_loss"):
        task = task_of(name, settings, None, 2)
        with pytest.raises(NotEvaluated, match="probabilities"):
            list(task.measure(Endpoint(), task.item_ids))
