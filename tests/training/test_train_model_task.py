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

from forge.config import Settings, TrainingSettings, load_settings
from forge.schema import canonical_json
from forge_airflow.links import EvaluationReportLink, TensorBoardLink
from forge_airflow.operators import RETRY_POLICY, NotPromotedError, TemporarilyUnavailableError
from forge_airflow.process import ProcessIdentity, is_alive, send_signal
from forge_airflow.training_tasks import training_task
from tests.training.evaluated_run import EVALUATION, damage, link_artifacts, train
from training.command import run_of

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


@pytest.fixture
def evaluated_release(
    published_release: Any,
    training_settings: TrainingSettings,
    command_variables: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """The lake's release, in the environment in which commands tune a tiny model on it and ask it a few questions."""
    link_artifacts(tmp_path / "home")
    stages = {name: stage.model_dump(mode="json") for name, stage in training_settings.stages.items()}
    evaluation = EVALUATION | {"tasks": ["piqa"], "items": {"piqa": 40}}
    limits = {"max_fall_points": 30, "max_loss_rise": 0.3, "max_function_loss_rise": 0.3, "require_resolved": True}
    variables = command_variables(1) | {"FORGE__TRAINING__STAGES": canonical_json(stages)}
    variables |= {
        f"FORGE__EVALUATION__{name.upper()}": canonical_json(value)
        for name, value in {**evaluation, "promotion": limits}.items()
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("FORGE_TENSORBOARD", raising=False)
    return str(published_release.release_id)


def run_task(settings: Settings, command: str, release_id: str, *arguments: str) -> tuple[Any, Exception | None]:
    """What a task of training left in XCom, and what it raised."""
    given, raised = context(), None
    given["ti"].task_id = command
    try:
        training_task(settings, command, command, release_id, list(arguments), doc_md="").execute(given)
    except Exception as error:  # noqa: BLE001 - returned
        raised = error
    return given["ti"].pushed, raised


@pytest.mark.model
@pytest.mark.timeout(900)
def test_a_damaged_model_is_evaluated_linked_and_not_promoted(evaluated_release: str, tmp_path: Path) -> None:
    """`evaluate` and `promote` as the DAG runs them: for a sound model, then for one that was damaged."""
    settings = load_settings("demo")
    checkpoints = ["--checkpoint", "base", "--checkpoint", "III"]
    run = run_of(settings, evaluated_release)
    train(run)
    pushed, raised = run_task(settings, "evaluate", evaluated_release, *checkpoints)
    assert raised is None
    assert pushed[EvaluationReportLink.key] == f"/forge/reports/{run.run_id}/report.html"
    report = tmp_path / "home" / "runs" / run.run_id / "report.html"
    assert "The model may be promoted" in report.read_text()
    pushed, raised = run_task(settings, "promote", evaluated_release)
    assert raised is None
    assert pushed["promotion"].startswith("promoted: ")
    promoted = tmp_path / "home" / "models" / "promoted"
    assert promoted.resolve() == run.model_folder("III").resolve()

    promoted.unlink()  # as if the damaged one were the first
    damage(run, "III")
    _, raised = run_task(settings, "evaluate", evaluated_release, *checkpoints)
    assert raised is None, "what is measured of a bad model is a result"
    assert "Promotion refused" in report.read_text()
    pushed, raised = run_task(settings, "promote", evaluated_release)
    assert isinstance(raised, NotPromotedError), "and Airflow tries it no more"
    assert pushed["promotion"].startswith("refused: ")
    assert "piqa bits_per_byte against base" in pushed["promotion"]
    assert not promoted.is_symlink(), "nothing was promoted"
