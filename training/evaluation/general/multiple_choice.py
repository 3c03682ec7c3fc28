"""Multiple choice by log-likelihood: which of the options does the model find most likely after the question.

Measures: ``accuracy`` (by the sum of log-likelihoods), ``accuracy_norm`` where lm-eval has it (the sum divided by the
characters of the choice), and ``nats_per_token`` and ``bits_per_byte`` of the right answer, its leading space included.
The first of equally likely options counts as chosen, as lm-eval's argmax decides.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence

from training.evaluation.general.likelihood import Scorer, Texts, score_items
from training.evaluation.general.protocols import Item, Option
from training.evaluation.records import ItemRecord
from training.evaluation.scoring import ScoredText
from training.evaluation.subject import LocalSubject


def measure(
    subject: LocalSubject, items: Sequence[Item], wanted: Collection[str], *, shares: bool = True,
    batch_characters: int | None = None,
) -> Iterator[ItemRecord]:  # fmt: skip
    """Records of the wanted items of a task. ``shares`` and ``batch_characters``: see :mod:`.likelihood`."""
    scorer = Scorer(subject.model, subject.tokenizer, shares=shares)
    for scored in score_items(scorer, items, wanted, item_id=_item_id, texts=_texts, batch_characters=batch_characters):
        item, options = scored.item, scored.texts[0]
        gold = options[item.options.index(item.gold)] if item.gold in item.options else scored.texts[1][0]
        yield record_of(item, options, gold)


def record_of(item: Item, options: Sequence[ScoredText], gold: ScoredText) -> ItemRecord:
    likelihoods = [-option.total_nats for option in options]
    chosen = _likeliest(likelihoods)
    measures: dict[str, tuple[float, float]] = {"accuracy": (float(chosen == item.answer), 1.0)}
    if item.characters:
        by_length = [found / count for found, count in zip(likelihoods, item.characters, strict=True)]
        measures["accuracy_norm"] = (float(_likeliest(by_length) == item.answer), 1.0)
    measures["nats_per_token"] = (gold.total_nats, float(len(gold.nats)))
    measures["bits_per_byte"] = (gold.total_nats / math.log(2), float(gold.text_bytes))
    return ItemRecord(
        item.item_id, item.category, measures,
        problem="" if chosen == item.answer else "another_option_is_likelier",
        detail={"chosen": chosen, "right": item.answer, "log_likelihoods": likelihoods},
    )  # fmt: skip


def _likeliest(values: Sequence[float]) -> int:
    return values.index(max(values))


def _item_id(item: Item) -> str:
    return item.item_id


def _texts(item: Item) -> tuple[Texts, ...]:
    """The options, and the right answer by itself where it is none of them."""
    options = Texts(tuple(_pair(option) for option in item.options), item.examples)
    return (options,) if item.gold in item.options else (options, Texts((_pair(item.gold),)))


def _pair(option: Option) -> tuple[str, str]:
    return option.context, option.continuation
