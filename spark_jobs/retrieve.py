"""``neighbours``: for each seed document the most similar web pages, found exactly (D9).

Seeds are API documents and trajectories, thinned over providers. Both they and the pages are embedded in partitions;
each partition of pages answers all seeds with FAISS and keeps its best; the lists are merged per seed. A row with rank
0 holds the seed's similarity to one page that a hash chose: the baseline that retrieval must beat. All of the best k
are kept whatever their score; `mix` applies ``corpus.retrieve.min_score``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from forge.config import RetrieveSettings, Settings
from forge.retrieve.encoder import Encoder, Vectors, encoder_path, first_words
from forge.retrieve.search import RANDOM_RANK, Neighbour, merge, random_pages, retrieval_margin, search, similarity
from forge.schema import CHAT_FORM, table_of
from spark_jobs.job import Context, Data, Job
from spark_jobs.thinning import stratum_column, thinned

_VECTOR_COLUMNS = (("doc_id", pa.string()), ("vector", pa.binary()))
_VECTOR_SCHEMA = pa.schema([pa.field(name, kind) for name, kind in _VECTOR_COLUMNS])
_PARTIAL_COLUMNS = (("seed_id", pa.string()), ("doc_id", pa.string()), ("score", pa.float64()), ("rank", pa.int64()))
_PARTIAL_SCHEMA = pa.schema([pa.field(name, kind) for name, kind in _PARTIAL_COLUMNS])
_Batches = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def _run(context: Context) -> Mapping[str, Data]:
    settings = context.settings.corpus.retrieve
    located = context.current("document_sources", ["doc_id", "source"])
    documents = context.table("documents")
    narrow = (
        documents.select("doc_id", "kind", "form", "entity_key", "split")
        .join(located.groupBy("doc_id").agg(F.min("source").alias("source")), "doc_id")
        .withColumn("stratum", stratum_column())
        .cache()
    )
    is_seed = F.col("kind").isin("api_doc", "trajectory") & (F.col("form") != CHAT_FORM) & (F.col("split") == "train")
    seeds = thinned(narrow.where(is_seed), settings.max_seed_documents)
    pages = narrow.where("kind = 'web'")
    texts = documents.select("doc_id", "text")
    neighbours = find_neighbours(texts, seeds.select("doc_id"), pages.select("doc_id"), settings)
    narrow.unpersist()
    rows: list[dict[str, Any]] = [{**asdict(one), "partition_key": context.partition_key} for one in neighbours]
    margin = retrieval_margin(rows)
    context.say(
        f"{len({row['doc_id'] for row in rows if row['rank']}):,} pages retrieved; similarity to seeds is "
        + ("not evaluated" if margin is None else f"{margin:+.3f} against random pages"),
        retrieval_margin=margin,
    )
    return {"neighbours": table_of("neighbours", rows)}


def find_neighbours(
    texts: DataFrame, seeds: DataFrame, pages: DataFrame, settings: RetrieveSettings
) -> list[Neighbour]:
    """The merged answer, and the baseline rows. ``texts``: doc_id, text. ``seeds`` and ``pages``: doc_id."""
    spark = texts.sparkSession
    slots = spark.sparkContext.defaultParallelism
    page_ids = sorted(row[0] for row in _rows(pages.toArrow()))
    seed_frame = seeds.cache()
    if not page_ids or not seed_frame.count():
        return []
    folder = str(encoder_path(settings.model))
    encoded = (
        texts.join(F.broadcast(seed_frame), "doc_id")
        .repartition(slots)
        .mapInArrow(_encode(folder, settings.max_words), "doc_id string, vector binary")
        .toArrow()
        .sort_by("doc_id")
    )
    seed_frame.unpersist()
    seed_ids = encoded["doc_id"].to_pylist()
    vectors = np.stack([np.frombuffer(value, dtype=np.float32) for value in encoded["vector"].to_pylist()])
    wanted = spark.createDataFrame([(page_id,) for page_id in page_ids], "doc_id string")
    answer = _answer(folder, settings, seed_ids, vectors, random_pages(seed_ids, page_ids))
    partial = (
        texts.join(F.broadcast(wanted), "doc_id")
        .repartition(slots)
        .mapInArrow(answer, "seed_id string, doc_id string, score double, rank bigint")
        .toArrow()
    )
    return merge((Neighbour(*row) for row in _rows(partial)), settings.neighbours_per_seed)


def _rows(table: pa.Table) -> list[tuple[Any, ...]]:
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def _encode(folder: str, max_words: int) -> _Batches:
    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        encoder = None
        for batch in batches:
            encoder = encoder or Encoder(Path(folder))
            vectors = encoder.encode([first_words(str(text), max_words) for text in batch.column("text").to_pylist()])
            packed = pa.array([vector.tobytes() for vector in vectors], pa.binary())
            yield pa.RecordBatch.from_arrays([batch.column("doc_id"), packed], schema=_VECTOR_SCHEMA)

    return run


def _answer(
    folder: str, settings: RetrieveSettings, seed_ids: Sequence[str], seeds: Vectors, chosen: Mapping[str, str]
) -> _Batches:
    max_words, k = settings.max_words, settings.neighbours_per_seed
    position = {seed_id: index for index, seed_id in enumerate(seed_ids)}
    seeds_of: defaultdict[str, list[str]] = defaultdict(list)
    for seed_id, page_id in chosen.items():
        seeds_of[page_id].append(seed_id)

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        encoder = None
        for batch in batches:
            encoder = encoder or Encoder(Path(folder))
            page_ids = [str(value) for value in batch.column("doc_id").to_pylist()]
            pages = encoder.encode([first_words(str(text), max_words) for text in batch.column("text").to_pylist()])
            baseline = [
                Neighbour(seed_id, page_id, similarity(seeds[position[seed_id]], pages[row]), RANDOM_RANK)
                for row, page_id in enumerate(page_ids)
                for seed_id in seeds_of.get(page_id, ())
            ]
            found = [*search(seed_ids, seeds, page_ids, pages, k), *baseline]
            yield pa.RecordBatch.from_pylist([asdict(one) for one in found], schema=_PARTIAL_SCHEMA)

    return run


def _settings(settings: Settings) -> object:
    return settings.corpus.retrieve


JOB = Job(
    name="retrieve",
    writes=("neighbours",),
    reads=("documents", "document_sources", "source_items"),
    run=_run,
    settings=_settings,
    rate_of=None,
)
