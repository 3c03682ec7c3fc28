"""``entity_versions``: one API over all its versions and mirrors, and the one row that stands for it.

The elected row is the newest whose licence may enter a release (:mod:`forge.apis.versions`); without an eligible one,
the newest of all. `mix` drops the documents of the other rows as ``superseded``. Only what changed since earlier nights
is written: the newest row of a key is its state, a key that is gone has a row that says so.
"""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from forge.apis.versions import version_rank
from forge.config import Settings
from forge.mixture.eligibility import LICENSE_RANK, license_reason
from forge.schema import TABLES
from spark_jobs.job import Context, Data, Job

_STATE = [name for name in TABLES["entity_versions"].names if name not in {"state", "partition_key"}]


def run(context: Context) -> Mapping[str, Data]:
    night = context.partition_key
    known = _newest(context.table("entity_versions").where(F.col("partition_key") < night))
    now = _elected(context).withColumn("state", F.lit("present"))
    before = known.where("state = 'present'").select("entity_key", F.struct(*_STATE).alias("before"))
    compared = now.withColumn("now", F.struct(*_STATE)).join(before, "entity_key", "full_outer").persist()
    changed = compared.where("now IS NOT NULL AND NOT (now <=> before)").select(
        "now.*", F.lit("present").alias("state")
    )
    gone = compared.where("now IS NULL").select("before.*", F.lit("removed").alias("state"))
    rows = changed.unionByName(gone).withColumn("partition_key", F.lit(night))
    return {"entity_versions": rows.select(*TABLES["entity_versions"].names)}


def elections(context: Context) -> DataFrame:
    """Each API's state as of this night: the columns of ``entity_versions``, present ones only."""
    return _newest(context.table("entity_versions")).where("state = 'present'")


def _newest(rows: DataFrame) -> DataFrame:
    newest_first = Window.partitionBy("entity_key").orderBy(F.col("partition_key").desc())
    return rows.withColumn("_place", F.row_number().over(newest_first)).where("_place = 1").drop("_place")


def _elected(context: Context) -> DataFrame:
    columns = ["entity_key", "version", "mirror", "license", "source", "item_id", "source_uri"]
    rows = context.current("api_entities", columns).fillna("", ["version", "mirror", "license"]).persist()
    mix = context.settings.corpus.mix
    stated = rows.select("version", "mirror", "license").distinct().collect()
    ranks = context.spark.createDataFrame(
        [
            (*row, version_rank(row.version, row.mirror), LICENSE_RANK[license_reason(row.license, mix)])
            for row in stated
        ],
        "version string, mirror string, license string, version_rank string, license_rank int",
    )
    ranked = rows.join(F.broadcast(ranks), ["version", "mirror", "license"])
    best_first = Window.partitionBy("entity_key").orderBy(
        "license_rank", F.col("version_rank").desc(), "source", "item_id", "source_uri"
    )
    placed = ranked.withColumn("place", F.row_number().over(best_first))
    entry = F.struct("version_rank", "version", "mirror", "source", "license")
    grouped = placed.groupBy("entity_key").agg(
        F.sort_array(F.collect_set(entry), asc=False).alias("entries"),
        F.min_by(F.struct("version", "source", "item_id", "source_uri"), "place").alias("best"),
    )
    return grouped.select(
        "entity_key",
        "best.version",
        "best.source",
        "best.item_id",
        "best.source_uri",
        F.transform("entries", lambda entry: entry.dropFields("version_rank")).alias("versions"),
    ).select(*_STATE)


def settings(found: Settings) -> object:
    return [found.corpus.mix.allowed_licenses, found.corpus.mix.unstated_license]


JOB = Job(
    name="elect_versions",
    writes=("entity_versions",),
    reads=("api_entities",),
    run=run,
    settings=settings,
)
