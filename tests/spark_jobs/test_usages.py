"""Usages of Python APIs in real code: mined, paired with what documents them, rendered both ways, and gone again."""

from __future__ import annotations

import importlib

import pytest
from pyspark.sql import SparkSession

from forge.config import Settings, SourceSettings
from forge.lake import Lake
from forge.usages.render import CODE_TO_DOC, DOC_TO_CODE
from spark_jobs.job import Context, execute

pytestmark = pytest.mark.spark
FIRST, SECOND = "2026-11-20", "2026-11-21"
JOBS = ("parse_apis", "elect_versions", "mine_usages", "pair_usages", "render")


def run_night(settings: Settings, spark: SparkSession, night: str) -> list[str]:
    context = Context(Lake.of(settings), settings, night, "test", lambda: spark)
    return [name for name in JOBS if execute(importlib.import_module(f"spark_jobs.{name}").JOB, context)]


def test_usages_from_code_to_documents(settings: Settings, spark: SparkSession) -> None:
    def source(kind: str, *packages: str) -> SourceSettings:
        return SourceSettings.model_validate({"type": kind, "options": {"packages": packages}})

    # more-itertools is documented, and calls itself in its doctests
    sources = {"docs": source("python_packages", "more-itertools"), "code": source("python_usages", "more-itertools")}
    settings = settings.model_copy(update={"sources": sources})
    lake = Lake.of(settings)
    assert run_night(settings, spark, FIRST) == list(JOBS)

    pairs = {row["entity_key"]: row for row in lake.read("api_usages").to_pylist()}
    assert len(pairs) >= 10
    assert all(1 <= len(row["usages"]) <= 3 for row in pairs.values())
    assert {row["license"] for row in pairs.values()} == {"MIT"}
    documents = lake.read("documents").to_pylist()
    for form in (DOC_TO_CODE, CODE_TO_DOC):
        made = {row["entity_key"]: row for row in documents if row["form"] == form}
        assert set(made) <= set(pairs)
        assert len(made) > 0.8 * len(pairs)
        key, row = min(made.items())
        assert pairs[key]["usages"][0]["snippet"] in row["text"]
    # Each place that a text was made of is known, so a removal by any of them finds it.
    chosen = min(row["doc_id"] for row in documents if row["form"] == DOC_TO_CODE)
    places = [row for row in lake.read("document_sources").to_pylist() if row["doc_id"] == chosen]
    assert {place["source"] for place in places} == {"code"}
    assert len({place["uri"] for place in places}) >= 1

    assert run_night(settings, spark, FIRST) == []

    # The next night the code is gone, and what was made of it with it.
    settings = settings.model_copy(
        update={"sources": {"docs": sources["docs"], "code": source("python_usages", "six")}}
    )
    run_night(settings, spark, SECOND)
    left = Context(lake, settings, SECOND, "test", lambda: spark).arrow("api_usages", scope="current")
    assert left.num_rows == 0
    gone = lake.read("source_items", step="pair_usages", partition_key=SECOND).to_pylist()
    assert {row["state"] for row in gone} == {"removed"}
    assert len(gone) == len(pairs)
