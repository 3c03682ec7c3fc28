"""Negative log-likelihood of given tokens after a given context: the one measurement behind all loss metrics.

Several continuations of one context (the options of a question) share its computation: they are read as a tree, the
tokens that all begin with once, then each continuation's own (:func:`tree_nats`). A tree attention mask keeps the
branches apart. What many items begin with, such as examples, is read once and kept (:class:`Prefix`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

_ROWS_OF_LOGITS = 1024
"""A vocabulary of 150,000 makes 0.6 GB of them."""
_MAX_DIFFERENCE = {torch.float32: 1e-3, torch.float64: 1e-6}
_MAX_DIFFERENCE_IN_16_BIT = 0.25
_MAX_LEAK = 1e-6


@dataclass(frozen=True, slots=True)
class ScoredText:
    """``nats``: negative log-likelihood of each token of the text; ``text_bytes``: its UTF-8 length."""

    nats: tuple[float, ...]
    text_bytes: int

    @property
    def total_nats(self) -> float:
        return sum(self.nats)


@torch.no_grad()  # not inference mode: FSDP would keep its gathered parameters as tensors that cannot be trained
def token_nats(model: Any, context: Sequence[int], tokens: Sequence[int]) -> tuple[float, ...]:
    """-log p(token | context, tokens before it) in nats for each of ``tokens``. ``context`` must not be empty."""
    if not context:
        raise ValueError("the first token needs a context")
    input_ids = torch.tensor([[*context, *tokens]], device=model.device)
    hidden = model.get_decoder()(input_ids=input_ids, use_cache=False).last_hidden_state
    logits = model.get_output_embeddings()(hidden[0, len(context) - 1 : -1]).float()
    losses = nn.functional.cross_entropy(logits, input_ids[0, len(context) :], reduction="none")
    return tuple(losses.tolist())


@dataclass(frozen=True, slots=True)
class Continuation:
    """``tokens`` with their context before them; those from ``start`` (at least 1) on are scored."""

    tokens: tuple[int, ...]
    start: int

    def __post_init__(self) -> None:
        if not 0 < self.start < len(self.tokens):
            raise ValueError("a context and something to score are needed")

    def last(self, count: int) -> Continuation:
        """The last ``count`` tokens of it; scored is what is left of what was."""
        dropped = max(0, len(self.tokens) - count)
        return Continuation(self.tokens[dropped:], max(1, self.start - dropped))


@dataclass(frozen=True)
class Prefix:
    """Tokens that items begin with, and the keys and values of each layer for them, (1, heads, tokens, width)."""

    tokens: tuple[int, ...]
    layers: tuple[tuple[Tensor, Tensor], ...]


@torch.no_grad()
def read_prefix(model: Any, tokens: Sequence[int]) -> Prefix:
    from transformers import DynamicCache

    cache = DynamicCache()
    model.get_decoder()(input_ids=torch.tensor([list(tokens)], device=model.device), past_key_values=cache)
    return Prefix(tuple(tokens), tuple((layer.keys, layer.values) for layer in cache.layers))


def shared_length(texts: Sequence[Sequence[object]]) -> int:
    """How many tokens (or characters) all of the texts begin with."""
    shortest = min(texts, key=len)
    for place, token in enumerate(shortest):
        if any(text[place] != token for text in texts):
            return place
    return len(shortest)


@dataclass(frozen=True)
class _Tree:
    """What the model reads of one item after the prefix: the trunk, then each branch.

    ``branch``: 0 in the trunk, else 1 and up; ``position``: place in its own text; ``predictors``: for each
    continuation the place in ``tokens`` of what each scored token is predicted from.
    """

    tokens: tuple[int, ...]
    branch: tuple[int, ...]
    position: tuple[int, ...]
    predictors: tuple[tuple[int, ...], ...]
    targets: tuple[tuple[int, ...], ...]


def _tree(item: Sequence[Continuation], prefix_tokens: int) -> _Tree:
    read = [continuation.tokens[:-1] for continuation in item]  # the last token predicts nothing
    trunk = shared_length(read)
    tokens, branch = list(read[0][prefix_tokens:trunk]), [0] * (trunk - prefix_tokens)
    position = list(range(prefix_tokens, trunk))
    predictors = []
    for number, (continuation, text) in enumerate(zip(item, read, strict=True), start=1):
        offset = len(tokens) - trunk
        tokens += text[trunk:]
        branch += [number] * (len(text) - trunk)
        position += range(trunk, len(text))
        places = range(continuation.start - 1, len(text))
        predictors.append(tuple(place - prefix_tokens if place < trunk else place + offset for place in places))
    targets = tuple(continuation.tokens[continuation.start :] for continuation in item)
    return _Tree(tuple(tokens), tuple(branch), tuple(position), tuple(predictors), targets)


@torch.no_grad()
def tree_nats(
    model: Any, items: Sequence[Sequence[Continuation]], prefix: Prefix | None = None
) -> list[list[tuple[float, ...]]]:
    """-log p in nats of each scored token of each continuation of each item, all items in one forward pass.

    Every continuation must begin with the prefix and be longer than it before its first scored token. The result of an
    item depends on the others by rounding only; alone it is always the same.
    """
    prefix_tokens = len(prefix.tokens) if prefix else 0
    if any(continuation.start <= prefix_tokens for item in items for continuation in item):
        raise ValueError("the prefix leaves nothing to predict the first token from")
    trees = [_tree(item, prefix_tokens) for item in items]
    hidden = _hidden(model, trees, prefix)
    # Each place once: the options of a question are all predicted from its end.
    rows: dict[tuple[int, int], int] = {}
    wanted: list[int] = []
    targets: list[int] = []
    for number, tree in enumerate(trees):
        for places, tokens in zip(tree.predictors, tree.targets, strict=True):
            wanted += [rows.setdefault((number, place), len(rows)) for place in places]
            targets += tokens
    place_of_row = torch.tensor(list(rows), device=hidden.device)
    logs = _log_likelihoods(
        model, hidden[place_of_row[:, 0], place_of_row[:, 1]], torch.tensor(wanted), torch.tensor(targets)
    )
    nats = iter((-logs).tolist())
    return [[tuple(next(nats) for _ in tokens) for tokens in tree.targets] for tree in trees]


def _hidden(model: Any, trees: Sequence[_Tree], prefix: Prefix | None) -> Tensor:
    """(items, longest tree, width); padding stands behind and is seen by nothing but padding."""
    from transformers import DynamicCache

    width = max(len(tree.tokens) for tree in trees)
    device = model.device

    def padded(rows: Sequence[Sequence[int]], filler: int) -> Tensor:
        return torch.tensor([[*row, *[filler] * (width - len(row))] for row in rows], device=device)

    branch = padded([tree.branch for tree in trees], -1)
    seen = (branch[:, None, :] == 0) | (branch[:, None, :] == branch[:, :, None])
    seen &= torch.ones(width, width, dtype=torch.bool, device=device).tril()
    cache = None
    if prefix is not None:
        seen = torch.cat([seen.new_ones(len(trees), width, len(prefix.tokens)), seen], dim=-1)
        layers = [[part.expand(len(trees), -1, -1, -1) for part in layer] for layer in prefix.layers]
        cache = DynamicCache(layers)
    hidden: Tensor = model.get_decoder()(
        input_ids=padded([tree.tokens for tree in trees], 0),
        position_ids=padded([tree.position for tree in trees], 0),
        attention_mask=seen[:, None],
        past_key_values=cache,
        use_cache=cache is not None,
    ).last_hidden_state
    return hidden


def _log_likelihoods(model: Any, hidden: Tensor, rows: Tensor, targets: Tensor) -> Tensor:
    """log p of each target, float32 on the CPU. It is predicted from row ``rows`` of ``hidden`` (rows, width)."""
    logs = torch.empty(len(rows))
    for first in range(0, len(hidden), _ROWS_OF_LOGITS):
        logits = model.get_output_embeddings()(hidden[first : first + _ROWS_OF_LOGITS]).float()
        here = (rows >= first) & (rows < first + _ROWS_OF_LOGITS)
        picked = logits.log_softmax(-1)[(rows[here] - first).to(logits.device), targets[here].to(logits.device)]
        logs[here] = picked.cpu()
    return logs


@torch.no_grad()
def shares_contexts(model: Any) -> bool:
    """Whether the model reads trees as it reads texts: not every architecture honours a tree mask and positions.

    Scores made-up tokens as a tree behind a prefix and as texts; and again with another branch beside them, which must
    not change them.
    """
    vocabulary = model.get_input_embeddings().num_embeddings
    random = torch.Generator().manual_seed(0)
    drawn = torch.randint(vocabulary, (6, 8), generator=random).tolist()
    start, *ends = (tuple(row) for row in drawn)
    continuations = [Continuation(start + end, len(start) - number) for number, end in enumerate(ends)]
    try:
        prefix = read_prefix(model, start[:3])
        found = tree_nats(model, [continuations[:3]], prefix)[0]
        beside = tree_nats(model, [[continuations[3], *continuations[1:3]]], prefix)[0]
    except (ArithmeticError, AttributeError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return False
    alone = [token_nats(model, each.tokens[: each.start], each.tokens[each.start :]) for each in continuations[:3]]
    difference = torch.tensor(sum(found, ())) - torch.tensor(sum(alone, ()))
    leak = torch.tensor(sum(found[1:], ())) - torch.tensor(sum(beside[1:], ()))
    is_16_bit = model.dtype.itemsize == 2 or torch.is_autocast_enabled(model.device.type)
    allowed = _MAX_DIFFERENCE_IN_16_BIT if is_16_bit else _MAX_DIFFERENCE[model.dtype]
    return float(difference.abs().median()) <= allowed and float(leak.abs().max()) <= _MAX_LEAK
