"""The four components, started for real: a command runs, the supervisor is killed, the next start takes the run up."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from forge_airflow.instance import instance_processes, stop_watchdogs, sweep
from forge_airflow.process import all_processes, identity_of, is_alive, with_descendants

pytestmark = pytest.mark.airflow

ROOT = Path(__file__).resolve().parents[2]
NIGHT = "2026-11-21"

DAGS = """
from airflow.sdk import IdentityMapper, PartitionedAssetTimetable, PartitionedAtRuntime, dag, task
from forge_airflow.operators import CommandOperator
from forge_airflow.steps import RELEASE

@dag(schedule=PartitionedAtRuntime(), max_active_runs=1)
def producer():
    work = CommandOperator(task_id="work", module="slow_command", pool="spark")

    @task(outlets=[RELEASE])
    def announce(result, outlet_events=None):
        outlet_events[RELEASE].extra = {"release_id": result["release_id"]}

    announce(work.output)

@dag(schedule=PartitionedAssetTimetable(assets=RELEASE, default_partition_mapper=IdentityMapper()))
def consumer():
    @task
    def use(dag_run=None):
        return dag_run.partition_key

    use()

@dag(schedule=PartitionedAtRuntime())
def victim():
    CommandOperator(task_id="hang", module="slow_command", arguments=["for ever"])

producer()
consumer()
victim()
"""

COMMAND = """
import json, os, subprocess, sys, time
from pathlib import Path

journal = Path(os.environ["JOURNAL"])
stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(300)"
child = subprocess.Popen([sys.executable, "-c", stubborn], start_new_session=True)
with journal.open("a") as file:
    file.write(f"start {os.getpid()} {child.pid}\\n")
print("working", sys.argv[1:], flush=True)
assert not [name for name in os.environ if name.startswith("AIRFLOW__")], "Airflow's secrets"
if "for ever" in sys.argv or len(journal.read_text().splitlines()) == 1:
    time.sleep(300)  # the first attempt is the one that gets killed
Path(os.environ["FORGE_RESULT"]).write_text(json.dumps({"release_id": "r1", "published": True}))
with journal.open("a") as file:
    file.write("done\\n")
"""

DRIVER = """
import os, sys, time
from datetime import UTC, datetime
from pathlib import Path
import httpx
from forge_airflow.process import identity_of
from forge.config import load_settings
from forge_airflow.supervisor import running_instance, stop_with_callers

home, dags, night = sys.argv[1:]
settings = load_settings("demo").model_copy(update={"home": home})
stop_with_callers()
started = datetime.now(UTC)
with running_instance(settings, print, Path(dags)) as running:
    rest = running.rest
    while not {"producer", "consumer", "victim"} <= rest.dag_ids():
        assert not rest.import_errors(started), rest.import_errors(started)
        time.sleep(0.5)
    rest.unpause("producer")
    rest.unpause("consumer")
    runs = rest.runs("producer", night)
    run_id = runs[0]["dag_run_id"] if runs else rest.trigger("producer", night)
    print("RUN", run_id, len(runs), flush=True)
    while rest.run_state("producer", run_id) in ("queued", "running"):
        running.check()
        time.sleep(0.5)
    print("PRODUCER", rest.run_state("producer", run_id), flush=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        consumers = rest.runs("consumer", night)
        if consumers and consumers[0]["state"] in ("success", "failed"):
            break
        time.sleep(0.5)
    print("CONSUMER", [run["state"] for run in consumers], flush=True)

    board = running.tensorboard_url
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            answer = httpx.get(board + "/data/environment", trust_env=False).json()
            break
        except httpx.TransportError:
            time.sleep(0.5)
    print("TENSORBOARD", board, answer["data_location"], flush=True)

    rest.unpause("victim")
    run_id = rest.trigger("victim", night)
    task = f"/dags/victim/dagRuns/{run_id}/taskInstances/hang"
    journal = Path(os.environ["JOURNAL"])
    while len(journal.read_text().splitlines()) < 4:
        time.sleep(0.5)
    rest.call("PATCH", task, json={"new_state": "failed"})
    pids = [int(pid) for pid in journal.read_text().splitlines()[-1].split()[1:]]
    deadline = time.monotonic() + 60
    while any(identity_of(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.2)
    print("VICTIM", [identity_of(pid) for pid in pids], rest.call("GET", task)["state"], flush=True)
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "flow.py").write_text(DAGS)
    (tmp_path / "commands").mkdir()
    (tmp_path / "commands" / "slow_command.py").write_text(COMMAND)
    home = tmp_path / "home"
    home.mkdir()
    yield home
    stop_watchdogs(home)
    sweep(home, grace_seconds=0.0)


def start(home: Path, output: Path) -> subprocess.Popen[bytes]:
    folder = home.parent
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
        "JOURNAL": str(folder / "journal"),
        "FORGE__HOME": str(home),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins"), str(folder / "commands")]),
    }
    with output.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-u", "-c", DRIVER, str(home), str(folder / "dags"), NIGHT],
            env=environment,
            cwd=folder,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def wait_for(condition, seconds: float, output: Path) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, output.read_text()
        time.sleep(0.1)


def test_a_killed_instance_leaves_nothing_and_its_run_is_taken_up(home: Path) -> None:
    journal = home.parent / "journal"
    first = home.parent / "first.log"
    supervisor = start(home, first)
    wait_for(lambda: journal.exists() and "start" in journal.read_text(), 150, first)
    identity = identity_of(supervisor.pid)
    assert identity is not None
    everything = with_descendants({identity}, all_processes()) | instance_processes(home)
    assert len(everything) > 8, "supervisor, four components, workers, the task, the command and its child"
    supervisor.send_signal(signal.SIGKILL)
    supervisor.wait()
    killed = time.monotonic()
    wait_for(lambda: not any(is_alive(process) for process in everything) and not instance_processes(home), 30, first)
    print(f"all {len(everything)} processes gone after {time.monotonic() - killed:.1f} s")
    _, command, grandchild = journal.read_text().split()
    assert identity_of(int(command)) is None
    assert identity_of(int(grandchild)) is None

    second = home.parent / "second.log"
    started = time.monotonic()
    supervisor = start(home, second)
    code = supervisor.wait(timeout=240)
    text = second.read_text()
    print(f"taken up and finished in {time.monotonic() - started:.1f} s")
    assert code == 0, text
    assert " 1\n" in text[text.index("RUN") :], "the unfinished run was found"
    assert "PRODUCER success" in text
    assert "CONSUMER ['success']" in text, "the asset event started the consumer, once, for the same night"
    assert [line.split()[0] for line in journal.read_text().splitlines()] == ["start", "start", "done", "start"]
    assert re.search(rf"TENSORBOARD http://127\.0\.0\.1:\d+ {home}/runs\n", text)
    assert "VICTIM [None, None] failed" in text, "a task that is marked failed takes its command with it"
    assert instance_processes(home) == set(), "a clean stop leaves nothing either"
    result = home / "airflow" / "results" / "producer" / NIGHT / "work.json"
    assert json.loads(result.read_text()) == {"release_id": "r1", "published": True}
