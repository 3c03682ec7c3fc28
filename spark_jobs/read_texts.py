"""Read code and general text sources into the table `texts`."""

from __future__ import annotations

from forge.text.readers import READERS
from spark_jobs.read_items import reading_job

JOB = reading_job("read_texts", "texts", READERS)
