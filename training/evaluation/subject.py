"""What is evaluated: a model whose weights are here, or an endpoint that answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from training.evaluation.decoding import GreedyDecoder


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a model is asked: tools as JSON Schema functions, messages as :mod:`training.chat` takes them."""

    tools: Sequence[Mapping[str, Any]]
    messages: Sequence[Mapping[str, Any]]


class Subject(Protocol):
    """Answers conversations. ``prompt_hash`` identifies how they are rendered; ``device`` is cpu, cuda or remote."""

    @property
    def prompt_hash(self) -> str: ...

    @property
    def device(self) -> str: ...

    def answers(self, conversations: Sequence[Conversation], *, max_new_tokens: int) -> Iterator[tuple[int, str]]:
        """Greedy answers as they are ready: place in ``conversations`` and text, without what ends the turn.

        An answer does not depend on which other conversations are given.
        """
        ...


@dataclass(frozen=True)
class LocalSubject:
    """A model in this process, whose weights do not change as long as this exists. Tasks that need probabilities use
    ``model`` and ``tokenizer`` themselves."""

    model: Any
    tokenizer: Any
    batch_items: int = 16

    @property
    def prompt_hash(self) -> str:
        from training.chat import prompt_hash

        return prompt_hash(self.tokenizer)

    @property
    def device(self) -> str:
        return str(self.model.device.type)

    def answers(self, conversations: Sequence[Conversation], *, max_new_tokens: int) -> Iterator[tuple[int, str]]:
        """See :meth:`training.evaluation.decoding.GreedyDecoder.answers`."""
        return self._decoder.answers(conversations, max_new_tokens=max_new_tokens)

    @cached_property
    def _decoder(self) -> GreedyDecoder:
        from training.evaluation.decoding import GreedyDecoder

        return GreedyDecoder(self.model, self.tokenizer, self.batch_items)
