"""Choosing some of many documents: balanced over strata, and the same ones whatever the partitions."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F


def stratum_column() -> Column:
    """The stratum of a document: kind, and provider and service of its entity, else its source."""
    service = F.concat_ws("/", F.slice(F.split("entity_key", "/"), 1, 2))
    return F.concat_ws(":", "kind", F.when(F.length("entity_key") > 0, service).otherwise(F.col("source")))


def thinned(documents: DataFrame, limit: int) -> DataFrame:
    """At most ``limit`` documents, taken in turn from each ``stratum``: no provider crowds out the others.

    Within a stratum they go by ``doc_id``, which is a hash of the text and so an order that favours nothing.
    """
    ranked = documents.withColumn("rank", F.row_number().over(Window.partitionBy("stratum").orderBy("doc_id")))
    return ranked.orderBy("rank", "stratum").limit(limit).drop("rank")
