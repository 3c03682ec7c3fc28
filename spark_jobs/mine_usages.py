"""Read calls of documented APIs in real code into the table `usages`."""

from __future__ import annotations

from forge.usages.readers import READERS
from spark_jobs.read_items import reading_job

JOB = reading_job("mine_usages", "usages", READERS)
