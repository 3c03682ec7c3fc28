"""Fetch the web sites of the configuration: rounds of one Spark job each, one task a host (D8)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from forge.config import Settings
from forge.crawl.rounds import STEP, crawl, earlier_fetches
from forge.crawl.shard import Shard, fetch_shard
from forge.crawl.sites import open_sites
from forge.schema import Decision, table_of
from spark_jobs.job import Context, Data, Job

MAX_HOSTS_AT_ONCE = 16
_WORK = "place int, shard string"
_TEXT: pa.DataType = pa.string()
_INT: pa.DataType = pa.int64()
_DONE = pa.schema({"name": _TEXT, "rows": _INT})


def _settings(settings: Settings) -> object:
    sources = settings.enabled_sources("website")
    pins = {
        source.artifact: settings.artifacts[source.artifact].sha256
        for source in sources.values()
        if source.artifact is not None
    }
    return {"crawl": settings.corpus.crawl, "sources": sources, "artifacts": pins}


def _external(context: Context) -> object:
    """Which mirrors can be served here: an optional artifact may come later."""
    from forge.artifacts import artifact_path

    artifacts = {source.artifact for source in context.settings.enabled_sources("website").values() if source.artifact}
    return {name: artifact_path(context.settings, name) is not None for name in sorted(artifacts)}


def _run(context: Context) -> Mapping[str, Data]:
    home = context.settings.home_path
    night = context.partition_key
    limits = context.settings.corpus.crawl

    def run_shards(shards: Sequence[Shard]) -> None:
        pages = sum(len(shard.requests) for shard in shards)
        context.say(f"round {shards[0].round}: {pages:,} pages of {len(shards)} hosts")
        started = time.monotonic()
        work = [(place, shard.to_json()) for place, shard in enumerate(shards)]
        frame = context.spark.createDataFrame(work, _WORK).repartitionByRange(len(work), "place")
        done = frame.mapInArrow(_fetcher(str(home)), "name string, rows bigint").collect()
        seconds = time.monotonic() - started
        fetched = sum(row["rows"] for row in done)
        context.say(f"round {shards[0].round}: {fetched:,} exchanges in {seconds:.1f} s", documents=fetched)

    earlier = context.lake.read("fetches", up_to=night)
    earlier = earlier.filter(pc.less(earlier["partition_key"], pa.scalar(night)))
    with open_sites(context.settings) as sites:
        absent = sorted(context.settings.enabled_sources("website").keys() - {site.source for site in sites})
        result = crawl(sites, limits, home, night, earlier_fetches(earlier, home), run_shards)
    decisions = [
        *result.decisions,
        *(Decision(name, name, STEP, "source_not_available", "its artifact is not here") for name in absent),
    ]
    return {
        "decisions": table_of("decisions", [decision.row(night) for decision in decisions]),
        "fetches": table_of("fetches", [{**row, "partition_key": night} for row in result.rows]),
    }


def _fetcher(home: str) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def fetch(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        shards = [Shard.from_json(text) for batch in batches for text in batch.column("shard").to_pylist() if text]
        # Usually one. Hosts that share a task share its process, each still with one connection and its own delay.
        counts = asyncio.run(_fetch_all(shards, Path(home)))
        yield pa.RecordBatch.from_pylist(
            [{"name": shard.name, "rows": count} for shard, count in zip(shards, counts, strict=True)], schema=_DONE
        )

    return fetch


async def _fetch_all(shards: Sequence[Shard], home: Path) -> list[int]:
    slots = asyncio.Semaphore(MAX_HOSTS_AT_ONCE)

    async def one(shard: Shard) -> int:
        async with slots:
            return len((await fetch_shard(shard, home)).rows)

    return list(await asyncio.gather(*(one(shard) for shard in shards)))


JOB = Job(
    name="crawl",
    writes=("decisions", "fetches"),
    reads=(),
    run=_run,
    settings=_settings,
    external=_external,
)
