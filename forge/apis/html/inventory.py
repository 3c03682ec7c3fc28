"""Sphinx inventories (``objects.inv``, version 2): every name that a site documents, and where. No texts, so no
entities: an inventory tells what a reader of the pages has to find."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

MAX_UNPACKED_BYTES = 64 * 1024 * 1024
_HEADER = re.compile(
    rb"# Sphinx inventory version 2\r?\n# Project:[^\n]{0,1000}\n# Version:[^\n]{0,1000}\n"
    rb"#[^\n]{0,200}zlib[^\n]{0,200}\n"
)
# A name may hold blanks: what follows it tells where it ends.
_ENTRY = re.compile(r"(?P<name>.+?)\s+(?P<role>[^\s:]+:\S+)\s+(?P<priority>-?\d+)\s+(?P<uri>\S*)\s+(?P<title>.*)")


class InventoryError(ValueError):
    """The bytes are no inventory of version 2, or one that is too large."""


@dataclass(frozen=True, slots=True)
class InventoryEntry:
    """``role`` is domain and type ("py:function", "c:macro"); ``uri`` is below the site's root, with its anchor."""

    name: str
    role: str
    uri: str


def read_inventory(content: bytes) -> list[InventoryEntry]:
    """The entries in the order of the file. Raises :class:`InventoryError`."""
    header = _HEADER.match(content)
    if header is None:
        raise InventoryError("no inventory of version 2: the four lines of its head are not there")
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(content[header.end() :], MAX_UNPACKED_BYTES)
    except zlib.error as error:
        raise InventoryError(f"byte {header.end()}: {error}") from None
    if unpacker.unconsumed_tail:
        raise InventoryError(f"more than {MAX_UNPACKED_BYTES:,} bytes unpacked")
    if not unpacker.eof:
        raise InventoryError("the compressed part ends in the middle")
    entries = []
    for number, line in enumerate(text.decode("utf-8", "replace").splitlines(), start=5):
        if not line.strip():
            continue
        entry = _ENTRY.fullmatch(line.rstrip()[:10_000])
        if entry is None:
            raise InventoryError(f"line {number}: not of the form: name role priority uri title")
        name, uri = entry["name"], entry["uri"]
        entries.append(InventoryEntry(name, entry["role"], uri[:-1] + name if uri.endswith("$") else uri))
    return entries
