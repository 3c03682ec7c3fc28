"""``python -m spark_jobs JOB [JOB ...] --partition-key NIGHT``: run jobs one after another in one Spark application.

Exit codes: 0 done or nothing to do; 2 bad usage; 3 a gate failed; 78 the configuration cannot be used.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from functools import lru_cache

from pyspark.sql import SparkSession

from forge.config import ConfigurationError, load_settings
from forge.lake import Lake
from spark_jobs.gates import GateFailed
from spark_jobs.job import Context, Job, execute
from spark_jobs.session import session

JOBS = (
    "crawl",
    "extract_web",
    "parse_apis",
    "elect_versions",
    "mine_usages",
    "pair_usages",
    "parse_trajectories",
    "link_calls",
    "read_texts",
    "render",
    "train_classifier",
    "measure",
    "deduplicate",
    "retrieve",
    "decontaminate",
    "mix",
    "audit",
    "publish",
)
EXIT_GATE_FAILED = 3
EXIT_CONFIGURATION = 78


def job_of(name: str) -> Job:
    """The job of a name. Importing a job module imports no model and starts no Spark."""
    job: Job = importlib.import_module(f"spark_jobs.{name}").JOB
    return job


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m spark_jobs", description=__doc__)
    parser.add_argument("jobs", nargs="+", choices=JOBS, metavar="JOB", help=", ".join(JOBS))
    parser.add_argument("--partition-key", required=True, help="the night, for instance 2026-11-21")
    parser.add_argument(
        "--profile", default=None, help="demo, local, full, cluster (default: FORGE_PROFILE, else demo)"
    )
    parser.add_argument("--run-id", default="manual", help="who runs it; recorded in the release")
    options = parser.parse_args(arguments)
    try:
        settings = load_settings(options.profile)

        @lru_cache(maxsize=1)
        def spark() -> SparkSession:
            return session("forge " + " ".join(options.jobs), settings)

        context = Context(Lake.of(settings), settings, options.partition_key, options.run_id, spark)
        try:
            for name in options.jobs:
                execute(job_of(name), context)
        finally:
            if spark.cache_info().currsize:
                spark().stop()
    except ConfigurationError as error:
        print(f"configuration error: {error}", file=sys.stderr)
        return EXIT_CONFIGURATION
    except GateFailed as error:
        print(f"gate failed: {error}", file=sys.stderr)
        return EXIT_GATE_FAILED
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
