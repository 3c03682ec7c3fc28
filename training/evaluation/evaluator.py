"""Measure a subject by tasks: records are on the disk as they are made, a killed evaluation goes on with the rest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from forge.config import EvaluationTask, Settings
from forge.schema import content_hash
from training.evaluation.comparison import TaskRecords
from training.evaluation.records import ItemRecord, RecordFile, read_records
from training.evaluation.subject import LocalSubject, Subject
from training.evaluation.task import NotEvaluated, OverallScore, Task
from training.evaluation.tasks import task_of
from training.run import Run, Stopped

EVALUATION_VERSION = "3"
SAY_SECONDS = 15.0
Say = Callable[[str], None]


@dataclass(frozen=True)
class MeasuredTask:
    """One task of one subject, whole. ``records_key`` is that of its record file; ``seconds`` what this process took:
    0 when it was measured before."""

    name: str
    measured: TaskRecords
    records_key: str
    notes: Mapping[str, Any]
    seconds: float


def prepare_tasks(settings: Settings, run: Run | None, subject: Subject) -> dict[EvaluationTask, Task | NotEvaluated]:
    """The tasks of the settings in their order, each with the items that it has here, or with the reason why not."""
    prepared: dict[EvaluationTask, Task | NotEvaluated] = {}
    for name in settings.evaluation.tasks:
        try:
            task = task_of(name, settings, run, max_items_of(settings, name, subject.device))
            if task.needs_weights and not isinstance(subject, LocalSubject):
                raise NotEvaluated("an endpoint does not tell the probabilities of given texts")
            prepared[name] = task
        except NotEvaluated as reason:
            prepared[name] = reason
    return prepared


def max_items_of(settings: Settings, task: EvaluationTask, device: str) -> int:
    """At most so many items: what the settings name for the task, else all, on a CPU ``max_items_on_cpu``."""
    chosen = settings.evaluation
    return chosen.items.get(task, chosen.max_items_on_cpu if device == "cpu" else 2**31)


def measure_task(task: Task, subject: Subject, identity: str, folder: Path, stop: object, say: Say) -> MeasuredTask:
    """Measure what ``folder/<task>.jsonl`` does not hold yet. ``identity``: hash of weights and precision.

    Raises :class:`training.run.Stopped` when ``stop`` becomes true; what is measured stays.
    """
    file = RecordFile(
        folder / f"{task.name}.jsonl",
        content_hash(EVALUATION_VERSION, task.name, task.key, subject.prompt_hash, identity),
    )
    missing = [item_id for item_id in task.item_ids if item_id not in file.records]
    started = time.monotonic()
    if missing:
        file.extend(_told(task.measure(subject, missing), task.name, len(missing), say), stop)
    if stop:
        raise Stopped(f"{task.name}: stopped after {len(file.records)} of {len(task.item_ids)} items")
    lost = [item_id for item_id in task.item_ids if item_id not in file.records]
    if lost:
        raise RuntimeError(f"{task.name}: no record of {len(lost)} items, the first is {lost[0]}")
    seconds = time.monotonic() - started
    say(f"{task.name}: {len(task.item_ids)} items in {seconds:.1f} s" if missing else f"{task.name}: measured before")
    records = {item_id: file.records[item_id] for item_id in task.item_ids}
    measured = TaskRecords(task.key, subject.prompt_hash, records, task.overall)
    return MeasuredTask(task.name, measured, file.key, task.notes, seconds)


def _told(records: Iterable[ItemRecord], name: str, items: int, say: Say) -> Iterator[ItemRecord]:
    """The records, with a line now and then that says how far it is."""
    started = said = time.monotonic()
    for number, record in enumerate(records, start=1):
        yield record
        now = time.monotonic()
        if now - said >= SAY_SECONDS and number < items:
            said = now
            left = (now - started) / number * (items - number)
            say(f"{name}: {number} of {items} items, about {left:.0f} s left")


def read_evaluation(folder: Path, name: str) -> dict[str, Any]:
    """The object of ``evaluation-<name>.json``; {} when there is none, or when it is of another version of ours."""
    path = folder / f"evaluation-{name}.json"
    found: dict[str, Any] = orjson.loads(path.read_bytes()) if path.is_file() else {}
    return found if found.get("evaluation_version") == EVALUATION_VERSION else {}


def read_measured(folder: Path, name: str) -> dict[str, TaskRecords]:
    """What an evaluation left in ``folder``: records by task of the checkpoint ``name``; {} when there is none.

    Only tasks that ``evaluation-<name>.json`` names count: another one was measured half.
    """
    result = read_evaluation(folder, name)
    return {
        task: TaskRecords(
            said["key"],
            result["prompt_hash"],
            read_records(folder / "evaluation" / name / f"{task}.jsonl", said["records_key"]),
            tuple(OverallScore(**score) for score in said["overall"]),
        )
        for task, said in result.get("tasks", {}).items()
    }


@dataclass(frozen=True)
class Evaluated:
    """Everything that was measured of one subject. ``seconds``: what this process took."""

    name: str
    prompt_hash: str
    device: str
    tasks: Mapping[str, MeasuredTask]
    not_evaluated: Mapping[str, str]
    seconds: float

    @property
    def records(self) -> dict[str, TaskRecords]:
        return {name: task.measured for name, task in self.tasks.items()}


def evaluate(
    name: str,
    subject: Subject,
    identity: str,
    settings: Settings,
    run: Run | None,
    folder: Path,
    stop: object,
    say: Say,
) -> Evaluated:
    """Measure every task of the settings; records go to ``folder``. ``name``: what the subject is called.

    Raises :class:`training.run.Stopped`.
    """

    def say_of_task(line: str) -> None:
        say(f"{name}: {line}")

    started = time.monotonic()
    measured: dict[str, MeasuredTask] = {}
    not_evaluated: dict[str, str] = {}
    for task_name, task in prepare_tasks(settings, run, subject).items():
        try:
            if isinstance(task, NotEvaluated):
                raise task
            measured[task_name] = measure_task(task, subject, identity, folder, stop, say_of_task)
        except NotEvaluated as reason:  # also while it is measured: an environment that does not start
            not_evaluated[task_name] = str(reason)
            say_of_task(f"{task_name} is not evaluated: {reason}")
    return Evaluated(name, subject.prompt_hash, subject.device, measured, not_evaluated, time.monotonic() - started)
