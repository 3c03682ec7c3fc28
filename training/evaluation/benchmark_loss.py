"""Benchmark loss: how surprised the model is by the right call.

For item i: prompt x_i is the chat rendering of :mod:`training.chat`, y_i the canonical gold call and what the template
ends a turn with. ``L = sum_i sum_t -log p(y_it | x_i, y_i,<t) / sum_i |y_i|`` in nats per token, token-weighted; bits
per byte is ``sum of nats / (ln 2 * bytes of y)``, which does not depend on the tokenizer. The definition is ours, not
the paper's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from training.chat import prompt_text, turn_end
from training.control_tokens import encode_rendered, set_aside
from training.evaluation.bfcl.data import BfclItem
from training.evaluation.scoring import ScoredText, token_nats


@dataclass(frozen=True, slots=True)
class ScoredItem:
    """``name_tokens``: how many of the first tokens spell the function's name up to the opening parenthesis."""

    item_id: str
    category: str
    gold: ScoredText
    name_tokens: int


def score_item(model: Any, tokenizer: Any, item: BfclItem) -> ScoredItem:
    prompt = prompt_text(tokenizer, item.tools, item.messages)
    end = turn_end(tokenizer).text
    written = set_aside(tokenizer, item.gold_call) + end
    encoded = encode_rendered(tokenizer, prompt + written, [len(prompt)])  # as a chat of training is encoded
    places = [start - len(prompt) for start, _ in encoded.offsets]
    context = sum(place < 0 for place in places)
    end_of_name = written.index("(")
    name_tokens = sum(0 <= place < end_of_name for place in places)
    nats = token_nats(model, encoded.ids[:context], encoded.ids[context:])
    return ScoredItem(item.item_id, item.category, ScoredText(nats, len((item.gold_call + end).encode())), name_tokens)


def score_items(model: Any, tokenizer: Any, items: Sequence[BfclItem]) -> list[ScoredItem]:
    return [score_item(model, tokenizer, item) for item in items]
