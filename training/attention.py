"""Attention that keeps packed documents apart: four paths, chosen by what the device has and verified at the start.

A sequence holds pieces of documents. Its ``cu_seqlens`` are the starts of the pieces and its end, padded with the end
to a fixed width, so that shapes never change. Paths, each a transformers attention implementation:

- ``varlen``: ``torch.nn.attention.varlen`` (flash attention over pieces; CUDA, 16 bit).
- ``flex``: transformers' FlexAttention with a block mask from the position ids (CUDA: torch 2.13 has no backward of it
  on a CPU).
- ``sdpa``: transformers' own mask from the position ids; work and mask grow with the square of the sequence.
- ``documents``: CPU; each piece by itself, work grows with the sum of squared piece lengths.

``flex`` and ``sdpa`` isolate only without an attention mask and without a cache: with an all-ones mask transformers
lets documents see each other without a word. :func:`verify_isolation` finds that, and any other leak.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from training.document_attention import document_attention
from training.precision import product_type

try:
    from torch.nn.attention.varlen import varlen_attn
except ImportError:  # torch < 2.10
    varlen_attn = None

PATHS = ("varlen", "flex", "sdpa", "documents")

# Greatest difference, relative to the greatest logit, between a packed document and the same alone. Every product is
# rounded, to 2^-9 (2^-12) of its size in 16 bit, differently by each kernel, and some hundred of them follow one
# another (SmolLM2-135M in float32: up to 2.3e-5 on the way). A leak is found all the same, since what other documents
# hold must not change one bit (_MAX_LEAK).
_MAX_DIFFERENCE = {torch.float32: 1e-4, torch.float64: 1e-10, torch.bfloat16: 5e-2, torch.float16: 1e-2}
_MAX_LEAK = 1e-6

_IMPLEMENTATION = {"varlen": "packed_varlen", "flex": "flex_attention", "sdpa": "sdpa", "documents": "packed_documents"}
_DROPOUT = ("attention_dropout", "attn_pdrop", "attention_probs_dropout_prob")  # as configurations call it
_VARLEN_ARGUMENTS = frozenset(inspect.signature(varlen_attn).parameters) if varlen_attn else frozenset()


class AttentionError(Exception):
    """Packed documents cannot be kept apart as asked. Says path, device, what was measured and what else is offered."""


def offered_paths(device: torch.device, dtype: torch.dtype = torch.bfloat16) -> tuple[str, ...]:
    """The paths that can train on a device, fastest first; ``dtype`` is that of the forward pass (autocast)."""
    if device.type == "cpu":
        return ("documents", "sdpa")
    if device.type == "cuda":
        flash = varlen_attn is not None and dtype.itemsize == 2 and torch.cuda.get_device_capability(device) >= (8, 0)
        return ("varlen", "flex", "sdpa") if flash else ("flex", "sdpa")
    return ("sdpa",)


def use_attention(model: Any, path: str) -> None:
    """Set the attention of a transformers model. ``varlen`` and ``documents`` serve packed batches only; to generate
    or evaluate with the same model in between, set ``sdpa`` and set the path back.
    """
    if path not in PATHS:
        raise AttentionError(f"attention path {path!r} is not known; known: {', '.join(PATHS)}")
    model.set_attn_implementation(_IMPLEMENTATION[path])


def packed_arguments(model: Any, cu_seqlens: Tensor) -> dict[str, Tensor]:
    """What the model must hand down to its attention besides position ids; nothing where it makes a mask of them.

    ``cu_seqlens`` (sequences, pieces + 1) int32 becomes one vector over the flattened batch, (sequences * pieces + 1):
    pieces of length 0 stand where a sequence has fewer than others.
    """
    if model.config._attn_implementation not in (_IMPLEMENTATION["varlen"], _IMPLEMENTATION["documents"]):
        return {}
    ends = cu_seqlens[:, -1].cumsum(0, dtype=cu_seqlens.dtype)
    starts = cu_seqlens[:, :-1] + (ends - cu_seqlens[:, -1])[:, None]
    return {"cu_seqlens": torch.cat([starts.reshape(-1), ends[-1:]])}


def choose_attention(
    model: Any,
    wanted: str,
    device: torch.device,
    say: Callable[[str], None],
    dtype: torch.dtype = torch.bfloat16,
) -> str:
    """Set and return the first path of those offered (``auto``) or the one wanted, after :func:`verify_isolation`.

    Raises :class:`AttentionError` when the wanted path is not offered or no path keeps documents apart.
    """
    offered = offered_paths(device, dtype)
    if wanted != "auto" and wanted not in offered:
        raise AttentionError(
            f"attention path {wanted} is not offered on {device} in {_name(dtype)}; offered: {', '.join(offered)}"
        )
    failures = []
    for path in offered if wanted == "auto" else (wanted,):
        try:
            difference = verify_isolation(model, path, device, dtype)
        except AttentionError as error:
            failures.append(str(error))
            say(f"attention: {error}")
            continue
        use_attention(model, path)
        say(
            f"attention: {path} keeps documents apart (relative difference {difference:.1e} in {_name(dtype)})"
            + _unverified(model)
        )
        return path
    raise AttentionError("; ".join(failures))


def verify_isolation(model: Any, path: str, device: torch.device, dtype: torch.dtype) -> float:
    """Greatest difference of logits between packed documents and each alone, relative to the greatest logit.

    Alone means the model's plain ("eager") attention over one document. The model keeps its attention and its mode.
    Raises :class:`AttentionError` when the difference is beyond what ``dtype`` explains, when what another document
    holds changes a document's logits, or when the path cannot run with this model.
    """
    try:
        if path != "sdpa":
            _refuse_dropout(model)
        measured: Isolation = measure_isolation(model, path, device, dtype)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError, AttentionError) as error:
        raise AttentionError(
            f"{_where(path, device, dtype)}: {_first_line(error)}{_others(path, device, dtype)}"
        ) from error
    allowed = _MAX_DIFFERENCE[dtype]
    if not (measured.difference <= allowed and measured.leak <= _MAX_LEAK):
        raise AttentionError(
            f"{_where(path, device, dtype)} does not keep documents apart: logits are {measured.difference:.1e} of the "
            f"greatest off those of the document alone (allowed {allowed:.0e}), and what other documents hold changes "
            f"them by {measured.leak:.1e} (allowed {_MAX_LEAK:.0e}){_others(path, device, dtype)}"
        )
    return measured.difference


@dataclass(frozen=True, slots=True)
class Isolation:
    """Both relative to the greatest logit. ``difference``: packed against alone, of the worst token, in 16 bit of the
    median one; ``leak``: packed against packed beside other documents, of the worst token.
    """

    difference: float
    leak: float


_CHECKED_TOKENS = 128
_BEYOND_WINDOW_TOKENS = 128
_MAX_CHECKED_WINDOW = 1024  # beyond it the check costs more than it should at the start of every stage
_WINDOWS = ("sliding_window", "attention_chunk_size")  # as configurations call them


def _window(model: Any) -> int | None:
    """How many tokens back a layer of the model sees at most, where that is fewer than its longest document has."""
    config = model.config.get_text_config()
    windows = [found for name in _WINDOWS if isinstance(found := getattr(config, name, None), int) and found > 0]
    longest = getattr(config, "max_position_embeddings", None)
    if not windows or not getattr(config, "use_sliding_window", True):
        return None
    return None if longest is not None and max(windows) >= longest else max(windows)


def _checked_pieces(model: Any) -> tuple[tuple[int, ...], ...]:
    """Lengths of the pieces of three sequences of equal length, in each of which one is longer than a window of the
    model unless that is too large. Each last one plays the padding."""
    window, tokens = _window(model), _CHECKED_TOKENS
    if window is not None and window <= _MAX_CHECKED_WINDOW:
        longest = getattr(model.config.get_text_config(), "max_position_embeddings", None) or math.inf
        tokens = max(tokens, int(min(window + _BEYOND_WINDOW_TOKENS, longest)))
    return ((19, 1, 32, 45, tokens - 97), (tokens,), (1, 1, tokens - 29, 27))


def _unverified(model: Any) -> str:
    window = _window(model)
    if window is None or window <= _MAX_CHECKED_WINDOW:
        return ""
    return f"; not verified: its window of {window:,} tokens, as the documents checked have {_CHECKED_TOKENS} at most"


_ROUNDS, _ROUNDS_OF_A_PIECE = 5, 2


@torch.no_grad()
def measure_isolation(model: Any, path: str, device: torch.device, dtype: torch.dtype) -> Isolation:
    """Logits of random documents, packed by ``path`` and alone; and of each again while others change.

    Each piece keeps its tokens in two of five rounds, no two pieces in the same two: so whichever two one takes, there
    is a round in which the one stays and the other changes.
    """
    generator = torch.Generator().manual_seed(0)
    vocabulary = model.get_input_embeddings().num_embeddings
    pieces = _checked_pieces(model)
    length = sum(pieces[0])
    tokens = torch.randint(vocabulary, (2, len(pieces), length), generator=generator)
    ends = [torch.tensor(lengths).cumsum(0).tolist() for lengths in pieces]
    width = max(map(len, ends)) + 1
    cu_seqlens = torch.tensor([[0, *row] + [length] * (width - 1 - len(row)) for row in ends], dtype=torch.int32)
    positions = torch.cat([torch.arange(size) for lengths in pieces for size in lengths])
    positions = positions.view(len(pieces), length).to(device)
    leak = greatest = 0.0
    differences: list[Tensor] = []
    with kept(model), torch.autocast(device.type, dtype, enabled=dtype.itemsize == 2):
        model.eval()

        def packed(ids: Tensor) -> Tensor:
            use_attention(model, path)
            logits = model(
                input_ids=ids.to(device), position_ids=positions, attention_mask=None, use_cache=False,
                **packed_arguments(model, cu_seqlens.to(device)),
            ).logits  # fmt: skip
            return logits.float()

        first = packed(tokens[0])
        places = [(row, *place) for row, row_ends in enumerate(ends) for place in pairwise([0, *row_ends])]
        rounds = list(combinations(range(_ROUNDS), _ROUNDS_OF_A_PIECE))
        for row, start, end in places:
            model.set_attn_implementation("eager")
            alone = model(input_ids=tokens[0, row : row + 1, start:end].to(device), use_cache=False).logits.float()
            greatest = max(greatest, float(alone.abs().max()))
            differences.append((first[row, start:end] - alone[0]).abs().amax(-1))
        for number in range(_ROUNDS):
            staying = [place for place, own in zip(places, rounds, strict=True) if number in own]
            others = tokens[1].clone()
            for row, start, end in staying:
                others[row, start:end] = tokens[0, row, start:end]
            again = packed(others)
            for row, start, end in staying:
                leak = max(leak, _greatest(again[row, start:end] - first[row, start:end]))
    whole = torch.cat(differences)
    # In 16 bit single tokens lie where rounding decides between two quite different activations: 0.7 of the greatest
    # logit in SmolLM2-135M, by every path alike. The median of all tokens tells a wrong path from rounding.
    difference = float(whole.median() if dtype.itemsize == 2 else whole.max())
    return Isolation(difference / greatest, leak / greatest)


@contextmanager
def kept(model: Any) -> Iterator[None]:
    """Afterwards the model has the attention and the mode it has now. Products of float32 are exact meanwhile."""
    implementation, training = model.config._attn_implementation, model.training
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")  # TF32 hides differences behind its own
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)
        model.set_attn_implementation(implementation)
        model.train(training)


def _greatest(difference: Tensor) -> float:
    """NaN counts as infinitely far."""
    return float(difference.abs().nan_to_num(nan=float("inf")).max())


def _refuse_dropout(model: Any) -> None:
    for name in _DROPOUT:
        if getattr(model.config, name, 0.0):
            raise AttentionError(f"has no dropout, and the model's configuration sets {name}")


def _where(path: str, device: torch.device, dtype: torch.dtype) -> str:
    return f"attention path {path} on {device} in {_name(dtype)}"


def _others(path: str, device: torch.device, dtype: torch.dtype) -> str:
    others = [other for other in offered_paths(device, dtype) if other != path]
    return f"; also offered: {', '.join(others)}" if others else "; nothing else is offered"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


# What the paths of our own do. transformers calls with (sequences, heads, tokens, width), expects (sequences, tokens,
# heads, width), and makes no mask for implementations that it does not know.


def _flat(
    path: str, module: Any, states: tuple[Tensor, ...], dropout: float, arguments: dict[str, Any]
) -> list[Tensor]:
    """Queries, keys and values as (all tokens, heads, width), after refusing what would be left out in silence."""
    asked = {name for name in ("softcap", "s_aux", "position_bias", "head_mask") if arguments.get(name) is not None}
    asked |= {"dropout"} if dropout else set()
    asked |= {"attention_mask"} if arguments["attention_mask"] is not None else set()
    if asked or not getattr(module, "is_causal", True):
        raise AttentionError(
            f"attention path {path} does not support {', '.join(sorted(asked)) or 'all-to-all attention'}"
        )
    if arguments["cu_seqlens"] is None:
        raise AttentionError(
            f"attention path {path} needs cu_seqlens, which {type(module).__name__} was not given: the batch is not "
            "packed, or the model does not hand keyword arguments down to its attention"
        )
    return [state.transpose(1, 2).flatten(0, 1) for state in states]


def _varlen(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, dropout: float = 0.0,
    scaling: float | None = None, cu_seqlens: Tensor | None = None, sliding_window: int | None = None, **others: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    others |= {"attention_mask": attention_mask, "cu_seqlens": cu_seqlens}
    sequences, heads, tokens, width = query.shape
    queries, keys, values = _flat("varlen", module, (query, key, value), dropout, others)
    if torch.is_autocast_enabled(query.device.type):  # rotary angles make float32 of queries and keys
        dtype = torch.get_autocast_dtype(query.device.type)
        queries, keys, values = queries.to(dtype), keys.to(dtype), values.to(dtype)
    chosen: dict[str, Any] = {}
    scale = width**-0.5 if scaling is None else scaling
    if "scale" in _VARLEN_ARGUMENTS:
        chosen["scale"] = scale
    elif scale != width**-0.5:
        queries = queries * (scale * width**0.5)
    window = sliding_window if sliding_window is not None and sliding_window < tokens else None
    if "window_size" in _VARLEN_ARGUMENTS:
        chosen["window_size"] = (-1 if window is None else window - 1, 0)
    elif window is None:
        chosen["is_causal"] = True
    else:
        raise AttentionError(f"attention path varlen of torch {torch.__version__} has no sliding window")
    if keys.shape[1] != heads:
        if "enable_gqa" in _VARLEN_ARGUMENTS:
            chosen["enable_gqa"] = True
        else:
            groups = heads // keys.shape[1]
            keys, values = keys.repeat_interleave(groups, 1), values.repeat_interleave(groups, 1)
    attended = varlen_attn(queries, keys, values, cu_seqlens, cu_seqlens, tokens, tokens, **chosen)
    return attended.view(sequences, tokens, heads, width), None


def _documents(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, dropout: float = 0.0,
    scaling: float | None = None, cu_seqlens: Tensor | None = None, sliding_window: int | None = None, **others: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    others |= {"attention_mask": attention_mask, "cu_seqlens": cu_seqlens}
    sequences, heads, tokens, width = query.shape
    states = _flat("documents", module, (query, key, value), dropout, others)
    dtype = product_type("cpu", value.dtype)  # rotary angles make float32 of queries and keys under autocast
    queries, keys, values = (state.to(dtype) for state in states)
    scale = width**-0.5 if scaling is None else scaling
    attended = document_attention(queries, keys, values, cu_seqlens, scale=scale, window=sliding_window)
    return attended.to(value.dtype).view(sequences, tokens, heads, width), None


ALL_ATTENTION_FUNCTIONS.register(_IMPLEMENTATION["varlen"], _varlen)
ALL_ATTENTION_FUNCTIONS.register(_IMPLEMENTATION["documents"], _documents)
