"""MinHash signatures of word shingles, vectorised: the kernel of near-duplicate detection.

A text is the set of its word n-grams (*shingles*), each a 64-bit hash. ``bands x rows_per_band`` hash functions give
the signature; two texts share a band with probability ``1 - (1 - J^rows)^bands`` for Jaccard similarity J (Leskovec et
al., Mining of Massive Datasets, section 3.4). Hashes are fixed by the seed and nothing else, so signatures from any
process, machine or year compare.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import xxhash

Hashes = npt.NDArray[np.uint64]

_WORD = re.compile(r"\w+")
_ROLL = np.uint64(0x9E3779B97F4A7C15)  # odd: the polynomial roll stays a bijection in each word
_BLOCK_SHINGLES = 512  # shingles x hashes of one block stay in cache, whatever the length of a text
_MAX_REMEMBERED_WORDS = 500_000


@dataclass(frozen=True, slots=True)
class MinHashSettings:
    """``bands * rows_per_band`` is the number of hash functions."""

    shingle_words: int = 5
    bands: int = 14
    rows_per_band: int = 8
    seed: int = 1


class _WordHashes(dict[str, int]):
    """Hash of a word, remembered: words repeat, and a look-up costs a third of hashing."""

    def __missing__(self, word: str) -> int:
        value = xxhash.xxh3_64_intdigest(word.encode("utf-8", "surrogatepass"))
        if len(self) < _MAX_REMEMBERED_WORDS:
            self[word] = value
        return value


_word_hashes = _WordHashes()


def words_of(text: str) -> list[str]:
    """The lower-case words of a text: what shingles and n-grams are made of."""
    return _WORD.findall(text.lower())


def ngram_hashes(words: Sequence[str], width: int) -> Hashes:
    """The 64-bit hash of each run of ``width`` words, in order, shape (max(0, len(words) - width + 1),)."""
    count = len(words) - width + 1
    if count <= 0:
        return np.empty(0, dtype=np.uint64)
    hashes = np.fromiter(map(_word_hashes.__getitem__, words), dtype=np.uint64, count=len(words))
    rolled = hashes[:count].copy()
    for offset in range(1, width):
        rolled *= _ROLL
        rolled += hashes[offset : offset + count]
    rolled ^= rolled >> np.uint64(32)
    rolled *= np.uint64(0xD6E8FEB86659FD93)
    rolled ^= rolled >> np.uint64(32)
    return rolled


def shingles(text: str, shingle_words: int) -> Hashes:
    """The sorted distinct 64-bit shingle hashes of a text, shape (n,). Case and punctuation do not count.

    A text shorter than one shingle is one shingle; a text without words has none.
    """
    words = words_of(text)
    return np.unique(ngram_hashes(words, min(shingle_words, max(1, len(words)))))


@lru_cache(maxsize=8)
def _coefficients(count: int, seed: int) -> tuple[Hashes, Hashes]:
    generator = np.random.Generator(np.random.PCG64(seed))
    multipliers = generator.integers(0, 2**64, size=count, dtype=np.uint64) | np.uint64(1)
    return multipliers, generator.integers(0, 2**64, size=count, dtype=np.uint64)


def signature(shingle_hashes: Hashes, settings: MinHashSettings) -> npt.NDArray[np.uint32]:
    """The minima of multiply-shift hashes (Dietzfelbinger et al. 1997), shape (bands * rows_per_band,). All ones for a
    text without shingles."""
    count = settings.bands * settings.rows_per_band
    multipliers, offsets = _coefficients(count, settings.seed)
    minima = np.full(count, np.iinfo(np.uint64).max, dtype=np.uint64)
    for start in range(0, len(shingle_hashes), _BLOCK_SHINGLES):
        block = multipliers[:, None] * shingle_hashes[None, start : start + _BLOCK_SHINGLES]
        block += offsets[:, None]
        np.minimum(minima, block.min(axis=1), out=minima)
    return (minima >> np.uint64(32)).astype(np.uint32)


def band_keys(signature_values: npt.NDArray[np.uint32], group: str, settings: MinHashSettings) -> npt.NDArray[np.int64]:
    """One 64-bit key per band, shape (bands,). ``group`` enters every key, so texts of different groups never meet:
    that is how the identity guard is kept without a check per pair."""
    rows = np.ascontiguousarray(signature_values).reshape(settings.bands, settings.rows_per_band)
    seed = xxhash.xxh3_64_intdigest(group.encode("utf-8", "surrogatepass"))
    keys = [xxhash.xxh3_64_intdigest(row.tobytes(), seed=(seed + band) & (2**64 - 1)) for band, row in enumerate(rows)]
    return np.array(keys, dtype=np.uint64).view(np.int64)


def jaccard(left: Hashes, right: Hashes) -> float:
    """Exact Jaccard similarity of two sorted distinct shingle arrays; 1.0 when both are empty."""
    if not len(left) and not len(right):
        return 1.0
    shared = len(np.intersect1d(left, right, assume_unique=True))
    return shared / (len(left) + len(right) - shared)


def estimated_jaccard(
    left: Sequence[int] | npt.NDArray[np.uint32], right: Sequence[int] | npt.NDArray[np.uint32]
) -> float:
    """Share of equal signature entries: an unbiased estimate with standard error ``sqrt(J(1-J)/hashes)``."""
    return float(np.mean(np.asarray(left) == np.asarray(right)))
