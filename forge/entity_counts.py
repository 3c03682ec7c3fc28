"""How many APIs each source gave: the figures that are compared with what is known of a source."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from forge.lake import Lake, partition_filter
from forge.ledger import current_items

_COLUMNS = ("entity_key", "description", "parameters", "source", "item_id", "partition_key")
_HAS_PARAMETERS = '"properties":{"'
"""In the canonical JSON of a schema that has at least one property."""


@dataclass(frozen=True, slots=True)
class EntityCounts:
    """``rows`` of ``api_entities``; ``entities``: distinct keys; ``documented``: distinct keys with a description or
    parameters; ``rejected``: decisions of the step over the current items' nights."""

    rows: int
    entities: int
    documented: int
    rejected: int


def entity_counts(lake: Lake, night: str, step: str = "parse_apis") -> dict[str, EntityCounts]:
    """By source, sorted, and under "" over all sources, as of a night. Reads the table file by file."""
    items = current_items(lake.read("source_items", up_to=night)).to_pylist()
    alive = {tuple(item.values()) for item in items}
    rows: Counter[str] = Counter()
    keys: dict[str, set[str]] = {}
    documented: dict[str, set[str]] = {}
    files = lake.files("api_entities", where=partition_filter(up_to=night))
    for table in lake.read_files("api_entities", files, _COLUMNS):
        described: Any = pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(table["description"])), pa.scalar(0))
        has_parameters: Any = pc.match_substring(table["parameters"], _HAS_PARAMETERS)
        documents: Any = pc.or_(described, has_parameters)
        columns = [table[name].to_pylist() for name in ("source", "item_id", "partition_key", "entity_key")]
        for source, item_id, seen_on, key, is_documented in zip(*columns, documents.to_pylist(), strict=True):
            if source is not None and (source, item_id, seen_on) in alive:
                rows[source] += 1
                keys.setdefault(source, set()).add(str(key))
                if is_documented:
                    documented.setdefault(source, set()).add(str(key))
    decisions = lake.read("decisions", ["source"], step=step, up_to=night)
    rejected = Counter(str(source) for source in decisions["source"].to_pylist())
    names = sorted({*rows, *rejected})
    counts = {
        name: EntityCounts(rows[name], len(keys.get(name, ())), len(documented.get(name, ())), rejected[name])
        for name in names
    }
    counts[""] = EntityCounts(
        sum(rows.values()),
        len(set().union(*keys.values())),
        len(set().union(*documented.values())),
        sum(rejected.values()),
    )
    return counts
