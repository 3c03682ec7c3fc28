"""The log-likelihood of texts after their contexts, many items at a time where that pays.

On a CPU an item is computed by itself. On a GPU items are computed in batches that follow from the task's items alone:
whichever of them are asked for, after a kill or not, their batch is computed whole, so that a record is always the
same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Generic, TypeVar

from training.evaluation.general.encoding import encode_pairs, max_tokens_of
from training.evaluation.scoring import (
    Continuation,
    Prefix,
    ScoredText,
    read_prefix,
    shared_length,
    shares_contexts,
    token_nats,
    tree_nats,
)

BATCH_CHARACTERS = 100_000
"""Of a batch with its padding: some 25,000 tokens."""
MAX_BATCH_ITEMS = 64
MIN_PREFIX_TOKENS = 32
"""What fewer tokens cost is less than a forward pass of their own."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Texts:
    """Continuations of contexts, as (context, continuation). ``examples``: what all contexts begin with, and those of
    other items too."""

    pairs: tuple[tuple[str, str], ...]
    examples: str = ""

    @property
    def characters(self) -> int:
        """Roughly what has to be read beside the examples: the longest context once, each continuation."""
        context = max(len(context) for context, _ in self.pairs) - len(self.examples)
        return context + sum(len(continuation) for _, continuation in self.pairs)


@dataclass(frozen=True, slots=True)
class Scored(Generic[Item]):
    """``texts``: of each of the item's texts, of each continuation."""

    item: Item
    texts: tuple[tuple[ScoredText, ...], ...]


class Scorer:
    """Scores items with one model. ``shares`` False computes every context anew, as other programs do."""

    def __init__(self, model: Any, tokenizer: Any, *, shares: bool = True) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens_of(model, tokenizer)
        self.shares = shares and shares_contexts(model)
        self._prefix: Prefix | None = None

    def score(self, batch: Sequence[Texts]) -> list[tuple[ScoredText, ...]]:
        """All of one batch have the same examples."""
        pairs = [pair for texts in batch for pair in texts.pairs]
        # Nothing is predicted from the last token, so a text may have one more than the model can read.
        encoded = iter(text.last(self.max_tokens + 1) for text in encode_pairs(self.tokenizer, pairs))
        items = [[next(encoded) for _ in texts.pairs] for texts in batch]
        nats = self._nats(items, batch[0].examples)
        return [
            tuple(
                ScoredText(each, len(continuation.encode()))
                for each, (_, continuation) in zip(found, texts.pairs, strict=True)
            )
            for found, texts in zip(nats, batch, strict=True)
        ]

    def _nats(self, items: Sequence[Sequence[Continuation]], examples: str) -> list[list[tuple[float, ...]]]:
        if not self.shares:
            return [
                [token_nats(self.model, text.tokens[: text.start], text.tokens[text.start :]) for text in item]
                for item in items
            ]
        prefix = self._prefix_of(items, examples) if examples else None
        nats: list[list[tuple[float, ...]]] = tree_nats(self.model, items, prefix)  # torch's decorator has no types
        return nats

    def _prefix_of(self, items: Sequence[Sequence[Continuation]], examples: str) -> Prefix | None:
        """What the items' tokens have in common with the examples': the last of these may be another token where a
        question follows, and texts that are too long lose their beginning."""
        texts = [text for item in items for text in item]
        alone = self.tokenizer(examples)["input_ids"]
        count = min(shared_length([alone, *(text.tokens for text in texts)]), *(text.start - 1 for text in texts))
        if count < MIN_PREFIX_TOKENS:
            return None
        tokens = tuple(alone[:count])
        if self._prefix is None or self._prefix.tokens != tokens:
            self._prefix = read_prefix(self.model, tokens)
        return self._prefix


def score_items(
    scorer: Scorer,
    items: Sequence[Item],
    wanted: Collection[str],
    *,
    item_id: Callable[[Item], str],
    texts: Callable[[Item], tuple[Texts, ...]],
    batch_characters: int | None = None,
) -> Iterator[Scored[Item]]:
    """The wanted ones of a task's items, each with as many texts as the others. ``batch_characters``: 0 computes each
    item by itself, None decides by the device. Examples that items share are read once for all of them."""
    if batch_characters is None:
        batch_characters = 0 if scorer.model.device.type == "cpu" else BATCH_CHARACTERS
    for batch in _batches([(item, texts(item)) for item in items], batch_characters):
        if any(item_id(item) in wanted for item, _ in batch):
            scored = [scorer.score(alike) for alike in zip(*(each for _, each in batch), strict=True)]
            for (item, _), found in zip(batch, zip(*scored, strict=True), strict=True):
                if item_id(item) in wanted:
                    yield Scored(item, found)


def _batches(
    items: Sequence[tuple[Item, tuple[Texts, ...]]], characters: int
) -> Iterator[list[tuple[Item, tuple[Texts, ...]]]]:
    """Of items whose first texts have the same examples and about the same length."""

    def examples(pair: tuple[Item, tuple[Texts, ...]]) -> str:
        return pair[1][0].examples

    def length(pair: tuple[Item, tuple[Texts, ...]]) -> int:
        return pair[1][0].characters

    for _, group in groupby(sorted(items, key=examples), key=examples):
        batch: list[tuple[Item, tuple[Texts, ...]]] = []
        for pair in sorted(group, key=length, reverse=True):
            longest = length(batch[0] if batch else pair)
            if batch and ((len(batch) + 1) * longest > characters or len(batch) == MAX_BATCH_ITEMS):
                yield batch
                batch = []
            batch.append(pair)
        yield batch
