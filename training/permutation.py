"""A keyed permutation of 0..size-1 that needs no memory: a Feistel network with cycle walking.

The i-th element of a shuffle is computed from i alone, so a loader can resume anywhere without drawing what came
before, and every rank agrees without talking. Black and Rogaway, "Ciphers with Arbitrary Finite Domains" (2002). The
round function is the finaliser of splitmix64 (Steele, Lea and Flood, 2014): a shuffle, not a cipher.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 6
_WORD = (1 << 64) - 1
_MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


def permuted(index: int, size: int, key: bytes) -> int:
    """Where ``index`` goes under the permutation of ``range(size)`` chosen by ``key`` (at most 64 bytes).

    Raises ValueError when ``index`` is outside ``range(size)``.
    """
    if not 0 <= index < size:
        raise ValueError(f"index {index} is outside range({size})")
    half_bits, round_keys = _half_bits(size), _round_keys(key)
    value = index
    while True:  # the network permutes 4**half_bits <= 4 * size values; walk on until one lies in range
        left, right = value >> half_bits, value & ((1 << half_bits) - 1)
        for round_key in round_keys:
            mixed = (right + round_key) & _WORD
            mixed = ((mixed ^ (mixed >> 30)) * _MULTIPLIERS[0]) & _WORD
            mixed = ((mixed ^ (mixed >> 27)) * _MULTIPLIERS[1]) & _WORD
            left, right = right, left ^ ((mixed ^ (mixed >> 31)) >> (64 - half_bits))
        value = left << half_bits | right
        if value < size:
            return value


def permutation(size: int, key: bytes) -> NDArray[np.int64]:
    """``permuted`` of every index, shape (size,), some hundred times as fast."""
    half_bits, round_keys = _half_bits(size), _round_keys(key)
    shift, mask, high = np.uint64(half_bits), np.uint64((1 << half_bits) - 1), np.uint64(64 - half_bits)
    found = np.arange(size, dtype=np.uint64)
    walking: NDArray[np.int64] = np.arange(size)
    while len(walking):
        value = found[walking]
        left, right = value >> shift, value & mask
        for round_key in round_keys:
            mixed = right + np.uint64(round_key)
            mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(_MULTIPLIERS[0])
            mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(_MULTIPLIERS[1])
            left, right = right, left ^ ((mixed ^ (mixed >> np.uint64(31))) >> high)
        value = left << shift | right
        found[walking] = value
        walking = walking[value >= size]
    return found.astype(np.int64)


def permutation_key(*parts: str | int) -> bytes:
    """A key from a seed and names: ("seed", 3) differs from ("seed3",)."""
    digest = hashlib.blake2b(digest_size=32)
    for part in parts:
        data = str(part).encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.digest()


def _half_bits(size: int) -> int:
    return max(1, ((size - 1).bit_length() + 1) // 2)


def _round_keys(key: bytes) -> tuple[int, ...]:
    digest = hashlib.blake2b(key=key, digest_size=8 * _ROUNDS).digest()
    return tuple(int.from_bytes(digest[8 * number : 8 * number + 8], "little") for number in range(_ROUNDS))
