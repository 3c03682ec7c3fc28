"""Negative log-likelihood of given tokens after a given context: the one measurement behind all loss metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


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
