"""Read trajectory sources into the table `trajectories`."""

from __future__ import annotations

from forge.trajectories.readers import READERS
from spark_jobs.read_items import reading_job

JOB = reading_job("parse_trajectories", "trajectories", READERS)
