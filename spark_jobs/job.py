"""What a job is, and how one is run: fingerprint, fence, run, commit.

A job reads pinned tables, applies functions of ``forge`` and writes its tables in the order of ``Job.writes``:
decisions and the item ledger first, the main table last. The main table's commit makes the job *applied*: its
fingerprint covers the code that the job reaches by import, the settings it names, the fingerprints of its inputs and
what lies outside the lake. Running a job that is applied does nothing, so a night can be run again at any time, after
any kind of kill.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeAlias

import orjson
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from forge.config import Settings
from forge.fingerprint import code_hash, value_hash
from forge.lake import Lake, partition_filter
from forge.ledger import current_items
from forge.schema import SIDE_TABLES, TABLES
from spark_jobs.lake_source import lake_options

Scope = Literal["table", "night", "current"]
ITEM_TABLES = ("api_entities", "usages", "api_usages", "trajectories", "web_pages", "texts", "document_sources")
_PROGRESS_SECONDS = 2.0


@dataclass(frozen=True)
class Sharded:
    """Rows to be written as one file per doc_id prefix range, sorted by doc_id: the same bytes whatever the number of
    Spark partitions."""

    rows: DataFrame
    shards: int


Data: TypeAlias = DataFrame | pa.Table | Sharded


def nothing(_: object) -> object:
    """No settings, no external inputs."""
    return None


@dataclass(frozen=True)
class Context:
    """What a running job sees. ``spark_session`` is called once, by the first job that needs Spark."""

    lake: Lake
    settings: Settings
    partition_key: str
    run_id: str
    spark_session: Callable[[], SparkSession]
    job: str = ""

    @property
    def spark(self) -> SparkSession:
        return self.spark_session()

    def table(self, name: str, columns: Sequence[str] | None = None) -> DataFrame:
        """All rows of the nights up to this one."""
        return self._load(name, columns, {"up_to": self.partition_key})

    def night(self, name: str, columns: Sequence[str] | None = None) -> DataFrame:
        """The rows of this night."""
        return self._load(name, columns, {"partition_key": self.partition_key})

    def current(self, name: str, columns: Sequence[str] | None = None) -> DataFrame:
        """Rows of an item table whose item is still there, in its newest version, as of this night."""
        _check_item_table(name)
        wanted = TABLES[name].names if columns is None else list(columns)
        keys = ["source", "item_id", "partition_key"]
        rows = self._load(name, list(dict.fromkeys([*wanted, *keys])), {"up_to": self.partition_key})
        items = self.spark.createDataFrame(
            self._current_items().to_pandas(), "source string, item_id string, partition_key string"
        )
        return rows.join(F.broadcast(items), keys, "left_semi").select(*wanted)

    def arrow(self, name: str, columns: Sequence[str] | None = None, scope: Scope = "table") -> pa.Table:
        """The same rows on the driver, without Spark."""
        if scope == "night":
            return self.lake.read(name, columns, partition_key=self.partition_key)
        if scope == "table":
            return self.lake.read(name, columns, up_to=self.partition_key)
        _check_item_table(name)
        wanted = TABLES[name].names if columns is None else list(columns)
        keys = ["source", "item_id", "partition_key"]
        rows = self.lake.read(name, list(dict.fromkeys([*wanted, *keys])), up_to=self.partition_key)
        alive = {tuple(item.values()) for item in self._current_items().to_pylist()}
        mask = [key in alive for key in zip(*(rows[key].to_pylist() for key in keys), strict=True)]
        return rows.filter(pa.array(mask, pa.bool_())).select(wanted)

    def frame(self, table: str, rows: pa.Table) -> DataFrame:
        """A small Arrow table of a lake table's schema as a Spark DataFrame."""
        from spark_jobs.session import spark_schema

        return self.spark.createDataFrame(rows.to_pylist(), spark_schema(table))

    def say(self, message: str, **figures: object) -> None:
        """One line of progress: for people on standard output, for programs in ``progress/<night>.jsonl``."""
        print(f"[{self.job}] {message}", flush=True)
        folder = self.settings.home_path / "progress"
        folder.mkdir(parents=True, exist_ok=True)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        entry = {"time": now, "job": self.job, "message": message, **figures}
        with (folder / f"{self.partition_key}.jsonl").open("ab") as sink:
            sink.write(orjson.dumps(entry) + b"\n")

    def _load(self, name: str, columns: Sequence[str] | None, options: Mapping[str, str]) -> DataFrame:
        reader = self.spark.read.format("lake").options(**lake_options(self.lake), table=name, **options)
        version = self.lake.version(name)  # pinned now: a lazy plan must not see what is committed later
        if version is not None:
            reader = reader.option("version", str(version))
        return reader.option("columns", ",".join(columns)).load() if columns else reader.load()

    def _current_items(self) -> pa.Table:
        return current_items(self.lake.read("source_items", up_to=self.partition_key))


def _check_item_table(name: str) -> None:
    if name not in ITEM_TABLES:
        raise ValueError(f"table {name!r} has no items; item tables: {', '.join(ITEM_TABLES)}")


@dataclass(frozen=True)
class Job:
    """One job. ``writes`` is in commit order, the main table last; ``reads`` names the tables whose nights up to this
    one the result depends on. ``settings`` and ``external`` return what else it depends on (JSON-like values).
    ``after`` runs when the job is applied, at once or long ago: it raises
    for a failed gate and leaves results for the caller. ``rate_of`` is the table whose rows the job goes through, for
    the rate that people see: "" for the main table, None for no rate."""

    name: str
    writes: tuple[str, ...]
    reads: tuple[str, ...]
    run: Callable[[Context], Mapping[str, Data]]
    settings: Callable[[Settings], object] = nothing
    external: Callable[[Context], object] = nothing
    after: Callable[[Context], None] | None = None
    rate_of: str | None = ""


def fingerprint_of(job: Job, context: Context) -> str:
    """Hash of everything that the job's result depends on."""
    lake, night = context.lake, context.partition_key
    inputs = {table: lake.fingerprints(table, up_to=night) for table in job.reads}
    earlier: dict[str, object] = {}
    for table in job.writes:
        slices = lake.fingerprints(table, before=night)
        if table == "decisions":
            continue
        prefix = f"{table}/{job.name}/" if table in SIDE_TABLES else f"{table}/"
        earlier[table] = {key: value for key, value in slices.items() if key.startswith(prefix)}
    return value_hash(
        {
            "job": job.name,
            "night": night,
            "code": code_hash(f"spark_jobs.{job.name}"),
            "settings": job.settings(context.settings),
            "inputs": inputs,
            "earlier": earlier,
            "external": job.external(context),
        }
    )


def execute(job: Job, context: Context) -> bool:
    """Run a job unless it is applied already. Returns whether it did anything."""
    context = replace(context, job=job.name)
    started = time.monotonic()
    fingerprint = fingerprint_of(job, context)
    lake, night, main = context.lake, context.partition_key, job.writes[-1]
    steps = {table: job.name if table in SIDE_TABLES else None for table in job.writes}
    if lake.is_applied(main, night, fingerprint, steps[main]):
        context.say("unchanged: nothing to do", state="unchanged", seconds=0.0)
        if job.after is not None:
            job.after(context)
        return False
    fences = {table: lake.fence(table, night, steps[table]) for table in job.writes}
    context.say("started", state="started")
    outputs = job.run(context)
    if set(outputs) != set(job.writes):
        raise ValueError(f"job {job.name!r} returned {sorted(outputs)}, its writes are {sorted(job.writes)}")
    counts: dict[str, int] = {}
    for table in job.writes:
        data = outputs[table]
        if isinstance(data, pa.Table):
            lake.write(table, data, night, fingerprint, step=steps[table], fence=fences[table])
        else:
            options = {
                **lake_options(lake),
                "table": table,
                "partition_key": night,
                "fingerprint": fingerprint,
                "fence": str(fences[table].transaction_version),
            }
            if (step := steps[table]) is not None:
                options["step"] = step
            if isinstance(data, Sharded):
                options["shards"] = str(data.shards)
                data = _by_shard(data)
            lake.ensure(table)
            with _Progress(context):
                data.write.format("lake").mode("overwrite").options(**options).save()
        counts[table] = sum(file.rows for file in lake.files(table, where=partition_filter(night, step=steps[table])))
    if any(not isinstance(data, pa.Table) for data in outputs.values()):
        context.spark.catalog.clearCache()
    seconds = time.monotonic() - started
    summary = f"done in {seconds:.1f} s: " + ", ".join(f"{count:,} {table}" for table, count in counts.items())
    figures: dict[str, object] = {"state": "done", "seconds": round(seconds, 1), "counts": counts}
    if job.rate_of is not None:
        through = (
            sum(file.rows for file in lake.files(job.rate_of, where=partition_filter(up_to=night)))
            if job.rate_of
            else counts[main]
        )
        summary += f" ({through / seconds:,.0f} {job.rate_of or main}/s)"
        figures |= {"rows": through, "rows_per_second": round(through / seconds, 1)}
    context.say(summary, **figures)
    if job.after is not None:
        job.after(context)
    return True


def _by_shard(data: Sharded) -> DataFrame:
    # The same arithmetic as lake_source.shard_of, in the JVM.
    owner = F.expr(f"shiftright(conv(substr(doc_id, 1, 8), 16, 10) * {data.shards}L, 32)")
    rows = data.rows.withColumn("_shard", owner).repartition(data.shards, "_shard")
    return rows.sortWithinPartitions("_shard", "doc_id").drop("_shard")


class _Progress:
    """Prints Spark's task counts every few seconds while a write runs."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Progress:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def _watch(self) -> None:
        tracker = self._context.spark.sparkContext.statusTracker()
        last = ""
        while not self._stop.wait(_PROGRESS_SECONDS):
            for stage in sorted(tracker.getActiveStageIds()):
                info = tracker.getStageInfo(stage)
                if info is None:
                    continue
                line = f"stage {stage}: {info.numCompletedTasks}/{info.numTasks} tasks"
                if line != last:
                    self._context.say(line, tasks_done=info.numCompletedTasks, tasks=info.numTasks, state="running")
                    last = line


def write_result(result: Mapping[str, object]) -> None:
    """Leave a small JSON object for the caller, at the path that ``FORGE_RESULT`` names, if it names one."""
    target = os.environ.get("FORGE_RESULT")
    if not target:
        return
    path = Path(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(orjson.dumps(result))
    temporary.replace(path)
