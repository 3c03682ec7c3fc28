"""The same lake on a real S3 server (SeaweedFS, from a package): boto3, PyArrow, delta-rs and Spark."""

from __future__ import annotations

import threading

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from forge.lake import CommitRefused, Lake
from forge.schema import Document, table_of
from spark_jobs.lake_source import lake_options
from spark_jobs.session import spark_schema

pytestmark = pytest.mark.s3
NIGHT = "2026-11-21"


def documents(count: int, word: str = "text") -> pa.Table:
    return table_of("documents", [Document("text", "plain", f"{word} {n}", "train").row(NIGHT) for n in range(count)])


@pytest.fixture
def s3_lake(s3: str, request: pytest.FixtureRequest) -> Lake:
    return Lake(f"s3://forge/{request.node.name}", s3_endpoint=s3)


def test_round_trip_replacement_and_old_versions(s3_lake: Lake) -> None:
    first = s3_lake.write("documents", documents(50), NIGHT, "a")
    assert not s3_lake.write("documents", documents(50), NIGHT, "a").applied
    s3_lake.write("documents", documents(20, "new"), NIGHT, "b")
    assert s3_lake.read("documents").num_rows == 20
    assert s3_lake.read("documents", version=first.version).num_rows == 50
    assert set(s3_lake.versions()) == {"documents"}


def test_eight_writers_commit_once(s3_lake: Lake) -> None:
    s3_lake.ensure("documents")
    fences = [s3_lake.fence("documents", NIGHT) for _ in range(8)]
    barrier, outcomes = threading.Barrier(8), []

    def write(number: int) -> None:
        barrier.wait()
        try:
            commit = s3_lake.write("documents", documents(number + 1), NIGHT, f"f{number}", fence=fences[number])
            outcomes.append("applied" if commit.applied else "already")
        except CommitRefused:
            outcomes.append("refused")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sorted(outcomes) == ["applied"] + ["refused"] * 7
    assert len(s3_lake.files("documents")) == 1


def test_wrong_credentials_are_refused(s3_lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(Exception, match=r"(?i)403|denied|signature|forbidden"):
        s3_lake.write("documents", documents(1), NIGHT, "a")


@pytest.mark.spark
def test_spark_reads_and_writes_without_a_jvm_connector(spark: SparkSession, s3_lake: Lake) -> None:
    frame = spark.createDataFrame(documents(100).to_pylist(), spark_schema("documents")).repartition(2)
    options = {**lake_options(s3_lake), "table": "documents", "partition_key": NIGHT, "fingerprint": "a", "fence": "0"}
    s3_lake.ensure("documents")
    frame.write.format("lake").mode("overwrite").options(**options).save()
    assert s3_lake.read("documents").num_rows == 100
    assert spark.read.format("lake").options(**lake_options(s3_lake)).option("table", "documents").load().count() == 100
