"""Options are scored and chosen; a record is the same however its item was computed."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from training.base_model import load_model, load_tokenizer
from training.evaluation.general import protocols
from training.evaluation.general.likelihood import Scorer, Texts
from training.evaluation.general.multiple_choice import measure, record_of
from training.evaluation.general.olmo_files import Blank, Question
from training.evaluation.general.protocols import Item, Option
from training.evaluation.records import ItemRecord
from training.evaluation.scoring import ScoredText
from training.evaluation.subject import LocalSubject

WORDS = ("create", "delete", "list", "get", "put", "user", "group", "bucket", "key", "value")


def said(start: int, count: int) -> str:
    return " ".join(WORDS[(start * 7 + number * (start % 3 + 1)) % len(WORDS)] for number in range(count))


@pytest.fixture(scope="module")
def subject(tiny_model: Path) -> LocalSubject:
    return LocalSubject(load_model(tiny_model).eval(), load_tokenizer(tiny_model))


@pytest.fixture(scope="module")
def items() -> list[Item]:
    """Of every form: letters after examples, texts of several lengths, contexts that differ."""
    found = []
    for subject_name in ("files", "users"):
        shots = [
            Question("", said(number, 6), tuple(said(number + other, 2) for other in range(4)), number % 4)
            for number in range(5)
        ]
        examples = protocols.mmlu_examples(subject_name, shots)
        found += [
            protocols.mmlu_item(
                Question(
                    f"{subject_name}/{number}", said(number, 4 + number), tuple(WORDS[:4]), number % 4, subject_name
                ),
                examples,
            )
            for number in range(3)
        ]
    for number in range(8):
        choices = tuple(said(number + other, 1 + other) for other in range(3 + number % 3))
        found.append(
            protocols.question_item("arc_easy", Question(f"arc/{number}", said(number, 5), choices, number % 3))
        )
    for number in range(4):
        sentence = f"{said(number, 3)} _ {said(number + 1, 4)}"
        found.append(protocols.winogrande_item(Blank(f"blank/{number}", sentence, ("user", "group list"), number % 2)))
    return found


def ids_of(items: list[Item]) -> list[str]:
    return [item.item_id for item in items]


def test_every_item_has_one_record_with_its_measures(subject: LocalSubject, items: list[Item]) -> None:
    records = list(measure(subject, items, ids_of(items)))
    assert sorted(record.item_id for record in records) == sorted(ids_of(items))
    by_id = {item.item_id: item for item in items}
    for record in records:
        item = by_id[record.item_id]
        names = {"accuracy", "nats_per_token", "bits_per_byte"} | ({"accuracy_norm"} if item.characters else set())
        assert set(record.measures) == names
        assert record.category == item.category
        bits, size = record.measures["bits_per_byte"]
        assert size == len(item.gold.continuation.encode())
        assert bits * math.log(2) == pytest.approx(record.measures["nats_per_token"][0])


def test_what_is_asked_beside_it_changes_no_bit_of_a_record(subject: LocalSubject, items: list[Item]) -> None:
    every = {record.item_id: record for record in measure(subject, items, ids_of(items))}
    some = ids_of(items)[2::3]
    assert list(measure(subject, items, some)) == [every[key] for key in every if key in some]
    for item in items[::5]:
        assert list(measure(subject, [item], [item.item_id])) == [every[item.item_id]]


def test_in_batches_what_is_asked_changes_no_bit_either(subject: LocalSubject, items: list[Item]) -> None:
    every = {record.item_id: record for record in measure(subject, items, ids_of(items), batch_characters=2_000)}
    for key in sorted(every)[::6]:
        assert list(measure(subject, items, [key], batch_characters=2_000)) == [every[key]]


@pytest.fixture(scope="module")
def plain(subject: LocalSubject, items: list[Item]) -> dict[str, ItemRecord]:
    """Every option of every item by a forward pass of its own."""
    return {record.item_id: record for record in measure(subject, items, ids_of(items), shares=False)}


@pytest.mark.parametrize("batch_characters", [0, 500, 100_000])
def test_batches_and_shared_contexts_give_the_decisions_of_items_alone(
    subject: LocalSubject, items: list[Item], plain: dict[str, ItemRecord], batch_characters: int
) -> None:
    shared = list(measure(subject, items, ids_of(items), batch_characters=batch_characters))
    assert len(shared) == len(plain)
    for record in shared:
        expected = plain[record.item_id]
        assert record.detail["chosen"] == expected.detail["chosen"]
        for found, other in zip(record.detail["log_likelihoods"], expected.detail["log_likelihoods"], strict=True):
            assert found == pytest.approx(other, abs=1e-4)
        assert record.measures["nats_per_token"] == pytest.approx(expected.measures["nats_per_token"], abs=1e-4)


def test_examples_are_read_once_a_subject(subject: LocalSubject, items: list[Item]) -> None:
    read: list[int] = []
    handle = subject.model.get_decoder().register_forward_pre_hook(
        lambda _module, _arguments, keywords: read.append(keywords["input_ids"].shape[1]), with_kwargs=True
    )
    letters = [item for item in items if item.examples]
    list(measure(subject, letters, ids_of(letters)))
    handle.remove()
    examples = {len(subject.tokenizer.encode(item.examples)) for item in letters}
    assert max(examples) > 60
    assert sum(count >= min(examples) - 2 for count in read) == 2


def test_texts_that_are_too_long_lose_their_beginning(subject: LocalSubject) -> None:
    limit = subject.model.config.max_position_embeddings
    context = said(1, 900)
    texts = Texts(((context, " user"), (context, " group list key")), examples=context[:300])
    [found] = Scorer(subject.model, subject.tokenizer).score([texts])
    [again] = Scorer(subject.model, subject.tokenizer, shares=False).score([texts])
    for one, other in zip(found, again, strict=True):
        assert one.nats == pytest.approx(other.nats, abs=1e-4)
    # the last `limit` tokens that are read are the same text without its first words
    ids = subject.tokenizer.encode(context + " user")
    assert len(ids) > limit + 1
    with torch.no_grad():
        logits = subject.model(torch.tensor([ids[-limit - 1 : -1]])).logits[0, -1]
    assert found[0].nats[-1] == pytest.approx(-float(logits.log_softmax(-1)[ids[-1]]), abs=1e-4)


def scored(nats: float, tokens: int = 2) -> ScoredText:
    return ScoredText((nats / tokens,) * tokens, 8)


def three(characters: tuple[int, ...], answer: int) -> Item:
    options = tuple(Option("?", f" {name}") for name in "abc")
    return Item("i", "c", options, answer, options[answer], characters)


def test_accuracy_is_of_the_sum_and_accuracy_norm_of_the_sum_by_characters() -> None:
    options = [scored(6.0), scored(8.0), scored(9.0)]
    record = record_of(three((2, 4, 9), 2), options, options[2])
    assert record.measures["accuracy"] == (0.0, 1.0)
    assert record.measures["accuracy_norm"] == (1.0, 1.0)
    assert record.problem == "another_option_is_likelier"
    assert record.measures["nats_per_token"] == (9.0, 2.0)
    assert record.measures["bits_per_byte"] == (pytest.approx(9.0 / math.log(2)), 8.0)


def test_the_first_of_equally_likely_options_is_chosen() -> None:
    options = [scored(7.0), scored(6.0), scored(6.0)]
    assert record_of(three((), 1), options, options[1]).measures["accuracy"] == (1.0, 1.0)
    assert record_of(three((), 2), options, options[2]).measures["accuracy"] == (0.0, 1.0)
