"""A run: task sets in, ``<home>/generated/<name>/trajectories.jsonl`` and ``report.json`` out.

The file is written anew from the cache each time and put in its place whole, so that a run that is resumed or repeated
leaves equal bytes. Only one run of a name works at a time.
"""

from __future__ import annotations

import asyncio
import fcntl
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import orjson

from forge.config import ConfigurationError, Settings
from forge.schema import Trajectory
from forge.trajectories.generator.cache import Cache, Usage
from forge.trajectories.generator.endpoint import Endpoint, EndpointError
from forge.trajectories.generator.episodes import Dropped, episode
from forge.trajectories.generator.model import Model
from forge.trajectories.generator.options import GeneratorOptions
from forge.trajectories.generator.prompts import prompts_hash
from forge.trajectories.generator.spending import BudgetReachedError, Spending
from forge.trajectories.generator.tasks import TaskSet

_LOOK_AHEAD = 4
_NOT_OF_A_FILE = ("source", "item_id", "partition_key")


@dataclass(slots=True)
class Report:
    """What a run made and spent. ``spent`` is over all runs of the name, ``spent_before`` until this one began."""

    name: str
    model: str
    prompts: str
    task_sets: int = 0
    trajectories: int = 0
    successes: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)
    """Of each reason the first."""
    requests: int = 0
    cached: int = 0
    spent: Usage = field(default_factory=lambda: Usage(0, 0, 0.0))
    spent_before: Usage = field(default_factory=lambda: Usage(0, 0, 0.0))
    stopped: Literal["", "budget", "endpoint"] = ""
    stopped_detail: str = ""
    seconds: float = 0.0


def folder_of(settings: Settings, name: str) -> Path:
    """Where the runs of a name keep everything."""
    return settings.home_path / "generated" / name


def generate(task_sets: Iterable[TaskSet], options: GeneratorOptions, api_key: str, folder: Path) -> Report:
    """Run the episodes, in their order, as far as the budget and the endpoint let them. Raises
    :class:`ConfigurationError` when no endpoint or model is named or another run of the name is at work."""
    if not options.base_url or not options.model:
        raise ConfigurationError("the generator is off: name base_url and model (docs/trajectory-generator.md)")
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder), Cache(folder / "cache.sqlite") as cache:
        report = Report(options.name, options.model, prompts_hash(), spent_before=cache.spent())
        started = time.monotonic()
        asyncio.run(_generate(task_sets, options, api_key, cache, folder / "trajectories.jsonl", report))
        report.spent = cache.spent()
        report.seconds = round(time.monotonic() - started, 3)
        (folder / "report.json").write_bytes(orjson.dumps(asdict(report), option=orjson.OPT_INDENT_2))
    return report


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigurationError(f"{folder}: another run of this name is at work") from None
        yield


async def _generate(
    task_sets: Iterable[TaskSet], options: GeneratorOptions, api_key: str, cache: Cache, output: Path, report: Report
) -> None:
    partial = output.with_suffix(".jsonl.partial")
    async with Endpoint(options, api_key) as endpoint:
        model = Model(options, endpoint, cache, Spending(options.budget, report.spent_before))
        dropped: Counter[str] = Counter()
        failures = 0
        with partial.open("wb") as file:
            async for found in _in_order(task_sets, model, options):
                if isinstance(found, BudgetReachedError):
                    report.stopped = "budget"  # what is at work goes on as far as it comes
                    continue
                report.task_sets += 1
                if isinstance(found, Trajectory):
                    failures = 0
                    report.trajectories += 1
                    report.successes += found.outcome == "success"
                    file.write(_line(found))
                    continue
                reason, detail = (
                    (f"endpoint_{found.reason}", str(found))
                    if isinstance(found, EndpointError)
                    else (found.reason, found.detail)
                )
                dropped[reason] += 1
                report.details.setdefault(reason, detail)
                failures = failures + 1 if isinstance(found, EndpointError) else 0
                if isinstance(found, EndpointError) and (found.is_final or failures >= options.max_failures):
                    report.stopped, report.stopped_detail = "endpoint", detail
                    break
        report.dropped = dict(sorted(dropped.items()))
        report.requests, report.cached = endpoint.requests, model.cached
    if report.trajectories or not report.stopped or not output.exists():
        partial.replace(output)
    else:  # nothing came of this run; what an earlier one made stays
        partial.unlink()


async def _in_order(
    task_sets: Iterable[TaskSet], model: Model, options: GeneratorOptions
) -> AsyncIterator[Trajectory | Dropped | EndpointError | BudgetReachedError]:
    """What became of each set, in the order of the sets; several are at work at a time."""

    async def of(task_set: TaskSet) -> Trajectory | Dropped | EndpointError | BudgetReachedError:
        try:
            return await episode(task_set, model, options)
        except (EndpointError, BudgetReachedError) as error:
            return error

    left = iter(task_sets)
    # Some more than requests at a time: an episode that waits for its turn to be written must not stop the others.
    ahead = options.concurrency if options.concurrency == 1 else _LOOK_AHEAD * options.concurrency
    at_work = deque(asyncio.create_task(of(task_set)) for task_set in islice(left, ahead))
    try:
        while at_work:
            found = await at_work.popleft()
            yield found
            if isinstance(found, BudgetReachedError):
                left = iter(())
            at_work.extend(asyncio.create_task(of(task_set)) for task_set in islice(left, 1))
    finally:
        for task in at_work:
            task.cancel()
        await asyncio.gather(*at_work, return_exceptions=True)


def _line(trajectory: Trajectory) -> bytes:
    """A row of the table ``trajectories``, without what the source that reads the file adds."""
    row: dict[str, Any] = trajectory.row("")
    kept = {name: value for name, value in row.items() if name not in _NOT_OF_A_FILE}
    return orjson.dumps(kept, option=orjson.OPT_APPEND_NEWLINE)
