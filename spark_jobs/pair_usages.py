"""``api_usages``: each Python API beside the clearest usages of it in real code.

An item is one API: its content hash covers what is said of the API and the chosen usages, so a night writes only the
pairs that changed. Chosen on the driver: snippets are short, and only the clearest few of each path are in `usages`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from forge.config import Settings
from forge.lake import partition_filter
from forge.ledger import ledger_delta, ledger_rows
from forge.schema import (
    TABLES,
    ApiEntity,
    Item,
    canonical_json,
    content_hash,
    entity_from_row,
    table_of,
    usage_from_row,
)
from forge.usages.render import joined_license
from forge.usages.select import chosen_usages
from spark_jobs.job import Context, Data, Job

NAME = "pair_usages"


def run(context: Context) -> Mapping[str, Data]:
    night = context.partition_key
    elected = _elected_places(context)
    usages = [usage_from_row(row) for row in context.arrow("usages", scope="current").to_pylist()]
    chosen = chosen_usages(usages, elected, context.settings.corpus.mix.allowed_licenses)
    called = {path for found in chosen.values() for usage in found for path in usage.calls}
    wanted = set(chosen) | {key for key in elected if key.rpartition("/")[2] in called}
    entities = {entity.entity_key: entity for entity in _entities(context, elected, wanted)}
    summaries = {entity.name: entity.summary for _, entity in sorted(entities.items())}
    rows: dict[str, dict[str, Any]] = {}
    for key, found in chosen.items():
        if key not in entities:
            continue
        entity = entities[key]
        shown = [
            {name: value for name, value in usage.row(night).items() if name != "partition_key"} for usage in found
        ]
        told = {path: summaries[path] for usage in found for path in usage.calls if summaries.get(path)}
        rows[key] = {
            "entity_key": key,
            "entity": canonical_json({**entity.row(night), "partition_key": ""}),
            "usages": shown,
            "summaries": canonical_json(told),
            "license": joined_license(*sorted({entity.license, *(usage.license for usage in found)})),
            "source": found[0].source,
            "item_id": key,
            "source_uri": found[0].source_uri,
        }
    items = [Item(row["source"], key, content_hash(canonical_json(row))) for key, row in rows.items()]
    earlier = context.lake.read("source_items", step=NAME)
    earlier = earlier.filter(pc.less(earlier["partition_key"], pa.scalar(night)))
    # What is not chosen any more is gone, whatever its source lists tonight.
    known = {str(source) for source in earlier["source"].to_pylist()} | {item.source for item in items}
    delta = ledger_delta(earlier, items, sources_complete=known)
    python = len(elected)
    context.say(
        f"{len(rows):,} of {python:,} Python APIs have a usage in real code: {len(delta.changed):,} new or changed",
        python_entities=python,
        with_usage=len(rows),
    )
    changed = [{**rows[item.item_id], "partition_key": night} for item in delta.changed]
    return {"source_items": ledger_rows(delta, NAME, night), "api_usages": table_of("api_usages", changed)}


def _elected_places(context: Context) -> dict[str, tuple[str, str, str]]:
    """Key of each Python API -> (source, item_id, source_uri) of the row that stands for it."""
    columns = ["entity_key", "source", "item_id", "source_uri", "state", "partition_key"]
    rows: Any = context.arrow("entity_versions", columns)
    newest: dict[str, Mapping[str, Any]] = {}
    for row in rows.filter(pc.starts_with(rows["entity_key"], "python/")).to_pylist():
        known = newest.get(row["entity_key"])
        if known is None or row["partition_key"] > known["partition_key"]:
            newest[row["entity_key"]] = row
    return {
        key: (row["source"], row["item_id"], row["source_uri"])
        for key, row in sorted(newest.items())
        if row["state"] == "present"
    }


def _entities(
    context: Context, elected: Mapping[str, tuple[str, str, str]], wanted: Collection[str]
) -> Iterator[ApiEntity]:
    """The elected rows of some keys, newest night first, read file by file; of equal places the first."""
    keys = pa.array(sorted(wanted), pa.string())
    files = context.lake.files("api_entities", where=partition_filter(up_to=context.partition_key))
    seen: set[str] = set()
    names = TABLES["api_entities"].names
    for table in context.lake.read_files(
        "api_entities", sorted(files, key=lambda file: file.path, reverse=True), names
    ):
        mask: Any = pc.is_in(table["entity_key"], value_set=keys)
        found = table.filter(mask).to_pylist()
        for row in sorted(found, key=lambda row: (row["entity_key"], row["description"], row["parameters"])):
            key = row["entity_key"]
            if key not in seen and elected[key] == (row["source"], row["item_id"], row["source_uri"]):
                seen.add(key)
                yield entity_from_row(row)


def settings(found: Settings) -> object:
    return [found.corpus.mix.allowed_licenses]


JOB = Job(
    name=NAME,
    writes=("source_items", "api_usages"),
    reads=("usages", "entity_versions", "api_entities"),
    run=run,
    settings=settings,
)
