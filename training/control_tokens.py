"""Text into token ids such that only a chat template writes control tokens.

``<|im_end|>`` in a document or in a message is text about a token, not the token. A tokenizer makes the token of it all
the same, so encoding goes through a copy of its backend that knows control tokens by other names: the first character
of each becomes a Unicode noncharacter (U+FDD0 to U+FDEF, which no text may hold for interchange). A rendered chat
carries the two kinds the other way round: the template's tokens by name, those of messages with the noncharacter
(:func:`set_aside`). Texts are encoded whole, and every stand-in is as long as what it stands for, so ids are the
tokenizer's own and offsets count the characters of the text given.
"""

from __future__ import annotations

import bisect
import re
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson

from forge.config import ConfigurationError

_NONCHARACTERS = "".join(map(chr, range(0xFDD0, 0xFDF0)))
_RESERVED = re.compile(f"[{_NONCHARACTERS}]")


@dataclass(frozen=True, slots=True)
class Encoded:
    """``offsets``: of each token the half-open range of characters that it stands for."""

    ids: list[int]
    offsets: list[tuple[int, int]]


class ControlTokens:
    """The control tokens of a tokenizer and the two encoders that follow from them; see :func:`control_tokens`."""

    def __init__(self, added: dict[str, int], backend: Any) -> None:
        self.ids = added
        initials = sorted({name[0] for name in added})
        if len(initials) > len(_NONCHARACTERS):
            raise ConfigurationError(
                f"training.base_model: its control tokens start with {len(initials)} different characters, "
                f"at most {len(_NONCHARACTERS)} can be kept apart from text"
            )
        self._stand_in = dict(zip(initials, _NONCHARACTERS, strict=False))
        self._initial = {stand_in: initial for initial, stand_in in self._stand_in.items()}
        names = "|".join(map(re.escape, sorted(added, key=lambda name: (-len(name), name))))  # the longest wins
        self.pattern = re.compile(names or r"(?!)")
        self._either = re.compile(f"{self.pattern.pattern}|{_RESERVED.pattern}")
        self._backend = backend

    def set_aside(self, text: str) -> str:
        """The text without a control token's name in it; as long as before."""
        while self.pattern.search(text):  # names may overlap
            text = self.pattern.sub(lambda found: self._renamed(found[0]), text)
        return text

    def swapped(self, text: str) -> str:
        """Control tokens by the encoders' names, what was set aside by its own."""

        def swap(found: re.Match[str]) -> str:
            return self._initial.get(found[0]) or self._renamed(found[0])

        return self._either.sub(swap, text)

    @cached_property
    def of_chats(self) -> Any:
        """Encodes rendered chats after :meth:`swapped`."""
        return self._encoder()

    @cached_property
    def of_texts(self) -> Any:
        """Encodes texts that hold no control token at all."""
        encoder = self._encoder()
        encoder.encode_special_tokens = True
        return encoder

    def _renamed(self, name: str) -> str:
        return self._stand_in[name[0]] + name[1:]

    def _encoder(self) -> Any:
        from tokenizers import Tokenizer

        written = orjson.loads(self._backend.to_str())
        for token in written["added_tokens"]:
            if token["content"] in self.ids:
                token |= {"content": self._renamed(token["content"]), "special": True}
        model = written["model"]
        vocabulary = model["vocab"]
        if isinstance(vocabulary, dict):
            for name in self.ids.keys() & vocabulary.keys():
                vocabulary[self._renamed(name)] = vocabulary.pop(name)
            if model.get("unk_token") in self.ids:
                model["unk_token"] = self._renamed(model["unk_token"])
        else:  # Unigram: pairs of token and score
            model["vocab"] = [[self._renamed(name) if name in self.ids else name, score] for name, score in vocabulary]
        written |= {"truncation": None, "padding": None, "post_processor": None}  # the last would trim the offsets
        encoder = Tokenizer.from_str(orjson.dumps(written).decode())
        for name, token_id in self.ids.items():
            if encoder.token_to_id(self._renamed(name)) != token_id:
                raise ConfigurationError(f"training.base_model: its control token {name!r} cannot be told from text")
        return encoder


_known: weakref.WeakKeyDictionary[Any, dict[str, ControlTokens]] = weakref.WeakKeyDictionary()


def control_tokens(tokenizer: Any) -> ControlTokens:
    """The special tokens, and those other added tokens that the chat template writes (but for white space)."""
    template = str(tokenizer.chat_template or "")
    of_tokenizer = _known.setdefault(tokenizer, {})
    if template not in of_tokenizer:
        added = {
            token.content: token_id
            for token_id, token in tokenizer.added_tokens_decoder.items()
            if token.special or (token.content in template and not token.content.isspace())
        }
        of_tokenizer[template] = ControlTokens(added, tokenizer.backend_tokenizer)
    return of_tokenizer[template]


def has_reserved_character(text: str) -> bool:
    """Whether the text holds a noncharacter that stands for a control token's first one."""
    return _RESERVED.search(text) is not None


def set_aside(tokenizer: Any, text: str) -> str:
    """Text for a chat template, without a control token in it. It must not hold a reserved character."""
    return control_tokens(tokenizer).set_aside(text)


def encode_rendered(tokenizer: Any, rendered: str, cuts: Sequence[int] = ()) -> Encoded:
    """Ids of a rendered chat, encoded whole, as the tokenizer would without :func:`set_aside`.

    ``cuts``: places where a token has to start, as generation starts there; where none does, the text is encoded in
    two.
    """
    controls = control_tokens(tokenizer)
    text = controls.swapped(rendered)
    found = controls.of_chats.encode(text, add_special_tokens=False)
    ids, offsets = found.ids, found.offsets
    inner = sorted(place for place in set(cuts) if _is_inside(place, offsets))
    if inner:
        ids, offsets = [], []
        for start, end in zip([0, *inner], [*inner, len(text)], strict=True):
            part = controls.of_chats.encode(text[start:end], add_special_tokens=False)
            ids += part.ids
            offsets += [(first + start, last + start) for first, last in part.offsets]
    return Encoded(ids, offsets)


def _is_inside(place: int, offsets: Sequence[tuple[int, int]]) -> bool:
    """Whether a token starts before the place and ends after it. Offsets never decrease."""
    after = bisect.bisect_left(offsets, place, key=lambda offset: offset[0])
    return after > 0 and offsets[after - 1][1] > place


def encode_texts(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Ids of texts that are no chats, all at once."""
    found = control_tokens(tokenizer).of_texts.encode_batch_fast(list(texts), add_special_tokens=False)
    return [encoding.ids for encoding in found]


def encode_text(tokenizer: Any, text: str) -> Encoded:
    """Ids and offsets of a text that is no chat."""
    found = control_tokens(tokenizer).of_texts.encode(text, add_special_tokens=False)
    return Encoded(found.ids, found.offsets)
