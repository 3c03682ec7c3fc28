"""``duplicates``: exact and near-duplicates among all current documents, under the identity guard (D5).

Recomputed every night over everything that is there, so a removed document frees the copies that it had suppressed.
Groups that hold one document (most entities have one document per form) cost nothing: no signature is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from forge.config import Settings
from forge.dedup.components import Candidate, Member, Pair, members_of
from forge.dedup.identity import lost_entities
from forge.dedup.minhash import MinHashSettings, band_keys, jaccard, shingles, signature
from forge.schema import table_of
from spark_jobs.job import Context, Data, Job

ALL_PAIRS_BUCKET = 12
"""Up to this many documents in one bucket every pair is verified; above it each is compared with the smallest id."""
BROADCAST_ROWS = 2_000_000

_Batches = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]
_STRING, _INT, _FLOAT, _BYTES = pa.string(), pa.int64(), pa.float64(), pa.binary()
_BANDS_SCHEMA = pa.schema([pa.field(name, kind) for name, kind in (("key", _INT), ("doc_id", _STRING))])
_SHINGLES_SCHEMA = pa.schema([pa.field(name, kind) for name, kind in (("doc_id", _STRING), ("shingles", _BYTES))])
_PAIRS_COLUMNS = (("left", _STRING), ("right", _STRING), ("jaccard", _FLOAT))
_PAIRS_SCHEMA = pa.schema([pa.field(name, kind) for name, kind in _PAIRS_COLUMNS])


def _run(context: Context) -> Mapping[str, Data]:
    settings = context.settings.corpus.deduplicate
    minhash = MinHashSettings(settings.shingle_words, settings.bands, settings.rows_per_band, settings.seed)
    alive = context.current("document_sources", ["doc_id"]).distinct()
    documents = context.table("documents").join(alive, "doc_id", "left_semi")
    narrow = (
        documents.select("doc_id", "text_key", "entity_key", "split", "characters", guard_column().alias("guard"))
        .repartition("guard")
        .cache()
    )
    try:
        members = find_duplicates(documents.select("doc_id", "text"), narrow, minhash, settings.min_jaccard)
        check_no_entity_lost(narrow, members)
    finally:
        narrow.unpersist()
    exact = sum(member.method == "exact" for member in members)
    near = sum(member.method == "near" for member in members)
    context.say(f"{exact:,} exact copies and {near:,} near-duplicates of {len(members) - exact - near:,} survivors")
    return {"duplicates": _table(members, context.partition_key)}


def guard_column() -> Column:
    """:func:`forge.dedup.identity.guard_group` as an expression of the JVM."""
    entity = F.concat_ws("\x1f", F.lit("entity"), "entity_key", "form")
    return F.when(F.length("entity_key") > 0, entity).otherwise(F.concat_ws("\x1f", F.lit("no entity"), "kind", "form"))


def find_duplicates(
    texts: DataFrame,
    narrow: DataFrame,
    minhash: MinHashSettings,
    min_jaccard: float,
) -> list[Member]:
    """All members of all components.

    ``texts``: doc_id, text. ``narrow``: doc_id, text_key, split, characters, guard.
    """
    firsts = narrow.groupBy("guard", "text_key").agg(F.min("doc_id").alias("first"), F.count("*").alias("copies"))
    exact = (
        narrow.join(firsts.where("copies > 1"), ["guard", "text_key"])
        .where("doc_id != first")
        .select("first", "doc_id")
    ).toArrow()
    # Only groups with two different texts can hold near-duplicates.
    several = firsts.groupBy("guard").agg(F.count("*").alias("texts")).where("texts > 1")
    comparable = firsts.join(several, "guard", "left_semi").select(F.col("first").alias("doc_id"), "guard")
    near = _near_pairs(texts, comparable, minhash, min_jaccard)
    pairs = [
        *(Pair(first, copy, 1.0, exact=True) for first, copy in _rows(exact)),
        *(Pair(left, right, similarity, exact=False) for left, right, similarity in _rows(near)),
    ]
    chosen = sorted({doc_id for pair in pairs for doc_id in (pair.left, pair.right)})
    if not chosen:
        return []
    wanted = texts.sparkSession.createDataFrame([(doc_id,) for doc_id in chosen], "doc_id string")
    known = narrow.join(F.broadcast(wanted), "doc_id", "left_semi").select("doc_id", "text_key", "split", "characters")
    return members_of(pairs, {row[0]: Candidate(*row) for row in _rows(known.toArrow())})


def _rows(table: pa.Table) -> list[tuple[Any, ...]]:
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def _near_pairs(texts: DataFrame, comparable: DataFrame, minhash: MinHashSettings, min_jaccard: float) -> pa.Table:
    compared = texts.join(_small(comparable.cache()), "doc_id")
    bands = compared.mapInArrow(_band_rows(minhash), "key bigint, doc_id string").cache()
    edges = candidate_pairs(bands).cache()
    try:
        touched = edges.select(F.col("left").alias("doc_id")).union(edges.select("right")).distinct().cache()
        hashed = texts.join(_small(touched), "doc_id", "left_semi").mapInArrow(
            _shingle_rows(minhash.shingle_words), "doc_id string, shingles binary"
        )
        left = hashed.select(F.col("doc_id").alias("left"), F.col("shingles").alias("left_shingles"))
        right = hashed.select(F.col("doc_id").alias("right"), F.col("shingles").alias("right_shingles"))
        verified = edges.join(left, "left").join(right, "right")
        kept: pa.Table = verified.mapInArrow(
            _verified_rows(min_jaccard), "left string, right string, jaccard double"
        ).toArrow()
        return kept
    finally:
        edges.unpersist()
        bands.unpersist()


def _small(frame: DataFrame) -> DataFrame:
    """The frame marked for broadcasting when it is small, so that texts, the fat side of a join, are not shuffled."""
    return F.broadcast(frame) if frame.count() <= BROADCAST_ROWS else frame


def candidate_pairs(bands: DataFrame) -> DataFrame:
    """(left, right) of documents that share a band, left < right, each once. Columns in: key, doc_id.

    Small buckets give all pairs. Large ones (boilerplate) give a star around the smallest id: a self-join of one bucket
    of 20,000 documents would make 200 million rows.
    """
    buckets = bands.groupBy("key").agg(F.min("doc_id").alias("first"), F.count("*").alias("size")).where("size > 1")
    shared = bands.join(buckets, "key")
    star = shared.where(f"size > {ALL_PAIRS_BUCKET} and doc_id > first").select(
        F.col("first").alias("left"), F.col("doc_id").alias("right")
    )
    small = shared.where(f"size <= {ALL_PAIRS_BUCKET}").select("key", "doc_id")
    pairs = (
        small.withColumnRenamed("doc_id", "left")
        .join(small.withColumnRenamed("doc_id", "right"), "key")
        .where("left < right")
        .select("left", "right")
    )
    return star.union(pairs).distinct()


def _band_rows(minhash: MinHashSettings) -> _Batches:
    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import numpy as np

        for batch in batches:
            keys, owners = [], []
            columns = (batch.column(name).to_pylist() for name in ("doc_id", "text", "guard"))
            for doc_id, text, guard in zip(*columns, strict=True):
                hashes = shingles(text, minhash.shingle_words)
                if len(hashes):
                    keys.append(band_keys(signature(hashes, minhash), guard, minhash))
                    owners.extend([doc_id] * minhash.bands)
            values = np.concatenate(keys) if keys else np.empty(0, dtype=np.int64)
            yield pa.RecordBatch.from_arrays([pa.array(values), pa.array(owners, pa.string())], schema=_BANDS_SCHEMA)

    return run


def _shingle_rows(shingle_words: int) -> _Batches:
    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            hashed = [shingles(str(text), shingle_words).tobytes() for text in batch.column("text").to_pylist()]
            yield pa.RecordBatch.from_arrays(
                [batch.column("doc_id"), pa.array(hashed, pa.binary())], schema=_SHINGLES_SCHEMA
            )

    return run


def _verified_rows(min_jaccard: float) -> _Batches:
    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import numpy as np

        for batch in batches:
            columns = (batch.column(name).to_pylist() for name in ("left", "right", "left_shingles", "right_shingles"))
            rows = [
                (left, right, jaccard(np.frombuffer(one, dtype=np.uint64), np.frombuffer(two, dtype=np.uint64)))
                for left, right, one, two in zip(*columns, strict=True)
            ]
            kept = [row for row in rows if row[2] >= min_jaccard]
            yield pa.RecordBatch.from_pylist(
                [dict(zip(_PAIRS_SCHEMA.names, row, strict=True)) for row in kept], schema=_PAIRS_SCHEMA
            )

    return run


class EntityLost(Exception):
    """Deduplication would remove the last document of an API: the identity guard is broken."""


def check_no_entity_lost(narrow: DataFrame, members: list[Member]) -> None:
    """The guard's gate. Raises :class:`EntityLost` with the first few entities."""
    dropped = [member.doc_id for member in members if member.method != "survivor"]
    if not dropped:
        return
    gone = narrow.sparkSession.createDataFrame([(doc_id,) for doc_id in dropped], "doc_id string")
    touched = narrow.join(F.broadcast(gone), "doc_id", "left_semi").select("entity_key").distinct()
    before = narrow.join(touched, "entity_key", "left_semi").select("doc_id", "entity_key").toArrow()
    lost = lost_entities(_rows(before), dropped)
    if lost:
        raise EntityLost(f"{len(lost)} entities would have no document left: {', '.join(lost[:5])}")


def _table(members: list[Member], partition_key: str) -> pa.Table:
    return table_of(
        "duplicates",
        (
            {
                "doc_id": member.doc_id,
                "component_id": member.component_id,
                "survivor_id": member.survivor_id,
                "method": member.method,
                "jaccard": member.jaccard,
                "partition_key": partition_key,
            }
            for member in members
        ),
    )


def _settings(settings: Settings) -> object:
    return settings.corpus.deduplicate


JOB = Job(
    name="deduplicate",
    writes=("duplicates",),
    reads=("documents", "document_sources", "source_items"),
    run=_run,
    settings=_settings,
    rate_of="documents",
)
