"""The steps of the corpus as Airflow tasks: one place that says which jobs share a Spark application.

A Spark application costs seconds to start, so jobs that follow one another share one; a task is also the unit that is
retried, so what is slow or may fail for reasons of its own stands alone. A job whose inputs did not change since it was
last committed is skipped inside the application (its fingerprint says so), which makes every task idempotent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import Asset, Param, chain

from forge.config import PROFILES, Settings
from forge_airflow.operators import SparkJobsOperator
from forge_airflow.releases import PARTITION_KEY_PATTERN

RELEASE = Asset("release", uri="x-forge://release", group="corpus")
"""A published release; its partition is the night. ``x-``: Airflow has no rules for the scheme."""

CORPUS_STEPS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "crawl": (("crawl", "extract_web"), "Fetch the web sites in rounds, robots obeyed, into WARC; extract text."),
    "read": (
        (
            "parse_apis",
            "parse_trajectories",
            "read_texts",
            "elect_versions",
            "mine_usages",
            "pair_usages",
            "link_calls",
        ),
        "Read what is new or changed of all sources; elect the version of each API; find its uses in code and runs.",
    ),
    "render": (("render",), "Render entities, episodes and pages into documents, whose id is their content."),
    "judge": (
        ("measure", "deduplicate", "decontaminate"),
        "Judge documents: language, quality and agent score; near-duplicates; hits of evaluation sets.",
    ),
    "retrieve": (("retrieve",), "Find the web documents nearest to the seed documents."),
    "publish": (
        ("mix", "audit", "publish"),
        "Choose what is eligible and its weight, run the gates, publish. After a failed gate there is no second try.",
    ),
    "train_classifier": (
        ("train_classifier",),
        "Train the fastText filter on seeds against negatives; record its held-out precision, recall and F1.",
    ),
}
"""Task name to the jobs that it runs and what they do."""


def partition_params() -> dict[str, Param]:
    """The part of a trigger form that every DAG of ours has."""
    return {
        "partition_key": Param(
            None,
            type=["null", "string"],
            pattern=PARTITION_KEY_PATTERN,
            title="Night",
            description="YYYY-MM-DD (UTC). Only for a run that was started without a partition key.",
        ),
        "profile": Param(
            None,
            type=["null", "string"],
            enum=[None, *sorted(PROFILES)],
            title="Profile",
            description="conf/profiles/NAME.yaml; empty: the profile of this Airflow (FORGE_PROFILE).",
        ),
    }


def corpus_params(settings: Settings) -> dict[str, Param]:
    """Trigger form of the DAGs that read sources."""
    return {
        **partition_params(),
        "disabled_sources": Param(
            [],
            type=["null", "array"],
            items={"type": "string", "enum": sorted(settings.sources)},
            title="Sources to leave out",
            description="Names of conf/sources.yaml that this run does not read.",
        ),
    }


def corpus_chain(names: Sequence[str]) -> list[SparkJobsOperator]:
    """Tasks for the named steps of :data:`CORPUS_STEPS`, each after the one before it."""
    tasks: list[Any] = []
    for name in names:
        jobs, what = CORPUS_STEPS[name]
        tasks.append(SparkJobsOperator(task_id=name, jobs=jobs, doc_md=f"{what}\n\nJobs: {', '.join(jobs)}."))
    chain(*tasks)
    return tasks
