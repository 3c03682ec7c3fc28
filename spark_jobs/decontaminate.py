"""``contamination``: benchmark items found in documents, each with its evidence (D10).

Every current document is compared every night: a new release of the benchmark must reach old documents too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from forge.config import Settings
from forge.decontaminate import BFCL, BenchmarkIndex, benchmark_index, matches
from forge.schema import TABLES, table_of
from spark_jobs.job import Context, Data, Job
from spark_jobs.session import spark_schema

_Batches = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def _run(context: Context) -> Mapping[str, Data]:
    index = benchmark_index(context.settings)
    context.say(f"{index.items:,} benchmark items: {len(index.ngrams):,} n-grams, {len(index.signatures):,} signatures")
    located = context.current("document_sources", ["doc_id", "source", "item_id"]).cache()
    alive = located.select("doc_id").distinct()
    documents = context.table("documents", ["doc_id", "entity_key", "text"]).join(alive, "doc_id", "left_semi")
    found = find_contamination(documents, _entity_signatures(context, index), index, context.partition_key).toArrow()
    denied = _denied(located, context.settings.corpus.decontaminate.denied_sources, context.partition_key)
    located.unpersist()
    rows = pa.concat_tables([found.cast(TABLES["contamination"]), denied]).sort_by(
        [("doc_id", "ascending"), ("method", "ascending"), ("item", "ascending")]
    )
    counts = Counter(rows["method"].to_pylist())
    context.say(f"{len(set(rows['doc_id'].to_pylist())):,} documents hit", hits_by_method=dict(sorted(counts.items())))
    return {"contamination": rows}


def find_contamination(
    documents: DataFrame, entities: Mapping[str, list[tuple[str, str]]], index: BenchmarkIndex, partition_key: str
) -> DataFrame:
    """Rows of ``contamination``. ``documents``: doc_id, entity_key, text.

    ``entities``: entity_key to its (signature key, description), for those whose key some benchmark item has.
    """
    return documents.select("doc_id", "entity_key", "text").mapInArrow(
        _matching(entities, index, partition_key), spark_schema("contamination")
    )


def _matching(entities: Mapping[str, list[tuple[str, str]]], index: BenchmarkIndex, partition_key: str) -> _Batches:
    schema = TABLES["contamination"]

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            rows: list[dict[str, Any]] = []
            columns = (batch.column(name).to_pylist() for name in ("doc_id", "entity_key", "text"))
            for doc_id, entity_key, text in zip(*columns, strict=True):
                hits = {
                    hit
                    for key, description in entities.get(str(entity_key), [(None, "")])
                    for hit in matches(str(text), key, index, description)
                }
                rows += [
                    {
                        "doc_id": doc_id, "benchmark": hit.benchmark, "item": hit.item, "method": hit.method,
                        "evidence": hit.evidence, "partition_key": partition_key,
                    }
                    for hit in sorted(hits, key=lambda hit: (hit.method, hit.item, hit.evidence))
                ]  # fmt: skip
            yield pa.RecordBatch.from_pylist(rows, schema=schema)

    return run


def _entity_signatures(context: Context, index: BenchmarkIndex) -> dict[str, list[tuple[str, str]]]:
    """The entities whose signature key some benchmark item has: few, so they travel with the function."""
    keys = context.spark.createDataFrame([(key,) for key in sorted(index.signatures)], "signature_key string")
    entities = context.current("api_entities", ["entity_key", "signature_key", "description"])
    rows = entities.join(F.broadcast(keys), "signature_key").select("entity_key", "signature_key", "description")
    found: dict[str, list[tuple[str, str]]] = {}
    for entity_key, key, description in sorted(set(map(tuple, rows.collect()))):
        found.setdefault(entity_key, []).append((key, description))
    return found


def _denied(located: DataFrame, denied_sources: tuple[str, ...], partition_key: str) -> pa.Table:
    """Documents that come from a source, or from an item of it, that is named as a benchmark."""
    names = sorted({name.replace("-", "_").lower() for name in denied_sources})
    folded = (F.regexp_replace(F.lower(F.col(name)), "-", "_") for name in ("source", "item_id"))
    source, item = folded
    rows = (
        located.where(source.isin(names) | item.isin(names)).select("doc_id", "source", "item_id").distinct().collect()
    )
    return table_of(
        "contamination",
        (
            {
                "doc_id": row["doc_id"], "benchmark": row["source"], "item": row["item_id"], "method": "denied_source",
                "evidence": f"source {row['source']}", "partition_key": partition_key,
            }
            for row in rows
        ),
    )  # fmt: skip


def _settings(settings: Settings) -> object:
    pinned = settings.artifacts[BFCL].sha256 if BFCL in settings.artifacts else None
    return [settings.corpus.decontaminate.model_dump(mode="json"), pinned]


JOB = Job(
    name="decontaminate",
    writes=("contamination",),
    reads=("documents", "document_sources", "source_items", "api_entities"),
    run=_run,
    settings=_settings,
    rate_of="documents",
)
