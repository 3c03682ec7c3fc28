"""A keyed permutation of 0..size-1 that needs no memory: a Feistel network with cycle walking.

The i-th element of a shuffle is computed from i alone, so a loader can resume anywhere without drawing what came
before, and every rank agrees without talking. Black and Rogaway, "Ciphers with Arbitrary Finite Domains" (2002).
"""

from __future__ import annotations

import hashlib

_ROUNDS = 6


def permuted(index: int, size: int, key: bytes) -> int:
    """Where ``index`` goes under the permutation of ``range(size)`` chosen by ``key`` (at most 64 bytes).

    Raises ValueError when ``index`` is outside ``range(size)``.
    """
    if not 0 <= index < size:
        raise ValueError(f"index {index} is outside range({size})")
    half_bits = max(1, ((size - 1).bit_length() + 1) // 2)
    mask = (1 << half_bits) - 1
    value = index
    while True:  # the network permutes 4**half_bits <= 4 * size values; walk on until one lies in range
        left, right = value >> half_bits, value & mask
        for round_number in range(_ROUNDS):
            digest = hashlib.blake2b(
                right.to_bytes(8, "little") + bytes([round_number]), digest_size=8, key=key
            ).digest()
            left, right = right, left ^ (int.from_bytes(digest, "little") & mask)
        value = left << half_bits | right
        if value < size:
            return value


def permutation_key(*parts: str | int) -> bytes:
    """A key from a seed and names: ("seed", 3) differs from ("seed3",)."""
    digest = hashlib.blake2b(digest_size=32)
    for part in parts:
        data = str(part).encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.digest()
