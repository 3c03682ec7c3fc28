"""Causal attention of every piece of a packed batch by itself, on a CPU: work is the sum of squared piece lengths.

An operator of its own (``forge::document_attention``), so that a compiled graph does not depend on the pieces. It loops
over the pieces with torch's flash attention for CPUs; heads that share keys and values are read in place.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor


def document_attention(
    query: Tensor, key: Tensor, value: Tensor, cu_seqlens: Tensor, *, scale: float, window: int | None = None
) -> Tensor:
    """Returns (tokens, heads, width) like ``query``; ``key`` and ``value`` are (tokens, groups, width) of its type.

    ``cu_seqlens`` int32: the starts of the pieces and the end, empty pieces allowed. Token i of a piece sees the tokens
    max(0, i - window + 1) to i of it.
    """
    attended, _ = _attention(query, key, value, cu_seqlens, scale, len(query) if window is None else window)
    return attended


@torch.library.custom_op("forge::document_attention", mutates_args=(), device_types="cpu")
def _attention(
    query: Tensor, key: Tensor, value: Tensor, cu_seqlens: Tensor, scale: float, window: int
) -> tuple[Tensor, Tensor]:
    attended, logs = _empty_results(query, key)
    groups = key.shape[1]
    for piece in _pieces(cu_seqlens):
        part, part_logs = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            *(_by_head(state[piece], groups, query.shape[1]) for state in (query, key, value)),
            **_mask(piece, window, query.dtype),
            scale=scale,
        )
        _by_head(attended[piece], groups, query.shape[1]).copy_(part)
        logs[:, :, piece] = part_logs
    return attended, logs


@torch.library.custom_op("forge::document_attention_backward", mutates_args=(), device_types="cpu")
def _attention_backward(
    gradient: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attended: Tensor,
    logs: Tensor,
    cu_seqlens: Tensor,
    scale: float,
    window: int,
) -> tuple[Tensor, Tensor, Tensor]:
    of_query, of_key, of_value = (_empty_like(state) for state in (query, key, value))
    groups = key.shape[1]
    for piece in _pieces(cu_seqlens):
        parts = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
            *(_by_head(state[piece], groups, query.shape[1]) for state in (gradient, query, key, value, attended)),
            logs[:, :, piece],
            0.0,  # dropout
            **_mask(piece, window, query.dtype),
            scale=scale,
        )
        _by_head(of_query[piece], groups, query.shape[1]).copy_(parts[0])
        of_key[piece] = parts[1].sum(1).transpose(0, 1)
        of_value[piece] = parts[2].sum(1).transpose(0, 1)
    return of_query, of_key, of_value


def _empty_like(state: Tensor) -> Tensor:
    return torch.empty(state.shape, dtype=state.dtype, device=state.device)


def _empty_results(query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    """For what each token gets, and for the logarithms of the denominators (groups, heads of a group, tokens)."""
    tokens, heads, _ = query.shape
    precise = torch.promote_types(query.dtype, torch.float32)
    logs = torch.empty((key.shape[1], heads // key.shape[1], tokens), dtype=precise, device=query.device)
    return _empty_like(query), logs


@_attention.register_fake
def _(query: Tensor, key: Tensor, *_others: Any) -> Any:
    return _empty_results(query, key)


@_attention_backward.register_fake
def _(_gradient: Tensor, query: Tensor, key: Tensor, value: Tensor, *_others: Any) -> Any:
    return _empty_like(query), _empty_like(key), _empty_like(value)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    query, key, value, cu_seqlens, ctx.scale, ctx.window = inputs
    ctx.save_for_backward(query, key, value, *output, cu_seqlens)


def _go_back(context: Any, gradient: Tensor, _: Tensor | None) -> tuple[Any, ...]:
    *states, cu_seqlens = context.saved_tensors
    return *_attention_backward(gradient, *states, cu_seqlens, context.scale, context.window), None, None, None


_attention.register_autograd(_go_back, setup_context=_keep)


def _pieces(cu_seqlens: Tensor) -> Iterator[slice]:
    offsets = cu_seqlens.tolist()
    return (slice(start, end) for start, end in pairwise(offsets) if start < end)


def _by_head(state: Tensor, groups: int, heads: int) -> Tensor:
    """(tokens, heads or groups, width) seen as (groups, heads of a group, tokens, width), without a copy."""
    tokens, own, width = state.shape
    seen = state.view(tokens, groups, own // groups, width).permute(1, 2, 0, 3)
    return seen.expand(groups, heads // groups, tokens, width)


def _mask(piece: slice, window: int, dtype: torch.dtype) -> dict[str, Any]:
    tokens = piece.stop - piece.start
    if tokens <= window:
        return {"is_causal": True}
    seen = torch.ones(tokens, tokens, dtype=torch.bool).tril().triu(1 - window)
    return {"is_causal": False, "attn_mask": torch.zeros(tokens, tokens, dtype=dtype).masked_fill_(~seen, -torch.inf)}
