"""Read API documentation sources into the table `api_entities`."""

from __future__ import annotations

from dataclasses import asdict, replace

from forge.apis.readers import READERS
from forge.entity_counts import entity_counts
from spark_jobs.job import Context
from spark_jobs.read_items import reading_job


def say_counts(context: Context) -> None:
    """One line a source: rows, distinct APIs, those with a description or parameters, what was rejected."""
    for source, counts in entity_counts(context.lake, context.partition_key).items():
        context.say(
            f"{source or 'all sources'}: {counts.entities:,} APIs ({counts.documented:,} with a description or "
            f"parameters) in {counts.rows:,} rows; {counts.rejected:,} rejected",
            source=source,
            **asdict(counts),
        )


JOB = replace(reading_job("parse_apis", "api_entities", READERS), after=say_counts)
