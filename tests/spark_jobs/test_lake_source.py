"""The lake format in Spark: column choice, versions, retried tasks, shards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from forge.lake import Lake
from forge.schema import Document, table_of
from spark_jobs.lake_source import lake_options, shard_of
from spark_jobs.session import spark_schema

pytestmark = pytest.mark.spark
NIGHT = "2026-11-21"


def documents(count: int) -> pa.Table:
    return table_of("documents", [Document("text", "plain", f"text {n}", "train").row(NIGHT) for n in range(count)])


def write(spark: SparkSession, lake: Lake, rows: pa.Table, fingerprint: str, **options: str) -> None:
    frame = spark.createDataFrame(rows.to_pylist(), spark_schema("documents"))
    save(lake, frame, fingerprint, **options)


def save(lake: Lake, frame: object, fingerprint: str, **options: str) -> None:
    lake.ensure("documents")
    fence = str(lake.fence("documents", NIGHT).transaction_version)
    writer = frame.write.format("lake").mode("overwrite").options(**lake_options(lake))  # type: ignore[attr-defined]
    writer.options(table="documents", partition_key=NIGHT, fingerprint=fingerprint, fence=fence, **options).save()


def test_round_trip_column_choice_and_version(spark: SparkSession, lake: Lake) -> None:
    write(spark, lake, documents(50), "a")
    version = lake.version("documents")
    write(spark, lake, documents(20), "b")
    reader = spark.read.format("lake").options(**lake_options(lake)).option("table", "documents")
    assert reader.load().count() == 20
    assert reader.option("version", str(version)).load().count() == 50
    narrow = reader.option("columns", "doc_id,partition_key").load()
    assert narrow.columns == ["doc_id", "partition_key"]
    assert {row.partition_key for row in narrow.collect()} == {NIGHT}


def test_an_absent_table_reads_as_empty(spark: SparkSession, lake: Lake) -> None:
    assert spark.read.format("lake").options(**lake_options(lake)).option("table", "documents").load().count() == 0


def test_a_task_that_fails_after_writing_and_is_retried_adds_no_rows(
    spark: SparkSession, lake: Lake, tmp_path: Path
) -> None:
    marker = tmp_path / "failed-once"
    rows = documents(40)

    def fail_once(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from batches
        if not marker.exists():
            marker.touch()
            raise RuntimeError("planted failure after the rows went to the writer")

    frame = spark.createDataFrame(rows.to_pylist(), spark_schema("documents")).repartition(2)
    save(lake, frame.mapInArrow(fail_once, spark_schema("documents")), "a")
    assert marker.exists()
    assert sorted(lake.read("documents")["doc_id"].to_pylist()) == sorted(rows["doc_id"].to_pylist())


def test_shards_hold_the_same_bytes_whatever_the_partition_count(spark: SparkSession, tmp_path: Path) -> None:
    rows, contents = documents(9000), []
    for partitions in (1, 3, 7):
        lake = Lake(str(tmp_path / f"lake{partitions}"))
        frame = spark.createDataFrame(rows.to_pylist(), spark_schema("documents")).repartition(5)
        owner = frame.selectExpr("*", "shiftright(conv(substr(doc_id, 1, 8), 16, 10) * 2L, 32) AS shard")
        ordered = owner.repartition(partitions, "shard").sortWithinPartitions("doc_id").drop("shard")
        save(lake, ordered, "a", shards="2")
        files = lake.files("documents")
        assert [file.path.split("/")[-1][:11] for file in files] == ["shard-00000", "shard-00001"]
        contents.append([lake.read_file("documents", file.path) for file in files])
        for number, file in enumerate(files):
            ids = pq.read_table(Path(lake.table_uri("documents")) / file.path)["doc_id"].to_pylist()
            assert ids == sorted(ids)
            assert {shard_of(doc_id, 2) for doc_id in ids} == {number}
    assert contents[0] == contents[1] == contents[2]
