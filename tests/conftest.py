"""Fixtures that several test files share."""

from __future__ import annotations

import os
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
