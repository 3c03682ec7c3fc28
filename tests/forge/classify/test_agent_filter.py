from __future__ import annotations

import random
from pathlib import Path

import pytest

from forge.classify.agent_filter import (
    AGENT,
    OTHER,
    PASSAGE_WORDS,
    AgentFilter,
    Example,
    distribution,
    is_validation,
    judge,
    model_hash,
    newest_model,
    passages,
    save,
    train,
)  # fmt: skip
from forge.config import ClassifierSettings

SETTINGS = ClassifierSettings(dimension=8, buckets=1000, epochs=10)
AGENT_WORDS = [
    "call",
    "returns",
    "parameter",
    "string",
    "request",
    "response",
    "method",
    "operation",
    "argument",
    "endpoint",
    "value",
]
OTHER_WORDS = [
    "river",
    "mountain",
    "king",
    "war",
    "century",
    "village",
    "music",
    "born",
    "castle",
    "church",
    "season",
    "family",
]


def examples(count: int, seed: int = 1) -> list[Example]:
    draw = random.Random(seed)
    made = []
    for number in range(count):
        label, words = ((AGENT, AGENT_WORDS), (OTHER, OTHER_WORDS))[number % 2]
        text = " ".join(draw.choices([*words, "the", "of", "and"], k=60))
        made.append(Example(text, label, f"group {number}", "source", "train"))
    return made


def test_it_learns_and_equal_examples_give_an_equal_model(tmp_path: Path) -> None:
    data = train(examples(100), SETTINGS)
    assert model_hash(train(examples(100), SETTINGS)) == model_hash(data)
    path = save(data, tmp_path / "models", "filter")
    assert save(data, tmp_path / "models", "filter") == path
    assert [file.name for file in (tmp_path / "models").iterdir()] == [path.name]
    scores = judge(AgentFilter(path), examples(60, seed=2), 0.5)
    assert (scores.documents, scores.positives) == (60, 30)
    assert scores.precision >= 0.95
    assert scores.recall >= 0.95
    one, two, nothing = AgentFilter(path).scores(["request parameter value " * 20, "the king of the castle " * 20, ""])
    assert one > two >= 0.0
    assert nothing == 0.0


def test_an_empty_class_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing to learn"):
        train([example for example in examples(10) if example.label == AGENT], SETTINGS)


def test_passages_are_words_of_bounded_number() -> None:
    assert passages("CreateUser(user_name)!") == ["create user user name"]
    assert passages("") == [""]
    many = passages("word " * PASSAGE_WORDS * 100)
    assert len(many) == 8
    assert all(len(passage.split()) == PASSAGE_WORDS for passage in many)


def test_validation_goes_by_group() -> None:
    chosen = [is_validation(example) for example in examples(2000)]
    assert 0.07 < sum(chosen) / len(chosen) < 0.13
    assert is_validation(Example("t", AGENT, "g", "s", "held_out"))


def test_the_pinned_model_else_the_newest() -> None:
    rows = [
        {"name": "f", "model_hash": "1", "partition_key": "2026-01-01", "created_at": "a"},
        {"name": "f", "model_hash": "2", "partition_key": "2026-01-02", "created_at": "a"},
        {"name": "g", "model_hash": "3", "partition_key": "2026-01-03", "created_at": "a"},
    ]
    assert newest_model(rows, "f", None) == rows[1]
    assert newest_model(rows, "f", "1") == rows[0]
    assert newest_model(rows, "f", "9") is None


def test_distribution() -> None:
    assert distribution([0.0, 1.0, 1.0, 1.0])["above_half"] == 0.75
