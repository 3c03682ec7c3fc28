"""Pin the tables' versions, count the corpus, evaluate every gate. A failed gate stops the night here (write, audit,
publish); the audited versions stay inspectable and the previous release stays current."""

from __future__ import annotations

from collections.abc import Mapping

from forge.config import Settings
from forge.gates import evaluate_gates
from forge.report import PinnedLake, build_report
from forge.schema import canonical_json, table_of
from spark_jobs.gates import GateFailed
from spark_jobs.job import Context, Data, Job

READS = (
    "fetches",
    "source_items",
    "api_entities",
    "entity_versions",
    "usages",
    "api_usages",
    "trajectories",
    "call_links",
    "web_pages",
    "texts",
    "documents",
    "document_sources",
    "signals",
    "duplicates",
    "neighbours",
    "contamination",
    "decisions",
    "corpus",
    "removals",
)


def run(context: Context) -> Mapping[str, Data]:
    newest = context.lake.versions()
    versions = {table: newest[table] for table in READS if table in newest}
    report = build_report(context.lake, versions, context.partition_key)
    gates = evaluate_gates(PinnedLake(context.lake, versions, context.partition_key), report, context.settings)
    pinned = canonical_json(versions)
    rows = [{**gate.figures(), "versions": pinned, "partition_key": context.partition_key} for gate in gates]
    return {"audits": table_of("audits", rows)}


def require_all_passed(context: Context) -> None:
    """Raise :class:`GateFailed` naming every gate that failed."""
    failed = []
    for row in context.arrow("audits", scope="night").to_pylist():
        verdict = {True: "passed", False: "FAILED", None: "not evaluated"}[row["passed"]]
        value = "-" if row["value"] is None else f"{row['value']:,.4g}"
        context.say(f"gate {row['gate']}: {value} (limit {row['limit']}): {verdict} {row['detail']}".rstrip())
        if row["passed"] is False:
            failed.append(f"{row['gate']} is {value}, limit {row['limit']} {row['detail']}".rstrip())
    if failed:
        raise GateFailed("; ".join(failed))


def settings(found: Settings) -> object:
    return [
        found.corpus.gates,
        found.corpus.mix.allowed_licenses,
        found.corpus.mix.unstated_license,
        found.corpus.classifier.threshold,
        found.enabled_sources(),
    ]


JOB = Job(
    name="audit", writes=("audits",), reads=READS, run=run, settings=settings, after=require_all_passed, rate_of=None
)
