"""Render the night's new API entities, trajectories, pages and texts into `documents` and `document_sources`.

`documents` holds each doc_id once over all nights; every place that a text came from is a row of `document_sources`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from typing import Any

import orjson
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructField, StructType

import forge.apis.render
import forge.text.render
import forge.trajectories.render
import forge.usages.render
from forge.config import Settings
from forge.schema import TABLES, Decision, Document, entity_from_row, trajectory_from_row, usage_from_row
from spark_jobs.job import Context, Data, Job
from spark_jobs.session import spark_schema

_BATCH_ROWS = 500
_INPUTS = ("api_entities", "api_usages", "trajectories", "web_pages", "texts")

Outcome = Document | Decision
Renderer = Callable[[Mapping[str, Any], float, int], Iterator[Outcome]]


def _render_entity(row: Mapping[str, Any], held_out_share: float, max_characters: int) -> Iterator[Outcome]:
    yield from forge.apis.render.render(entity_from_row(row), held_out_share, max_characters)


def _render_usages(row: Mapping[str, Any], held_out_share: float, max_characters: int) -> Iterator[Outcome]:
    entity, summaries = entity_from_row(orjson.loads(row["entity"])), orjson.loads(row["summaries"])
    usages = [usage_from_row(usage) for usage in row["usages"]]
    for made in forge.usages.render.render_usages(entity, usages, summaries, held_out_share, max_characters):
        yield made.document


def _render_trajectory(row: Mapping[str, Any], held_out_share: float, max_characters: int) -> Iterator[Outcome]:
    yield from forge.trajectories.render.render(trajectory_from_row(row), held_out_share, max_characters)


def _render_page(row: Mapping[str, Any], held_out_share: float, max_characters: int) -> Iterator[Outcome]:
    yield from forge.text.render.render_text(row, "web", held_out_share, max_characters)


def _render_text(row: Mapping[str, Any], held_out_share: float, max_characters: int) -> Iterator[Outcome]:
    yield from forge.text.render.render_text(row, row["kind"], held_out_share, max_characters)


RENDERERS: Mapping[str, Renderer] = {
    "api_entities": _render_entity,
    "api_usages": _render_usages,
    "trajectories": _render_trajectory,
    "web_pages": _render_page,
    "texts": _render_text,
}


def _outcome_schema() -> pa.Schema:
    documents = [field for field in TABLES["documents"] if field.name != "partition_key"]
    return pa.schema(
        [
            pa.field("document", pa.struct(documents)),
            pa.field("source", pa.struct(list(TABLES["document_sources"]))),
            pa.field("decision", pa.struct(list(TABLES["decisions"]))),
        ]
    )


def _spark_outcome() -> StructType:
    documents = StructType([field for field in spark_schema("documents") if field.name != "partition_key"])
    return StructType(
        [
            StructField("document", documents),
            StructField("source", spark_schema("document_sources")),
            StructField("decision", spark_schema("decisions")),
        ]
    )


def _places(row: Mapping[str, Any]) -> list[str]:
    """Where the row's text came from; a text that was made of several things came from each of them."""
    if "usages" in row:
        uris = [orjson.loads(row["entity"])["source_uri"], *(usage["source_uri"] for usage in row["usages"])]
        return list(dict.fromkeys(uris))
    record = f"#{row['episode']}" if row.get("episode") else ""
    return [row.get("source_uri") or row.get("uri") or f"{row['source']}:{row['item_id']}{record}"]


def _renderer_of(table: str, night: str, held_out_share: float, max_characters: int) -> Any:
    schema = _outcome_schema()

    def outcomes(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        origin = {"source": row["source"], "item_id": row["item_id"], "license": row["license"], "partition_key": night}
        try:
            for outcome in RENDERERS[table](row, held_out_share, max_characters):
                if isinstance(outcome, Decision):
                    yield {"document": None, "source": None, "decision": outcome.row(night)}
                else:
                    found: dict[str, Any] | None = {
                        name: value for name, value in outcome.row(night).items() if name != "partition_key"
                    }
                    for uri in _places(row):
                        place = {"doc_id": outcome.doc_id, **origin, "uri": uri}
                        yield {"document": found, "source": place, "decision": None}
                        found = None  # the text itself once
        except Exception as error:  # noqa: BLE001 - a bad item never ends a run
            detail = f"{type(error).__name__}: {error}"
            failed = Decision(row["source"], row["item_id"], "render", "render_failed", detail)
            yield {"document": None, "source": None, "decision": failed.row(night)}

    def render(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        pending: list[dict[str, Any]] = []
        for batch in batches:
            for row in batch.to_pylist():
                pending.extend(outcomes(row))
                if len(pending) >= _BATCH_ROWS:
                    yield pa.RecordBatch.from_pylist(pending, schema=schema)
                    pending = []
        if pending:
            yield pa.RecordBatch.from_pylist(pending, schema=schema)

    return render


def run(context: Context) -> Mapping[str, Data]:
    night, corpus = context.partition_key, context.settings.corpus
    frames: list[DataFrame] = [
        context.night(table).mapInArrow(
            _renderer_of(table, night, corpus.held_out_share, corpus.max_document_characters), _spark_outcome()
        )
        for table in _INPUTS
    ]
    rendered = reduce(DataFrame.union, frames).persist()
    documents = rendered.where("document IS NOT NULL").select("document.*")
    # One row a text. Which entity a shared text is filed under must not depend on the order of arrival.
    attributes = ["kind", "form", "entity_key", "split", "outcome"]
    unique = documents.groupBy("doc_id").agg(
        F.min(F.struct(*attributes)).alias("chosen"),
        F.first("text_key").alias("text_key"),  # equal doc_id means equal text: any row will do
        F.first("text").alias("text"),
        F.first("characters").alias("characters"),
    )
    earlier = (
        context.table("documents", ["doc_id", "partition_key"]).where(F.col("partition_key") < night).select("doc_id")
    )
    fresh = unique.join(earlier, "doc_id", "left_anti")
    return {
        "decisions": rendered.where("decision IS NOT NULL").select("decision.*"),
        "document_sources": rendered.where("source IS NOT NULL").select("source.*").distinct(),
        "documents": fresh.select(
            "doc_id",
            "text_key",
            *[F.col(f"chosen.{name}").alias(name) for name in attributes],
            "text",
            "characters",
            F.lit(night).alias("partition_key"),
        ),
    }


def settings(found: Settings) -> object:
    return [
        found.corpus.held_out_share,
        found.corpus.max_document_characters,
        forge.apis.render.render_version(),
        forge.trajectories.render.render_version(),
    ]


JOB = Job(
    name="render", writes=("decisions", "document_sources", "documents"), reads=_INPUTS, run=run, settings=settings
)
