"""Next-token loss over packed sequences: the decoder with isolated documents, then the head on the targets alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from training.attention import kept, packed_arguments
from training.linear_cross_entropy import linear_cross_entropy
from training.loader import NO_TARGET


class LossError(Exception):
    """The loss of this model would not be the model's own."""


class PackedLoss(nn.Module):
    """A causal language model whose forward gives losses, so that DDP or FSDP may wrap the whole.

    The model's attention is set before (:func:`training.attention.choose_attention`). Its decoder gets position ids
    that restart with each piece, *no* attention mask and *no* cache; anything else lets documents see each other.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self._decode = self._hidden
        self._fused_loss = False

    def compile_decoder(self) -> None:
        """Compile the decoder for one batch shape. The loss, whose number of targets varies, stays as it is, but for
        what a GPU does to its logits, which has one shape.
        """
        self._decode = torch.compile(self._hidden, dynamic=False)
        self._fused_loss = next(self.model.parameters()).is_cuda

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        labels: Tensor,
        cu_seqlens: Tensor,
        rows: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The summed loss in nats (float32 scalar, differentiable) and the sum of each sequence (sequences,) without a
        gradient.

        ``input_ids``, ``position_ids``, ``labels`` (sequences, tokens) int64, labels already shifted: the token that a
        position predicts or -100. ``cu_seqlens`` (sequences, pieces + 1) int32. ``rows``: where the flattened labels
        are not -100 (:func:`target_rows`); a GPU need not be waited for when the caller knows it.
        """
        rows = target_rows(labels) if rows is None else rows
        hidden = self._decode(input_ids, position_ids, packed_arguments(self.model, cu_seqlens))
        head = self.model.get_output_embeddings()
        total, nats = linear_cross_entropy(
            hidden.flatten(0, 1).index_select(0, rows),
            head.weight,
            labels.flatten().index_select(0, rows),
            getattr(head, "bias", None),
            compiled=self._fused_loss,
        )
        by_position = nats.new_zeros(labels.numel()).index_copy(0, rows, nats)
        return total, by_position.view(labels.shape).sum(1)

    def apply_to_model(self, function: Callable[[Any], Any]) -> Any:
        """What ``function`` makes of the language model, while sharded parameters are there as in a forward pass."""
        return function(self.model)

    def _hidden(self, input_ids: Tensor, position_ids: Tensor, packed: dict[str, Tensor]) -> Tensor:
        output = self.model.get_decoder()(
            input_ids=input_ids, position_ids=position_ids, attention_mask=None, use_cache=False, **packed
        )
        return output.last_hidden_state


def target_rows(labels: Tensor) -> Tensor:
    """Positions of the flattened ``labels`` that predict something, int64."""
    return (labels.flatten() != NO_TARGET).nonzero().squeeze(1)


@torch.no_grad()
def verify_loss(model: Any, device: torch.device) -> float:
    """Difference in nats per token between :class:`PackedLoss` and the cross entropy of the model's own logits.

    The model, of float32 and not yet distributed, stays as it is.

    Raises :class:`LossError` when the model's head does more than multiply by a matrix (scaled or capped logits), as
    training would silently be on another loss.
    """
    generator = torch.Generator().manual_seed(0)
    vocabulary, tokens = model.get_input_embeddings().num_embeddings, 32
    input_ids, labels = torch.randint(vocabulary, (2, 1, tokens), generator=generator).to(device)
    position_ids = torch.arange(tokens, device=device)[None]
    cu_seqlens = torch.tensor([[0, tokens]], dtype=torch.int32, device=device)
    with kept(model):
        model.eval()
        model.set_attn_implementation("eager")
        ours, _ = PackedLoss(model)(input_ids, position_ids, labels, cu_seqlens)
        logits = model(input_ids=input_ids, position_ids=position_ids, use_cache=False).logits
    own = nn.functional.cross_entropy(logits[0].float(), labels[0], reduction="sum")
    difference = float((ours - own).abs()) / tokens
    if not difference <= 1e-4:
        raise LossError(
            f"{type(model).__name__}: our loss is {difference:.1e} nats per token off that of the model's own logits; "
            "its head does more than multiply by a matrix (scaled or capped logits?), which training does not support"
        )
    return difference
