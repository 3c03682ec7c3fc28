"""Next-token loss over packed sequences, one sum per sequence.

Documents are isolated by position ids that restart, *no* attention mask and *no* cache: transformers 5.23 then builds a
block-diagonal causal mask. An all-ones mask, or ``use_cache=True`` (its default), silently lets documents see each
other; tests compare packed and unpacked logits.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class PackedLoss(nn.Module):
    """A causal language model whose forward gives losses, so that DDP may wrap the whole."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, position_ids: Tensor, target: Tensor) -> Tensor:
        """Summed negative log-likelihood (nats, float32) of the target tokens of each sequence, shape (sequences,).

        ``input_ids``, ``position_ids`` (sequences, tokens) int64; ``target`` bool, marks predicted tokens. Logits are
        made for target tokens only.
        """
        hidden = self.model.get_decoder()(
            input_ids=input_ids, position_ids=position_ids, attention_mask=None, use_cache=False
        ).last_hidden_state
        chosen = target[:, 1:]
        logits = self.model.get_output_embeddings()(hidden[:, :-1][chosen])
        losses = nn.functional.cross_entropy(logits.float(), input_ids[:, 1:][chosen], reduction="none")
        sequence_of = chosen.nonzero()[:, 0]
        return torch.zeros(len(input_ids), device=losses.device).index_add(0, sequence_of, losses)
