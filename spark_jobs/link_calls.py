"""``call_links``: which APIs the calls of the current episodes mean (:mod:`forge.trajectories.links`).

Every episode is compared with every API each night: a new API must reach old episodes too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pyarrow as pa
from pyspark.sql import Window
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from forge.schema import trajectory_from_row
from forge.trajectories.links import METHODS, entity_keys, offered_keys
from spark_jobs.job import Context, Data, Job

_KEY: Mapping[str, pa.DataType] = {"method": pa.string(), "key": pa.string()}
_OFFERED = pa.schema({"trajectory_id": pa.string(), "tool": pa.string(), **_KEY, "calls": pa.int64()})
_ANSWERING = pa.schema({**_KEY, "entity_key": pa.string()})
_ENTITY = ["entity_key", "signature_key", "provider", "service", "name"]


def _offered(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield pa.RecordBatch.from_pylist(
            [
                {"trajectory_id": row["trajectory_id"], "tool": tool, "method": key.method, "key": key.key, "calls": n}
                for row in batch.to_pylist()
                for (tool, key), n in offered_keys(trajectory_from_row(row)).items()
            ],
            schema=_OFFERED,
        )


def _answering(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield pa.RecordBatch.from_pylist(
            [
                {"method": found.method, "key": found.key, "entity_key": row["entity_key"]}
                for row in batch.to_pylist()
                for found in entity_keys(row)
            ],
            schema=_ANSWERING,
        )


def run(context: Context) -> Mapping[str, Data]:
    episodes = context.current("trajectories").dropDuplicates(["trajectory_id"])
    offered = episodes.mapInArrow(_offered, from_arrow_schema(_OFFERED))
    entities = context.current("api_entities", _ENTITY).distinct()
    answering = entities.mapInArrow(_answering, from_arrow_schema(_ANSWERING)).distinct()
    # A key that several APIs answer to says nothing of which one was called.
    only = answering.groupBy("method", "key").agg(F.min("entity_key").alias("entity_key"), F.count("*").alias("apis"))
    linked = offered.join(only.where("apis = 1").drop("apis"), ["method", "key"])
    rank = F.array_position(F.array(*[F.lit(name) for name in METHODS]), F.col("method"))
    surest = Window.partitionBy("trajectory_id", "tool").orderBy(rank)
    rows = (
        linked.withColumn("place", F.rank().over(surest))
        .where("place = 1")
        .groupBy("trajectory_id", "tool", "entity_key", "method")
        .agg(F.sum("calls").alias("calls"))
        .withColumn("partition_key", F.lit(context.partition_key))
        .sort("trajectory_id", "tool", "entity_key", "method")
        .persist()
    )
    counts = rows.agg(F.countDistinct("trajectory_id").alias("episodes"), F.countDistinct("entity_key").alias("apis"))
    found = counts.collect()[0]
    context.say(
        f"{found.episodes:,} episodes call {found.apis:,} APIs that are documented",
        entities_with_trajectories=found.apis,
    )
    return {"call_links": rows}


JOB = Job(
    name="link_calls",
    writes=("call_links",),
    reads=("trajectories", "api_entities", "source_items"),
    run=run,
)
