"""Drive the main job through Airflow to its end and say what happens: what ``make demo`` does.

train_classifier (once) -> corpus_refresh for tonight -> the train_model run that the published release starts. Runs
that an earlier, killed demo left unfinished are taken up, not started again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.table import Table

from forge.config import Settings
from forge_airflow.components import airflow_home
from forge_airflow.releases import evaluated_stages, has_classifier, release_of_night
from forge_airflow.rest import ACTIVE_STATES, FINAL_STATES, AirflowRest
from forge_airflow.supervisor import Running
from forge_airflow.training_operators import PROMOTION

DAGS = ("train_classifier", "corpus_refresh", "train_model")
FINAL_STAGE = "III"
POLL_SECONDS = 1.0
MISSED_RUN_SECONDS = 4.0
"""How long the scheduler may take to start a run that it missed: some of its loops."""
LOG_EVERY_SECONDS = 15.0
"""How often a log file, which cannot redraw a line, gets a line of progress."""


class DemoFailed(Exception):
    """A task failed for good, or a DAG could not be loaded; the message holds the end of the task's log."""


@dataclass
class Timings:
    """Seconds by (DAG, task), of the tasks that this call saw or took up."""

    rows: list[tuple[str, str, str, float]] = field(default_factory=list)

    def table(self) -> Table:
        """The timings as a printable table."""
        table = Table(title="Time per stage", show_edge=False)
        for heading in ("DAG", "task", "state"):
            table.add_column(heading)
        table.add_column("seconds", justify="right")
        for dag_id, task_id, state, seconds in self.rows:
            table.add_row(dag_id, task_id, state, f"{seconds:.1f}")
        return table


class ProgressTail:
    """The newest line of ``progress/<night>.jsonl``, to which jobs and training append."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = path.stat().st_size if path.exists() else 0
        self._last: dict[str, Any] = {}

    def newest(self) -> dict[str, Any]:
        """The newest complete line that was ever seen; empty before the first."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                content = file.read()
        except FileNotFoundError:
            return self._last
        complete = content.rfind(b"\n") + 1
        self._offset += complete
        for line in content[:complete].splitlines():
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, dict):
                self._last = found
        return self._last


def progress_text(line: dict[str, Any]) -> str:
    """One line of progress for people: job, message, tasks done, documents per second."""
    if not line:
        return ""
    parts = [str(line.get("job") or ""), str(line.get("message") or "")]
    if line.get("tasks"):
        parts.append(f"{line.get('tasks_done') or 0}/{line['tasks']} tasks")
    if line.get("rows"):
        parts.append(f"{int(line['rows']):,} documents")
    if line.get("rows_per_second"):
        parts.append(f"{float(line['rows_per_second']):,.0f} documents/s")
    return " · ".join(part for part in parts if part)


def log_tail(settings: Settings, task: dict[str, Any], lines: int = 40) -> str:
    """The last messages of the newest attempt of a task."""
    folder = airflow_home(settings) / "logs" / f"dag_id={task['dag_id']}" / f"run_id={task['dag_run_id']}"
    attempts = sorted(
        (folder / f"task_id={task['task_id']}").glob("attempt=*.log"), key=lambda path: path.stat().st_mtime
    )
    if not attempts:
        return "(no log)"
    messages: list[str] = []
    for raw in attempts[-1].read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(raw)
            text = str(entry.get("event", raw))
            for problem in entry.get("error_detail") or []:
                text += f"\n{problem.get('exc_type')}: {problem.get('exc_value')}"
        except (ValueError, AttributeError):
            text = raw
        messages += text.splitlines()
    return "\n".join([*messages[-lines:], f"(whole log: {attempts[-1]})"])


class Demo:
    """One drive through the main job for one night."""

    def __init__(self, settings: Settings, running: Running, console: Console, partition_key: str) -> None:
        self.settings = settings
        self.running = running
        self.rest: AirflowRest = running.rest
        self.console = console
        self.partition_key = partition_key
        self.timings = Timings()
        self._started = datetime.now(UTC)
        self._trained_path = airflow_home(settings) / "trained.json"
        self._progress = ProgressTail(settings.home_path / "progress" / f"{partition_key}.jsonl")

    def drive(self) -> None:
        """All runs, to their end. Raises DemoFailed, StartError, RestError."""
        self._wait_for_dags()
        if not has_classifier(self.settings):
            self._follow("train_classifier", self._take_up_or_trigger("train_classifier"))
        # Runs of train_model that were there before this drive are not the one that the new release starts.
        known = {run["dag_run_id"] for run in self.rest.runs("train_model", self.partition_key) if not _active(run)}
        self.rest.unpause("train_model")
        refresh = self._take_up_or_trigger("corpus_refresh")
        self._follow("corpus_refresh", refresh)
        training = self._training_run(refresh, known)
        if training is not None:
            self._follow("train_model", training)
            self._remember_training()

    def _wait_for_dags(self, timeout_seconds: float = 120.0) -> None:
        deadline = time.monotonic() + timeout_seconds
        while missing := set(DAGS) - self.rest.dag_ids():
            if errors := self.rest.import_errors(self._started):
                raise DemoFailed("a DAG file could not be loaded:\n" + "\n".join(errors))
            self.running.check()
            if time.monotonic() > deadline:
                raise DemoFailed(f"the dag-processor did not load {', '.join(sorted(missing))}")
            time.sleep(POLL_SECONDS)

    def _take_up_or_trigger(self, dag_id: str) -> str:
        self.rest.unpause(dag_id)
        # An Airflow that was down at night starts the missed run for tonight by itself: that one is taken then.
        deadline = time.monotonic() + MISSED_RUN_SECONDS
        while not any(map(_active, self.rest.runs(dag_id, self.partition_key))) and time.monotonic() < deadline:
            time.sleep(0.5)
        active = [run for run in self.rest.all_runs(dag_id) if _active(run)]
        for run in active:
            if run["partition_key"] != self.partition_key:
                self.console.print(f"{dag_id}: the unfinished run of night {run['partition_key']} is finished first")
        unfinished = [run for run in active if run["partition_key"] == self.partition_key]
        if unfinished:
            run_id = str(unfinished[0]["dag_run_id"])
            self.rest.clear_failed(dag_id, run_id)  # a killed demo may have taken its tasks down with it
            self.console.print(f"{dag_id}: taking up the unfinished run {run_id}", markup=False, highlight=False)
            return run_id
        return self.rest.trigger(dag_id, self.partition_key)

    def _training_run(self, refresh: str, known: set[str]) -> str | None:
        """The run of train_model to wait for; None when the release is trained and evaluated already."""
        announced = any(
            task["task_id"] == "announce" and task["state"] == "success"
            for task in self.rest.tasks("corpus_refresh", refresh)
        )
        deadline = time.monotonic() + (60.0 if announced else 0.0)
        while True:
            runs = [run for run in self.rest.runs("train_model", self.partition_key) if run["dag_run_id"] not in known]
            if runs:
                return str(runs[0]["dag_run_id"])
            if time.monotonic() >= deadline:
                break
            time.sleep(POLL_SECONDS)
        release_id = release_of_night(self.settings, self.partition_key)
        if release_id is not None and self._is_trained(release_id):
            self.console.print(f"release {release_id} is trained and evaluated already", highlight=False)
            return None
        return self.rest.trigger("train_model", self.partition_key)

    def _is_trained(self, release_id: str) -> bool:
        """Whether the release was trained on and evaluated by a drive under today's settings."""
        try:
            remembered = json.loads(self._trained_path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        same = remembered == {"release_id": release_id, "settings": _training_settings_hash(self.settings)}
        return same and FINAL_STAGE in evaluated_stages(self.settings, release_id)

    def _remember_training(self) -> None:
        release_id = release_of_night(self.settings, self.partition_key)
        content = {"release_id": release_id, "settings": _training_settings_hash(self.settings)}
        aside = self._trained_path.with_suffix(".new")
        aside.write_text(json.dumps(content), encoding="utf-8")
        aside.replace(self._trained_path)

    # ---- following one run

    def _follow(self, dag_id: str, run_id: str) -> None:
        """Show a run until it ends. Raises DemoFailed as soon as one of its tasks has failed for good. That the trained
        model was refused as not good enough is a result, and is shown as one."""
        self.console.rule(f"{dag_id} {self.partition_key}", align="left")
        shown: dict[str, str] = {}
        refusal = ""
        with self._status(dag_id) as update:
            while True:
                self.running.check()
                tasks = self.rest.tasks(dag_id, run_id)
                self._report_changes(tasks, shown)
                failed = [task for task in tasks if task["state"] == "failed"]
                refusal = refusal or self._refusal(failed)
                if failed and not refusal:
                    tail = log_tail(self.settings, failed[0])
                    raise DemoFailed(f"{dag_id}.{failed[0]['task_id']} failed. The end of its log:\n{tail}")
                state = self.rest.run_state(dag_id, run_id)
                if state not in ACTIVE_STATES:
                    break
                done = sum(task["state"] in FINAL_STATES for task in tasks)
                active = [task["task_id"] for task in tasks if task["state"] == "running"]
                doing = progress_text(self._progress.newest()) if active else "waiting for the scheduler"
                update(f"{done}/{len(tasks)} tasks · {', '.join(active) or '-'} · {doing}")
                time.sleep(POLL_SECONDS)
        self._report_changes(self.rest.tasks(dag_id, run_id), shown)
        for task in self.rest.tasks(dag_id, run_id):
            self.timings.rows.append((dag_id, task["task_id"], str(task["state"]), float(task["duration"] or 0.0)))
        if refusal:
            self.console.print(f"the trained model is not promoted: {refusal}", markup=False, highlight=False)
        elif state != "success":
            raise DemoFailed(f"the run {run_id} of {dag_id} ended as {state}")

    def _refusal(self, failed: Sequence[dict[str, Any]]) -> str:
        """Why the model was refused, when that is all that failed; else empty."""
        if [task["task_id"] for task in failed] != ["promote"]:
            return ""
        said = self.rest.xcom(failed[0], PROMOTION)
        return said.removeprefix("refused: ") if said.startswith("refused") else ""

    def _report_changes(self, tasks: list[dict[str, Any]], shown: dict[str, str]) -> None:
        for task in tasks:
            state = str(task["state"])
            if state in ("None", "scheduled", "queued") or shown.get(task["task_id"]) == state:
                continue
            shown[task["task_id"]] = state
            seconds = f"  {task['duration']:.1f} s" if task["duration"] and state in FINAL_STATES else ""
            self.console.print(f"{datetime.now(UTC):%H:%M:%S}  {task['task_id']:<16} {state}{seconds}", highlight=False)
            if state == "up_for_reschedule" and (errors := self.rest.import_errors(self._started)):
                raise DemoFailed("a DAG file can no longer be loaded:\n" + "\n".join(errors))
            if state == "up_for_retry":
                self.console.print(
                    log_tail(self.settings, task, lines=8), markup=False, highlight=False, soft_wrap=True
                )

    @contextmanager
    def _status(self, title: str) -> Iterator[Callable[[str], None]]:
        """A line that is redrawn on a terminal, and printed now and then into a log file."""
        if self.console.is_terminal:
            with Status(title, console=self.console) as status:
                yield lambda text: status.update(f"{title}: {escape(text)}")
            return
        last: dict[str, Any] = {"time": time.monotonic(), "text": ""}

        def say(text: str) -> None:
            if text != last["text"] and time.monotonic() - last["time"] >= LOG_EVERY_SECONDS:
                last.update(time=time.monotonic(), text=text)
                line = f"{datetime.now(UTC):%H:%M:%S}  {text}"
                self.console.print(line, markup=False, highlight=False, soft_wrap=True)

        yield say


def _training_settings_hash(settings: Settings) -> str:
    content = [settings.training.model_dump(mode="json"), settings.evaluation.model_dump(mode="json")]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _active(run: dict[str, Any]) -> bool:
    return run["state"] in ACTIVE_STATES
