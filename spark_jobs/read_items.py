"""Reading items of sources into a table: listing, ledger, one Spark task per handful of items, decisions.

The three reading jobs (parse_apis, parse_trajectories, read_texts) differ only in their readers and their table.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import functions as F
from pyspark.sql.types import StructField, StructType

from forge.config import ConfigurationError, Settings
from forge.fingerprint import code_hash, value_hash
from forge.ledger import ledger_delta, ledger_rows
from forge.schema import TABLES, Decision, Item, canonical_json, content_hash, table_of
from spark_jobs.job import Context, Data, Job
from spark_jobs.session import spark_schema

_BATCH_ROWS = 500


def list_sources(settings: Settings, readers: Mapping[str, str]) -> tuple[list[Item], list[Decision]]:
    """Every item of every enabled source that the readers know, its content hash covering the reader's code and the
    source's settings too. A source that is not required and cannot be listed gives a decision instead."""
    items: list[Item] = []
    absent: list[Decision] = []
    for name, source in settings.enabled_sources().items():
        if source.type not in readers:
            continue
        module = readers[source.type]
        basis = code_hash(module) + value_hash(source)
        try:
            listed = list(importlib.import_module(module).list_items(name, source, settings))
        except ConfigurationError as error:
            if source.required:
                raise
            absent.append(Decision(name, name, "list", "source_not_available", str(error)))
            continue
        items.extend(
            Item(item.source, item.item_id, content_hash(item.content_hash, basis), item.locator) for item in listed
        )
    return items, absent


def reading_job(name: str, table: str, readers: Mapping[str, str]) -> Job:
    """The job that reads all items of the given source types into ``table``. ``readers`` maps a source type to the
    module that offers ``list_items`` and ``read_item``."""

    def external(context: Context) -> object:
        items, absent = list_sources(context.settings, readers)
        return [
            [[item.source, item.item_id, item.content_hash] for item in items],
            [decision.item_id for decision in absent],
        ]

    def run(context: Context) -> Mapping[str, Data]:
        items, absent = list_sources(context.settings, readers)
        night = context.partition_key
        earlier = context.lake.read("source_items", step=name)
        earlier = earlier.filter(pc.less(earlier["partition_key"], pa.scalar(night)))
        delta = ledger_delta(earlier, items)
        context.say(
            f"{len(items):,} items listed: {len(delta.changed):,} to read, {delta.unchanged:,} unchanged, "
            f"{len(delta.removed):,} gone"
        )
        absent_rows = table_of("decisions", [decision.row(night) for decision in absent]).to_pylist()
        for row in absent_rows:
            row["step"] = name
        if not delta.changed:
            return {
                "decisions": table_of("decisions", absent_rows),
                "source_items": ledger_rows(delta, name, night),
                table: TABLES[table].empty_table(),
            }
        work = [(item.source, item.item_id, item.content_hash, canonical_json(item.locator)) for item in delta.changed]
        tasks = min(len(work), 16 * context.spark.sparkContext.defaultParallelism)
        frame = context.spark.createDataFrame(
            work, "source string, item_id string, content_hash string, locator string"
        )
        outcome = StructType(
            [StructField("row", spark_schema(table)), StructField("decision", spark_schema("decisions"))]
        )
        parsed = (
            frame.repartition(tasks, F.xxhash64("source", "item_id"))
            .mapInArrow(_reader_of(name, table, dict(readers), context.settings, night), outcome)
            .persist()
        )
        decisions = parsed.where("decision IS NOT NULL").select("decision.*")
        if absent_rows:
            decisions = decisions.unionByName(context.frame("decisions", table_of("decisions", absent_rows)))
        return {
            "decisions": decisions,
            "source_items": ledger_rows(delta, name, night),
            table: parsed.where("row IS NOT NULL").select("row.*"),
        }

    def settings(found: Settings) -> object:
        return {key: value for key, value in found.enabled_sources().items() if value.type in readers}

    return Job(
        name=name, writes=("decisions", "source_items", table), reads=(), run=run, settings=settings, external=external
    )


def _reader_of(step: str, table: str, readers: Mapping[str, str], settings: Settings, night: str) -> Any:
    schema = pa.schema(
        [
            pa.field("row", pa.struct(list(TABLES[table]))),
            pa.field("decision", pa.struct(list(TABLES["decisions"]))),
        ]
    )

    def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        pending: list[dict[str, object]] = []
        for batch in batches:
            for work in batch.to_pylist():
                item = Item(work["source"], work["item_id"], work["content_hash"], orjson.loads(work["locator"]))
                for kind, row in read_safely(item, step, readers, settings, night):
                    pending.append({"row": None, "decision": None, kind: row})
                    if len(pending) >= _BATCH_ROWS:
                        yield from storable_batches(pending, schema, step, night)
                        pending = []
        if pending:
            yield from storable_batches(pending, schema, step, night)

    return read


def storable_batches(rows: list[dict[str, Any]], schema: pa.Schema, step: str, night: str) -> Iterator[pa.RecordBatch]:
    """The rows as one batch. What no table can hold (an integer of more than 64 bits, half a surrogate pair) becomes a
    decision, and the rows beside it are kept."""
    try:
        yield pa.RecordBatch.from_pylist(rows, schema=schema)
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        if len(rows) > 1:
            for row in rows:
                yield from storable_batches([row], schema, step, night)
            return
        known = rows[0]["row"] or rows[0]["decision"]
        source, item_id = (
            str(known[key]).encode("utf-8", "backslashreplace").decode() for key in ("source", "item_id")
        )
        detail = f"a row that no table can hold: {type(error).__name__}"
        decision = Decision(source, item_id, step, "reader_failed", detail).row(night)
        yield pa.RecordBatch.from_pylist([{"row": None, "decision": decision}], schema=schema)


def read_safely(
    item: Item, step: str, readers: Mapping[str, str], settings: Settings, night: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """What a reader makes of an item, as ("row" or "decision", its table row). An exception, also one while a row is
    made (nesting that JSON cannot hold), becomes one decision; what came before it is kept."""
    source = settings.sources[item.source]
    try:
        for outcome in importlib.import_module(readers[source.type]).read_item(item, source, settings):
            row = outcome.row(night)
            yield ("decision", {**row, "step": step}) if isinstance(outcome, Decision) else ("row", row)
    except Exception as error:  # noqa: BLE001 - a bad item never ends a run
        yield (
            "decision",
            Decision(item.source, item.item_id, step, "reader_failed", f"{type(error).__name__}: {error}").row(night),
        )
