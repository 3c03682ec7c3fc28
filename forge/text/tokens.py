"""The reference tokenizer: the one by which documents are counted, whatever model is trained later (D4).

Its vocabulary and merges come from the GGUF file of a pinned artifact (no download, no conversion of weights). They are
read once and kept as ``tokenizer.json`` below ``<home>/models``, named after the artifact's sha256.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from forge.artifacts import artifact_path
from forge.config import ConfigurationError, Settings

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_CONTROL_TOKEN = 3  # llama.cpp's LLAMA_TOKEN_TYPE_CONTROL
_PRE_TOKENIZERS = ("smollm",)
MAX_REMEMBERED_WORDS = 400_000
# GPT-2's pattern after each digit was set apart: one alternative per kind of piece that byte-pair encoding sees.
_WORD_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?![^\s\p{N}])|\s+"


def read_gguf_tokenizer(path: Path) -> Tokenizer:
    """The byte-level BPE tokenizer that a GGUF file holds.

    Transformers' own GGUF conversion drops the rule that SmolLM2 sets digits apart (llama.cpp's pre-tokenizer
    "smollm"), which changes the ids of white space before numbers; here the rule is kept. Raises ValueError for another
    kind of tokenizer.
    """
    from gguf import GGUFReader
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    fields = GGUFReader(path).fields

    def value(name: str) -> object:
        field = fields.get(f"tokenizer.ggml.{name}")
        return None if field is None else field.contents()

    model, pre = value("model"), value("pre")
    if model != "gpt2" or pre not in _PRE_TOKENIZERS:
        raise ValueError(f"{path.name}: tokenizer model {model!r} with pre-tokenizer {pre!r} is not known here")
    tokens, types, merges = value("tokens"), value("token_type"), value("merges")
    if not isinstance(tokens, list) or not isinstance(types, list) or not isinstance(merges, list):
        raise ValueError(f"{path.name}: the tokenizer's tokens, token_type or merges are missing")
    pairs = [(left, right) for left, _, right in (str(merge).partition(" ") for merge in merges)]
    tokenizer = Tokenizer(models.BPE(vocab={str(token): index for index, token in enumerate(tokens)}, merges=pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [
            AddedToken(str(token), special=True, normalized=False)
            for token, kind in zip(tokens, types, strict=True)
            if kind == _CONTROL_TOKEN
        ]
    )
    return tokenizer


def reference_tokenizer_path(settings: Settings) -> Path:
    """The file ``tokenizer.json`` of the reference tokenizer, written once (atomically, same bytes always).

    ``corpus.mix.reference_tokenizer`` names an artifact that ships one GGUF file, or a folder that holds a
    ``tokenizer.json``. Raises :class:`ConfigurationError` when neither is there.
    """
    name = settings.corpus.mix.reference_tokenizer
    if name not in settings.artifacts:
        file = Path(name) / "tokenizer.json"
        if file.is_file():
            return file
        raise ConfigurationError(
            f"corpus.mix.reference_tokenizer: {name!r} is no artifact ({', '.join(sorted(settings.artifacts))}) "
            "and no folder with a tokenizer.json"
        )
    target = settings.home_path / "models" / f"tokenizer-{settings.artifacts[name].sha256[:16]}" / "tokenizer.json"
    if target.is_file():
        return target
    folder = artifact_path(settings, name)
    files = sorted(folder.rglob("*.gguf")) if folder is not None else []
    if len(files) != 1:
        raise ConfigurationError(
            f"corpus.mix.reference_tokenizer: artifact {name!r} holds {len(files)} GGUF files, not 1"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    text = read_gguf_tokenizer(files[0]).to_str(pretty=False)
    handle, scratch = tempfile.mkstemp(dir=target.parent, prefix=".tokenizer-")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    Path(scratch).replace(target)
    return target


def reference_tokenizer(settings: Settings) -> Tokenizer:
    """The reference tokenizer. ``<|endoftext|>`` and the chat marks are its special tokens."""
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(reference_tokenizer_path(settings)))


class TokenCounter:
    """Counts tokens exactly as a tokenizer would, some three times faster: a byte-pair encoding is a function of one
    word, words repeat, so each distinct word is encoded once and remembered (at most ``MAX_REMEMBERED_WORDS``).

    Holds for tokenizers made by :func:`read_gguf_tokenizer`; for others, and for texts that contain a special token,
    the tokenizer itself counts. One counter belongs to one process; it is not picklable by intent.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        import regex  # type: ignore[import-untyped]

        self._tokenizer = tokenizer
        self._counts: dict[str, int] = {}
        self._words = regex.compile(_WORD_PATTERN) if _is_split_by_word_pattern(tokenizer) else None
        special = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
        self._special = regex.compile("|".join(regex.escape(token) for token in sorted(special))) if special else None

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, special tokens not added."""
        if self._words is None:
            return token_counts(self._tokenizer, texts)
        if len(self._counts) > MAX_REMEMBERED_WORDS:
            self._counts.clear()
        counts = self._counts
        split = [
            None if self._special is not None and self._special.search(text) else self._words.findall(text)
            for text in texts
        ]
        unknown = {word for words in split if words is not None for word in words if word not in counts}
        if unknown:
            ordered = sorted(unknown)
            counts.update(zip(ordered, token_counts(self._tokenizer, ordered), strict=True))
        return [
            token_counts(self._tokenizer, [text])[0] if words is None else sum(map(counts.__getitem__, words))
            for text, words in zip(texts, split, strict=True)
        ]


def token_counts(tokenizer: Tokenizer, texts: Sequence[str]) -> list[int]:
    """Tokens of each text by the tokenizer itself, special tokens not added. Its threads follow
    ``TOKENIZERS_PARALLELISM``."""
    return [len(encoding) for encoding in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]


def _is_split_by_word_pattern(tokenizer: Tokenizer) -> bool:
    description = orjson.loads(tokenizer.to_str())
    return (
        description["pre_tokenizer"]
        == {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Digits", "individual_digits": True},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
            ],
        }
        and description["normalizer"] is None
        and description["model"]["type"] == "BPE"
    )
