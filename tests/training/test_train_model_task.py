"""The training task of the DAG, for real: its command is asked to stop in the middle, and its next try goes on."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="forge-airflow-tests-"))

from airflow.sdk import RetryAction

from forge.config import load_settings
from forge_airflow.links import TensorBoardLink
from forge_airflow.operators import RETRY_POLICY, TemporarilyUnavailableError
from forge_airflow.process import ProcessIdentity, is_alive, send_signal
from forge_airflow.training_tasks import training_task

pytestmark = pytest.mark.airflow
NIGHT = "2026-11-21"


@pytest.fixture
def release_id(published_release: Any, command_variables: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """The lake's release, in the environment in which commands use it and a tiny model."""
    for name, value in command_variables(100).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FORGE_TENSORBOARD", "http://127.0.0.1:6006")
    return published_release.release_id


class Store(dict[str, Any]):
    def set(self, key: str, value: Any) -> None:
        self[key] = value


def context() -> Any:
    pushed: dict[str, Any] = {}
    instance = SimpleNamespace(
        dag_id="train_model",
        task_id="pretrain_i",
        map_index=-1,
        pushed=pushed,
        xcom_push=lambda key, value: pushed.update({key: value}),
    )
    return {
        "dag_run": SimpleNamespace(partition_key=NIGHT),
        "params": {"partition_key": None, "profile": None, "disabled_sources": []},
        "run_id": "manual__1",
        "ti": instance,
        "task_state_store": Store(),
    }


def steps_of(home: Path) -> list[int]:
    lines = [line for path in home.glob("runs/*/metrics.jsonl") for line in path.read_text().splitlines()]
    entries = [json.loads(line) for line in lines if line.endswith("}")]
    return [entry["step"] for entry in entries if "event" not in entry]


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)], ids=["one process", "two ranks"])
def test_a_task_that_is_stopped_is_tried_again_and_goes_on_to_the_end(
    release_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    monkeypatch.setenv("FORGE__TRAINING__LAUNCHER__PROCESSES", str(processes))
    home = tmp_path / "home"
    settings = load_settings("demo")

    def task() -> Any:
        return training_task(settings, "pretrain_i", "pretrain", release_id, ["--stage", "I"], doc_md="")

    given = context()

    def stop() -> None:
        deadline = time.monotonic() + 120
        while len(steps_of(home)) < 4 and time.monotonic() < deadline:
            time.sleep(0.05)
        record = given["task_state_store"]["process"]
        send_signal(ProcessIdentity(record["pid"], record["start_ticks"]), signal.SIGTERM)

    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises(TemporarilyUnavailableError, match="exit code 75") as caught:
        task().execute(given)
    assert RETRY_POLICY.evaluate(caught.value, 1, 8).action is RetryAction.RETRY
    record = given["task_state_store"]["process"]
    assert not is_alive(ProcessIdentity(record["pid"], record["start_ticks"]))
    stopped_at = steps_of(home)[-1]
    assert 4 <= stopped_at < 100

    task().execute(given)
    steps = steps_of(home)
    assert steps == list(range(1, len(steps) + 1)), "no step is missing and none is done twice"
    assert len(steps) > stopped_at
    (run,) = (home / "runs").glob("*/run.json")
    assert "I" in json.loads(run.read_text())["stages"]
    link = given["ti"].pushed[TensorBoardLink.key]
    assert link == f"http://127.0.0.1:6006/?runFilter={run.parent.name}#timeseries"
    said = [json.loads(line)["message"] for line in (home / "progress" / f"{NIGHT}.jsonl").read_text().splitlines()]
    assert f"run {run.parent.name} release {release_id}" in said

    task().execute(given)
    assert steps_of(home) == steps, "a finished stage is not trained again"
