"""Sphinx inventories."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.apis.html import inventory
from forge.apis.html.inventory import InventoryEntry, InventoryError, read_inventory

HEAD = (
    b"# Sphinx inventory version 2\n# Project: Shop\n# Version: 1.0\n"
    b"# The remainder of this file is compressed using zlib.\n"
)
LINES = """shop.Cart py:class 1 api.html#$ -
shop.Cart.add py:method 1 api.html#$ -
two words std:label -1 guide.html#two-words Two Words
c_add c:function 1 c.html#c.$ -
"""


def packed(text: str) -> bytes:
    return HEAD + zlib.compress(text.encode())


def test_names_roles_and_places() -> None:
    assert read_inventory(packed(LINES)) == [
        InventoryEntry("shop.Cart", "py:class", "api.html#shop.Cart"),
        InventoryEntry("shop.Cart.add", "py:method", "api.html#shop.Cart.add"),
        InventoryEntry("two words", "std:label", "guide.html#two-words"),
        InventoryEntry("c_add", "c:function", "c.html#c.c_add"),
    ]


def test_a_bomb_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "MAX_UNPACKED_BYTES", 1000)
    with pytest.raises(InventoryError, match="more than 1,000 bytes"):
        read_inventory(packed("a py:class 1 a.html -\n" * 100_000))


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "no inventory of version 2"),
        (b"# Sphinx inventory version 1\n# Project: a\n# Version: 1\na mod a.html\n", "no inventory of version 2"),
        (HEAD + b"not zlib", f"byte {len(HEAD)}"),
        (packed(LINES)[:-6], "ends in the middle"),
        (packed("a line without roles\n"), "line 5"),
    ],
)
def test_what_is_no_inventory_says_why(content: bytes, cause: str) -> None:
    with pytest.raises(InventoryError, match=cause):
        read_inventory(content)


@given(st.binary(max_size=300), st.integers(0, 200))
def test_no_bytes_break_it(noise: bytes, at: int) -> None:
    good = packed(LINES)
    for content in (HEAD + noise, good[:at] + noise + good[at:], packed(noise.decode("latin-1"))):
        try:
            entries = read_inventory(content)
        except InventoryError:
            continue
        assert all(entry.name and ":" in entry.role for entry in entries)
