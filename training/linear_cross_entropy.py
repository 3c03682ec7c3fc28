"""Sum of cross entropies of ``hidden @ weight.T + bias`` without ever holding all logits.

Rows go through in chunks, and each chunk's gradients are computed in the forward pass, while its logits are there, as
Liger's fused linear cross entropy does (arXiv 2410.10989, section 3.2). Memory is one chunk and the gradients; the work
is three matrix products, as many as without chunks.

SmolLM2-135M's head (2,048 rows, width 576, vocabulary 49,152), forward and backward in float32 on one core, with the
peak above the start: all logits at once 3.10 s, 1,178 MB; here 2.89 s, 332 MB; ``F.linear_cross_entropy`` of torch 2.13
6.6 s, 275 MB. In bfloat16 on a CPU that emulates it: 6.6 s all at once; hence float32 products there.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from training.precision import product_type

_CHUNK_BYTES = {"cpu": 96 << 20, "cuda": 1 << 30}  # of float32 logits; a GPU needs rows enough to fill it


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    bias: Tensor | None = None,
    *,
    chunk_rows: int | None = None,
    compiled: bool = False,
) -> tuple[Tensor, Tensor]:
    """The sum of -log softmax(hidden @ weight.T + bias)[target] over rows (scalar, float32, differentiable), and its
    summands (rows,) without a gradient, in nats.

    ``hidden`` (rows, width), ``weight`` (vocabulary, width), ``targets`` (rows,) int64, each a token. Products are in
    autocast's type where that is on and the device has it, everything else in float32 or better. ``compiled`` fuses
    what is done to the logits between the products (chunks of one shape, so nothing is ever compiled twice). Can be
    differentiated once.
    """
    if isinstance(weight, DTensor):
        raise TypeError("linear_cross_entropy needs the whole weight of the head, not a shard of it")
    rows = chunk_rows or max(1, _CHUNK_BYTES.get(hidden.device.type, 1 << 30) // (4 * len(weight)))
    if not compiled:  # as few chunks of one size: no small rest
        rows = max(1, -(-len(hidden) // max(1, -(-len(hidden) // rows))))
    device = hidden.device.type
    dtype = product_type(
        device, torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    )
    backward = torch.is_grad_enabled()  # a Function's own forward pass cannot tell
    with torch.autocast(device, enabled=False):
        total, nats = _LinearCrossEntropy.apply(hidden, weight, bias, targets, dtype, rows, compiled, backward)
    return total, nats


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        dtype: torch.dtype,
        chunk_rows: int,
        compiled: bool,
        backward: bool,
    ) -> tuple[Tensor, Tensor]:
        for_hidden, for_weight, for_bias = (backward and needed for needed in context.needs_input_grad[:3])
        precise = torch.promote_types(dtype, torch.float32)
        used_weight, used_hidden = weight.to(dtype), hidden.to(dtype)
        of_hidden = torch.empty_like(hidden) if for_hidden else None
        of_weight = torch.zeros_like(weight, dtype=precise) if for_weight else None
        of_bias = torch.zeros_like(bias, dtype=precise) if bias is not None and for_bias else None
        nats = hidden.new_empty(len(hidden), dtype=precise)
        logits = hidden.new_zeros(chunk_rows, len(weight), dtype=dtype)
        chunk_targets = targets.new_zeros(chunk_rows)
        to_gradient = _compiled_softmax_gradient() if compiled else _softmax_gradient
        for start in range(0, len(hidden), chunk_rows):
            chunk = slice(start, min(start + chunk_rows, len(hidden)))
            rows = chunk.stop - start
            torch.mm(used_hidden[chunk], used_weight.T, out=logits[:rows])
            if bias is not None:
                logits[:rows] += bias.to(dtype)
            chunk_targets[:rows] = targets[chunk]
            # Compiled, rows that an earlier chunk left behind go through as well, and are dropped here
            used = chunk_rows if compiled else rows
            chunk_nats, gradient = to_gradient(logits[:used], chunk_targets[:used], precise)
            nats[chunk], gradient = chunk_nats[:rows], gradient[:rows]
            if of_bias is not None:
                of_bias += gradient.sum(0, dtype=precise)
            if of_hidden is not None:
                of_hidden[chunk] = gradient @ used_weight
            if of_weight is not None and precise == dtype:
                of_weight.addmm_(gradient.T, used_hidden[chunk])
            elif of_weight is not None:
                of_weight += gradient.T @ used_hidden[chunk]
        context.save_for_backward(of_hidden, of_weight, of_bias)
        context.types = (weight.dtype, None if bias is None else bias.dtype)
        context.mark_non_differentiable(nats)
        return nats.sum(), nats

    @staticmethod
    def backward(context: Any, gradient: Tensor, _: Tensor) -> tuple[Any, ...]:
        of_hidden, of_weight, of_bias = context.saved_tensors
        return (
            None if of_hidden is None else of_hidden.mul_(gradient),
            None if of_weight is None else of_weight.mul_(gradient).to(context.types[0]),
            None if of_bias is None else of_bias.mul_(gradient).to(context.types[1]),
            *[None] * 5,
        )


def _softmax_gradient(logits: Tensor, targets: Tensor, precise: torch.dtype) -> tuple[Tensor, Tensor]:
    """-log softmax(logits)[target] by row in ``precise``, and its gradient by the logits in their type."""
    logs = torch.log_softmax(logits, 1, dtype=precise)
    nats = -logs.gather(1, targets[:, None])
    gradient = logs.exp_().scatter_add_(1, targets[:, None], torch.full_like(nats, -1.0))
    return nats.squeeze(1), gradient.to(logits.dtype)


def _fusible_softmax_gradient(logits: Tensor, targets: Tensor, precise: torch.dtype) -> tuple[Tensor, Tensor]:
    logs = torch.log_softmax(logits, 1, dtype=precise)
    hit = torch.arange(logits.shape[1], device=logits.device) == targets[:, None]
    nats = -logs.gather(1, targets[:, None]).squeeze(1)
    return nats, (logs.exp() - hit.to(precise)).to(logits.dtype)


@cache
def _compiled_softmax_gradient() -> Any:
    return torch.compile(_fusible_softmax_gradient, dynamic=False)
