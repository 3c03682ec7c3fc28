"""Read API documentation sources into the table `api_entities`."""

from __future__ import annotations

from forge.apis.readers import READERS
from spark_jobs.read_items import reading_job

JOB = reading_job("parse_apis", "api_entities", READERS)
