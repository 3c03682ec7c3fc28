"""Greedy answers of a local model, many at a time, each as if it were asked alone.

Prompts are taken longest first; a row whose answer has ended is given to the next prompt. Which token is greatest can
hang on rounding, which differs with the number of rows and the length of the cache: a decision whose margin is below
:data:`TIE_MARGINS` is therefore taken by one fixed computation, the text alone, whole, without a cache. So the answers
are the same for every ``batch_items``, order of conversations and resumption.

Models that :mod:`training.evaluation.decoder_model` does not understand answer one conversation at a time, with their
own forward pass and cache.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from training.chat import NotAChat, prompt_ids, turn_end
from training.evaluation.decoder_model import KeyValueCache, LlamaDecoder, is_understood
from training.evaluation.subject import Conversation

TIE_MARGINS = {torch.float32: 1e-3, torch.float16: 0.1, torch.bfloat16: 0.5}
"""Margin in logits between the best two tokens below which rounding may decide, by the dtype of the products. In
float32 the margins of SmolLM2-135M differ by at most 3e-5 between a batch and the text alone (measured on a CPU, logits
up to 38); the others are guesses on the safe side, at the price of more decisions taken alone."""
PREFILL_TOKENS = 8_192
"""Of prompts at once: what bounds the memory of activations. A single longer prompt goes alone."""
CACHE_BYTES = 4 << 30
"""Of keys and values. A text that needs more has a cache of one row."""
SLOT_STEP = 16
"""Cache lengths are multiples of it."""


@dataclass(slots=True)
class _Answer:
    """A prompt and what follows it; ``max_tokens`` bounds both together."""

    place: int
    tokens: list[int]
    prompt_tokens: int
    max_tokens: int


class GreedyDecoder:
    """A model made ready to answer; its weights must not change meanwhile."""

    def __init__(self, model: Any, tokenizer: Any, batch_items: int) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._batch_items = batch_items
        self._ends = frozenset(end for end in (turn_end(tokenizer).token_id, tokenizer.eos_token_id) if end is not None)
        self._context: int | None = getattr(model.config, "max_position_embeddings", None)
        self._decoder = LlamaDecoder(model) if is_understood(model) else None
        self.ties = 0
        """Decisions so far that were too close for a batch."""

    def answers(self, conversations: Sequence[Conversation], *, max_new_tokens: int) -> Iterator[tuple[int, str]]:
        """Place in ``conversations`` and text up to what ends a turn, as they are ready; control tokens written out.

        The answer is "" where the prompt leaves no room in the model's context or cannot be rendered, as it is where a
        server refuses a prompt; an answer ends where the context does.
        """
        asked = []
        for place, conversation in enumerate(conversations):
            try:
                prompt = prompt_ids(self._tokenizer, conversation.tools, conversation.messages)
            except NotAChat:
                prompt = []
            max_tokens = len(prompt) + max_new_tokens
            if self._context is not None:
                max_tokens = min(max_tokens, self._context)
            if prompt and max_tokens > len(prompt):
                asked.append(_Answer(place, prompt, len(prompt), max_tokens))
            else:
                yield place, ""
        asked.sort(key=lambda answer: (-answer.max_tokens, answer.place))
        for answer in self._alone(asked) if self._decoder is None else self._together(self._decoder, asked):
            written = answer.tokens[answer.prompt_tokens :]
            yield answer.place, str(self._tokenizer.decode(written, skip_special_tokens=False))

    def _together(self, decoder: LlamaDecoder, asked: Sequence[_Answer]) -> Iterator[_Answer]:
        """Answers that are complete; the longest prompts come first, so that memory runs out at once or never."""
        waiting = deque(asked)
        live: list[_Answer] = []
        cache: KeyValueCache | None = None
        while waiting or live:
            if waiting:
                cache = self._cache_for(decoder, live, waiting[0], len(asked), cache)
            assert cache is not None
            free = cache.rows - len(live)
            if waiting and free >= min(max(1, cache.rows // 4), len(waiting)):
                first = len(live)
                live += _first_within(waiting, free, PREFILL_TOKENS)
                advanced = live[first:]
                logits = decoder.prefill([answer.tokens for answer in advanced], cache, first)
            else:
                advanced = live
                logits = decoder.step(
                    [answer.tokens[-1] for answer in live],
                    [len(answer.tokens) - 1 for answer in live],
                    cache,
                    _rounded(max(len(answer.tokens) for answer in live)),
                )
            ended = {id(answer) for answer in self._advance(decoder, advanced, logits)}
            yield from (answer for answer in live if id(answer) in ended)
            _drop(live, ended, cache)

    def _cache_for(
        self,
        decoder: LlamaDecoder,
        live: Sequence[_Answer],
        following: _Answer,
        most_rows: int,
        cache: KeyValueCache | None,
    ) -> KeyValueCache:
        """The cache, or a new one once shorter texts let twice the rows fit."""
        slots = _rounded(max(answer.max_tokens for answer in (*live, following)))
        wanted = min(self._batch_items, most_rows)
        rows = max(1, min(wanted, CACHE_BYTES // (slots * decoder.slot_bytes)))
        if cache is not None and (rows <= cache.rows or rows < min(wanted, 2 * cache.rows)):
            return cache
        grown = KeyValueCache(decoder, rows, slots)
        if cache is not None:
            grown.take(cache, len(live))
        return grown

    def _advance(self, decoder: LlamaDecoder, answers: Sequence[_Answer], logits: torch.Tensor) -> Iterator[_Answer]:
        """Append the next token of each; those that ended."""
        best = logits.max(-1)
        others = logits.scatter(-1, best.indices[:, None], float("-inf")).amax(-1)
        margins = (best.values - others).tolist()
        for answer, token, margin in zip(answers, best.indices.tolist(), margins, strict=True):
            if margin < TIE_MARGINS[decoder.dtype]:
                self.ties += 1
                token = int(decoder.prefill([answer.tokens])[0].argmax())
            if self._append(answer, token):
                yield answer

    def _append(self, answer: _Answer, token: int) -> bool:
        """Whether the answer has ended. What ends it is not part of it."""
        if token in self._ends:
            return True
        answer.tokens.append(token)
        return len(answer.tokens) == answer.max_tokens

    @torch.inference_mode()
    def _alone(self, asked: Sequence[_Answer]) -> Iterator[_Answer]:
        for answer in asked:
            given, cache, ended = answer.tokens, None, False
            while not ended:
                ids = torch.tensor([given], device=self._model.device)
                found = self._model(ids, past_key_values=cache, use_cache=True)
                cache = found.past_key_values
                given = [int(found.logits[0, -1].argmax())]
                ended = self._append(answer, given[0])
            yield answer


def _rounded(tokens: int) -> int:
    return -(-tokens // SLOT_STEP) * SLOT_STEP


def _first_within(waiting: deque[_Answer], rows: int, tokens: int) -> list[_Answer]:
    """The next prompts, at least one: so many that padded to the longest they are no more than ``tokens``."""
    longest = max(1, waiting[0].prompt_tokens)
    return [waiting.popleft() for _ in range(min(rows, len(waiting), max(1, tokens // longest)))]


def _drop(live: list[_Answer], ended: Collection[int], cache: KeyValueCache) -> None:
    """Take ended answers out; the last one moves into each gap, so that live rows stay the first ones."""
    for row in reversed(range(len(live))):
        if id(live[row]) in ended:
            last = live.pop()
            if row < len(live):
                cache.move(len(live), row, len(last.tokens))
                live[row] = last
