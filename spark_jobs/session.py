"""The Spark session for local, standalone, YARN and Kubernetes masters, and the tables' Spark schemas."""

from __future__ import annotations

import os
import sys

from pyspark.sql import SparkSession
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructType

from forge.config import Settings
from forge.schema import TABLES
from spark_jobs.lake_source import LakeDataSource

_DEFAULTS = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.adaptive.enabled": "true",
    "spark.sql.adaptive.coalescePartitions.parallelismFirst": "false",
    "spark.sql.adaptive.advisoryPartitionSizeInBytes": "16m",  # Python workers: even tasks, visible progress
    "spark.sql.execution.arrow.maxRecordsPerBatch": "1000",  # documents are fat: bound a batch by rows
    "spark.sql.execution.pyspark.udf.simplifiedTraceback.enabled": "true",
    "spark.speculation": "false",
    "spark.python.worker.reuse": "true",
}


def session(name: str, settings: Settings) -> SparkSession:
    """Start (or get) the session that the settings describe, with the ``lake`` format registered."""
    # Workers otherwise start the python3 of PATH, which lacks this environment's packages.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
    builder = SparkSession.builder.appName(name).master(settings.spark.master)
    builder = builder.config("spark.driver.memory", settings.spark.driver_memory)
    builder = builder.config("spark.sql.shuffle.partitions", str(settings.spark.shuffle_partitions))
    if settings.spark.master.startswith("local"):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        builder = builder.config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1")
    for key, value in {**_DEFAULTS, **settings.spark.conf}.items():
        builder = builder.config(key, value)
    active = builder.getOrCreate()
    active.sparkContext.setLogLevel("ERROR")
    active.dataSource.register(LakeDataSource)
    return active


def spark_schema(table: str) -> StructType:
    """The Spark schema of a table of the lake."""
    return from_arrow_schema(TABLES[table])
