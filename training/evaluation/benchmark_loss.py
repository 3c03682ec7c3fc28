"""Benchmark loss: how surprised the model is by the right call.

For item i: prompt x_i is the chat rendering of :mod:`training.chat`, y_i the canonical gold call and the end-of-turn
token. ``L = sum_i sum_t -log p(y_it | x_i, y_i,<t) / sum_i |y_i|`` in nats per token, token-weighted; bits per byte is
``sum of nats / (ln 2 * bytes of y)``, which does not depend on the tokenizer. The definition is ours, not the paper's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from training.chat import prompt_text
from training.evaluation.bfcl import BfclItem
from training.evaluation.scoring import ScoredText, token_nats


@dataclass(frozen=True, slots=True)
class ScoredItem:
    """``name_tokens``: how many of the first tokens spell the function's name up to the opening parenthesis."""

    item_id: str
    category: str
    gold: ScoredText
    name_tokens: int


def score_item(model: Any, tokenizer: Any, item: BfclItem) -> ScoredItem:
    context = tokenizer(prompt_text(tokenizer, item.tools, item.messages), add_special_tokens=False)["input_ids"]
    written = item.gold_call + (tokenizer.eos_token or "")
    encoded = tokenizer(written, add_special_tokens=False, return_offsets_mapping=True)
    end_of_name = written.index("(")
    name_tokens = sum(1 for start, _ in encoded["offset_mapping"] if start < end_of_name)
    nats = token_nats(model, context, encoded["input_ids"])
    return ScoredItem(item.item_id, item.category, ScoredText(nats, len(written.encode())), name_tokens)


def score_items(model: Any, tokenizer: Any, items: Sequence[BfclItem]) -> list[ScoredItem]:
    return [score_item(model, tokenizer, item) for item in items]
