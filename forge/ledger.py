"""The item ledger (DESIGN D7): which items of a source are new, changed, unchanged or gone.

``source_items`` is append-only by night. A night looks at earlier nights only, so running an old night again gives that
night's delta again. An unchanged item writes no row: the newest row of an item is its current state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from forge.schema import Item, table_of


@dataclass(frozen=True, slots=True)
class Delta:
    """``changed`` holds new items and items with other content, ``removed`` the (source, item_id) that are gone."""

    changed: tuple[Item, ...]
    removed: tuple[tuple[str, str], ...]
    unchanged: int


def newest_sightings(source_items: pa.Table) -> dict[tuple[str, str], Mapping[str, Any]]:
    """The newest ``source_items`` row of each (source, item_id)."""
    newest: dict[tuple[str, str], Mapping[str, Any]] = {}
    for row in source_items.to_pylist():
        key = (row["source"], row["item_id"])
        if key not in newest or row["partition_key"] > newest[key]["partition_key"]:
            newest[key] = row
    return newest


def ledger_delta(earlier: pa.Table, items: Iterable[Item], *, sources_complete: Iterable[str] | None = None) -> Delta:
    """Compare tonight's listing with the rows of earlier nights.

    ``sources_complete`` names the sources whose listing is known to be whole; only their missing items count as
    removed. Default: every source that lists at least one item tonight. Raises ValueError when an item is listed twice.
    """
    listing: dict[tuple[str, str], Item] = {}
    for item in items:
        key = (item.source, item.item_id)
        if key in listing:
            raise ValueError(f"source {item.source!r} lists item {item.item_id!r} twice")
        listing[key] = item
    complete = {source for source, _ in listing} if sources_complete is None else set(sources_complete)
    known = {key: row for key, row in newest_sightings(earlier).items() if row["state"] == "present"}
    changed = tuple(
        item
        for key, item in sorted(listing.items())
        if key not in known or known[key]["content_hash"] != item.content_hash
    )
    removed = tuple(sorted(key for key in known if key not in listing and key[0] in complete))
    return Delta(changed, removed, len(listing) - len(changed))


def ledger_rows(delta: Delta, step: str, partition_key: str) -> pa.Table:
    """The ``source_items`` rows of a night."""
    present = [
        {"source": item.source, "item_id": item.item_id, "content_hash": item.content_hash, "state": "present"}
        for item in delta.changed
    ]
    removed = [
        {"source": source, "item_id": item_id, "content_hash": "", "state": "removed"}
        for source, item_id in delta.removed
    ]
    return table_of(
        "source_items", [{**row, "step": step, "partition_key": partition_key} for row in present + removed]
    )


def current_items(source_items: pa.Table) -> pa.Table:
    """(source, item_id, partition_key) of every item whose newest sighting is ``present``."""
    rows = [row for row in newest_sightings(source_items).values() if row["state"] == "present"]
    names = ("source", "item_id", "partition_key")
    return pa.table({name: pa.array([row[name] for row in rows], pa.string()) for name in names})
