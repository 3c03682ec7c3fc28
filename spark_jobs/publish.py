"""Name the audited corpus: one row of `releases`. Identical content publishes nothing and triggers nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime

import orjson

from forge.config import Settings
from forge.fingerprint import code_hash, value_hash
from forge.mixture.recipe import recipe_of
from forge.release import Release, corpus_files, release_id_of, releases
from forge.report import PinnedLake, build_report
from forge.schema import table_of
from spark_jobs.gates import GateFailed
from spark_jobs.job import Context, Data, Job, write_result


def run(context: Context) -> Mapping[str, Data]:
    night, lake = context.partition_key, context.lake
    audits = context.arrow("audits", scope="night").to_pylist()
    failed = [row["gate"] for row in audits if row["passed"] is False]
    if failed or not audits:
        raise GateFailed(f"not audited or failed: {', '.join(failed) or 'no audit of this night'}")
    versions = orjson.loads(audits[0]["versions"])
    stage_one: Counter[str] = Counter()
    pinned = PinnedLake(lake, versions, night)
    for row in pinned.read("corpus", ["domain", "stages", "split", "tokens"], only_night=True).to_pylist():
        if row["split"] == "train" and "I" in row["stages"]:
            stage_one[row["domain"]] += row["tokens"]
    recipe = recipe_of(stage_one, context.settings.corpus.mix)
    files = corpus_files(lake, versions["corpus"], night)
    release_id = release_id_of(files, recipe)
    known = releases(lake)
    tonight = [release for release in known if release.partition_key == night]
    if known and known[-1].release_id == release_id:
        context.say(f"release {release_id}: content is unchanged, nothing is published")
        return {"releases": table_of("releases", [release.row() for release in tonight])}
    gates = [
        {
            "name": row["gate"],
            "value": row["value"],
            "limit": row["limit"],
            "passed": row["passed"],
            "detail": row["detail"],
        }
        for row in audits
    ]
    release = Release(
        release_id=release_id,
        parent=known[-1].release_id if known else None,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        partition_key=night,
        run_id=context.run_id,
        versions=versions,
        files=files,
        recipe=recipe,
        configuration_hash=value_hash([context.settings.corpus, context.settings.enabled_sources()]),
        code_hash=code_hash("spark_jobs.__main__"),
        gates=gates,
        report=build_report(lake, versions, night),
    )
    context.say(
        f"published release {release_id}: {sum(file.rows for file in files):,} documents in {len(files)} shards"
    )
    return {"releases": table_of("releases", [found.row() for found in [*tonight, release]])}


def leave_result(context: Context) -> None:
    """Tell the caller whether there is a release to announce: one that this very run published. A run that is killed
    between the commit and the announcement announces it when it is tried again."""
    known = releases(context.lake)
    current = known[-1] if known else None
    mine = current is not None and current.run_id == context.run_id and current.partition_key == context.partition_key
    write_result({"release_id": current.release_id if current else None, "published": mine})


def settings(found: Settings) -> object:
    return [found.corpus, found.enabled_sources()]


JOB = Job(
    name="publish",
    writes=("releases",),
    reads=("audits", "corpus"),
    run=run,
    settings=settings,
    after=leave_result,
    rate_of=None,
)
