"""Texts to tokens as lm-eval 0.4.13 does it (``LM._encode_pair``, ``HFLM.tok_encode``)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from training.evaluation.scoring import Continuation

_DEFAULT_MAX_TOKENS = 2048


def encode_pairs(tokenizer: Any, pairs: Sequence[tuple[str, str]]) -> list[Continuation]:
    """Contexts and what is scored after each.

    What is scored starts where the encoding of the context alone ends; spaces that end the context go over to the
    continuation. The tokenizer adds its control tokens (a Llama tokenizer a BOS) as it does by itself, none where the
    context spells the BOS already; an empty context is the BOS, or the EOS of a tokenizer without.

    Where the last token of a context swallows its continuation lm-eval stops; here that token is scored.
    """
    split = [_without_last_spaces(*pair) for pair in pairs]
    ids = _encoded(tokenizer, {text for context, continuation in split for text in (context, context + continuation)})
    return [
        _continuation(tokenizer, ids[context], ids[context + continuation])
        if context
        else _from_nothing(tokenizer, tokenizer.encode(continuation, add_special_tokens=False))
        for context, continuation in split
    ]


def _without_last_spaces(context: str, continuation: str) -> tuple[str, str]:
    stripped = context.rstrip()
    return stripped, context[len(stripped) :] + continuation


def _encoded(tokenizer: Any, texts: Iterable[str]) -> dict[str, list[int]]:
    first = tokenizer.decode(_first_token(tokenizer))
    ids: dict[str, list[int]] = {}
    for has_first in (False, True):
        group = [text for text in sorted(texts) if text.startswith(first) == has_first]
        if group:
            encoded = tokenizer(group, **({"add_special_tokens": False} if has_first else {}))["input_ids"]
            ids.update(zip(group, encoded, strict=True))
    return ids


def _continuation(tokenizer: Any, context: Sequence[int], whole: Sequence[int]) -> Continuation:
    if len(whole) > len(context):
        return Continuation((*context, *whole[len(context) :]), len(context))
    return Continuation(tuple(whole), len(whole) - 1) if len(whole) > 1 else _from_nothing(tokenizer, whole)


def _from_nothing(tokenizer: Any, tokens: Sequence[int]) -> Continuation:
    first = _first_token(tokenizer)
    has_first = len(tokens) > 1 and tokens[0] == first
    return Continuation(tuple(tokens) if has_first else (first, *tokens), 1)


def _first_token(tokenizer: Any) -> int:
    token: int = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    return token


def max_tokens_of(model: Any, tokenizer: Any) -> int:
    """The longest text that the model reads, by its configuration, else by its tokenizer, else 2,048."""
    config = model.config.get_text_config()
    for name in ("n_positions", "max_position_embeddings", "n_ctx"):
        if (found := getattr(config, name, None)) is not None:
            return int(found)
    stated = tokenizer.model_max_length
    return int(stated) if stated < 10**12 else _DEFAULT_MAX_TOKENS  # transformers writes 10**30 for "not stated"
