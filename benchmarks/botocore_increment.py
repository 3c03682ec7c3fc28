"""From one release of botocore to the next: what is read again, and what changes downstream.

    python -m benchmarks.botocore_increment --before OLD/botocore/data --after NEW/botocore/data --json

Every dated version of every service is an item. Ours reads only the items that the ledger calls changed; the peer
reads everything again, and shows what the ledger may have missed. Operations that came and went are counted a second
time straight from the raw JSON.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from benchmarks.machine import machine, versions
from forge.apis import botocore
from forge.apis.render import render
from forge.config import Settings, SourceSettings, load_settings
from forge.ledger import Delta, ledger_delta, ledger_rows
from forge.schema import ApiEntity, Item, canonical_json, content_hash

MAX_CPU_SECONDS = 30
_SOURCE = "aws_service_models"
_PACKAGES = ("orjson", "selectolax")

Operation = tuple[str, str]
"""Item ("lambda@2015-03-31") and name."""


@dataclass(frozen=True)
class Release:
    """One folder of service models."""

    folder: Path
    source: SourceSettings
    settings: Settings
    items: Mapping[str, Item]

    def read(self, item_ids: Iterable[str]) -> Iterator[ApiEntity]:
        """Raises AssertionError when an operation is not understood: nothing would be comparable."""
        for item_id in item_ids:
            for row in botocore.read_item(self.items[item_id], self.source, self.settings):
                assert isinstance(row, ApiEntity), row
                yield row

    def raw_operations(self) -> set[Operation]:
        """Straight from the JSON."""
        found: set[Operation] = set()
        for path in self.folder.glob("*/*/service-2.json*"):
            if path.name in {"service-2.json", "service-2.json.gz"}:
                data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
                item_id = f"{path.parent.parent.name}@{path.parent.name}"
                found |= {(item_id, name) for name in orjson.loads(data)["operations"]}
        return found


def release(folder: Path, settings: Settings) -> Release:
    source = SourceSettings(type="botocore", license="Apache-2.0", options={"folder": str(folder), "versions": "all"})
    items = {item.item_id: item for item in botocore.list_items(_SOURCE, source, settings)}
    return Release(folder, source, settings, items)


def delta_of(before: Release, after: Release) -> Delta:
    """What a night with ``after`` has to do when the last one saw ``before``."""
    empty = ledger_rows(Delta((), (), 0), "parse_apis", "2026-01-01")
    first = ledger_rows(ledger_delta(empty, before.items.values()), "parse_apis", "2026-01-01")
    return ledger_delta(first, after.items.values())


def content(entity: ApiEntity) -> str:
    """A hash of all that an entity states; where it was read (``source_uri`` names the release) is not part of it."""
    row = entity.row("")
    del row["source_uri"]
    return content_hash(canonical_json(row))


@dataclass
class Difference:
    """Between two releases, by operation. ``new_documents`` counts those that no text of the same item had before."""

    operations: int = 0
    added: set[Operation] = field(default_factory=set)
    removed: set[Operation] = field(default_factory=set)
    changed: set[Operation] = field(default_factory=set)
    new_documents: dict[Operation, int] = field(default_factory=dict)


def difference(before: Release, after: Release, touched: set[str]) -> Difference:
    """Reads all of both, item by item, whatever the ledger says. Documents are compared in touched items: in others
    every operation is unchanged, which the comparison of contents shows."""
    found = Difference()
    for item_id in sorted({*before.items, *after.items}):
        old, known = _contents(before, item_id, item_id in touched)
        new, texts = _contents(after, item_id, item_id in touched)
        found.operations += len(new)
        found.added |= {(item_id, name) for name in new.keys() - old.keys()}
        found.removed |= {(item_id, name) for name in old.keys() - new.keys()}
        found.changed |= {(item_id, name) for name in new.keys() & old.keys() if new[name] != old[name]}
        seen = set().union(*known.values())
        for name, documents in texts.items():
            if fresh := documents - seen:
                found.new_documents[item_id, name] = len(fresh)
    return found


def _contents(side: Release, item_id: str, is_rendered: bool) -> tuple[dict[str, str], dict[str, set[str]]]:
    """Content and ids of the documents of each operation of one item; nothing when the release has no such item."""
    contents: dict[str, str] = {}
    documents: dict[str, set[str]] = {}
    for entity in side.read([item_id] if item_id in side.items else []):
        contents[entity.name] = content(entity)
        if is_rendered:
            documents[entity.name] = {document.doc_id for document in render(entity)}
    return contents, documents


def measure(before_folder: Path, after_folder: Path) -> dict[str, Any]:
    settings = load_settings("demo", environment={})
    before = release(before_folder, settings)
    started = time.process_time()
    after = release(after_folder, settings)
    delta = delta_of(before, after)
    listing = time.process_time() - started
    touched = [item.item_id for item in delta.changed]
    started = time.process_time()
    read_again = sum(1 for _ in after.read(touched))
    increment = time.process_time() - started + listing
    started = time.process_time()
    read_all = sum(1 for _ in after.read(after.items))
    everything = time.process_time() - started + listing

    found = difference(before, after, set(touched))
    raw_before, raw_after = before.raw_operations(), after.raw_operations()
    came_or_changed = found.added | found.changed
    unseen = [operation for operation in came_or_changed if operation[0] not in set(touched)]
    needless = found.new_documents.keys() - came_or_changed
    wrong = (found.added ^ (raw_after - raw_before)) | (found.removed ^ (raw_before - raw_after))
    return {
        "name": "botocore_increment",
        "machine": machine(),
        "versions": versions(_PACKAGES),
        "ours": {
            "items": len(after.items),
            "items_changed": len(touched),
            "items_removed": len(delta.removed),
            "operations": found.operations,
            "operations_read_again": read_again,
            "operations_added": len(found.added),
            "operations_removed": len(found.removed),
            "operations_changed": len(found.changed),
            "documents_new": sum(found.new_documents.values()),
            "list_cpu_seconds": round(listing, 2),
            "cpu_seconds": round(increment, 2),
        },
        "peers": {"everything_again": {"operations_read_again": read_all, "cpu_seconds": round(everything, 2)}},
        "ratios": {"increment / everything again, CPU seconds": round(increment / max(everything, 0.001), 2)},
        "agreements": {
            "raw_json": {
                "operations_added": len(raw_after - raw_before),
                "operations_removed": len(raw_before - raw_after),
                "differing": len(wrong),
            }
        },
        "bars": [
            _bar("changed operations outside the items that are read again", len(unseen), 0),
            _bar("unchanged operations with new documents", len(needless), 0),
            _bar("operations that came or went, unlike in raw JSON", len(wrong), 0),
            _bar("CPU seconds of everything", round(everything, 2), MAX_CPU_SECONDS),
        ],
    }


def _bar(name: str, value: float, limit: float) -> dict[str, Any]:
    return {"name": name, "value": value, "limit": limit, "passed": value <= limit}


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the measurement; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.botocore_increment", description=__doc__)
    parser.add_argument("--before", type=Path, required=True, help="folder of service models of the earlier release")
    parser.add_argument("--after", type=Path, required=True, help="folder of service models of the later release")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    chosen = parser.parse_args(arguments)
    result = measure(chosen.before, chosen.after)
    print(json.dumps(result, indent=2) if chosen.json else "\n".join(_table(result)))
    return 0 if all(bar["passed"] for bar in result["bars"]) else 1


def _table(result: Mapping[str, Any]) -> Iterator[str]:
    for name, value in result["ours"].items():
        yield f"{name.replace('_', ' '):<24}{value:>10,}"
    peer = result["peers"]["everything_again"]
    yield f"everything again: {peer['operations_read_again']:,} operations, {peer['cpu_seconds']} CPU s"
    for bar in result["bars"]:
        yield f"{'passed' if bar['passed'] else 'MISSED'}  {bar['name']}: {bar['value']:,} (bar {bar['limit']:,})"


if __name__ == "__main__":
    sys.exit(main())
