"""Operators: commands, exit codes, results, kills. The commands are real; only Airflow's context is made up."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import RetryAction
from airflow.sdk.exceptions import AirflowFailException

from forge_airflow import operators
from forge_airflow.links import SparkInterfaceLink
from forge_airflow.operators import CommandOperator, SparkJobsOperator
from forge_airflow.process import identity_of, is_alive, process_state

pytestmark = pytest.mark.airflow

NIGHT = "2026-11-21"
ContextOf = Callable[..., Any]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FORGE__HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    return tmp_path / "home"


def operator(tmp_path: Path, code: str, kind: type[CommandOperator] = CommandOperator) -> CommandOperator:
    (tmp_path / "a_command.py").write_text(code)
    made = CommandOperator(task_id="task", module="a_command", arguments=["one", "two words; $(rm)"])
    made.__class__ = kind
    return made


def test_the_command_gets_arguments_night_and_run_and_returns_a_reference(
    home: Path, tmp_path: Path, context: ContextOf
) -> None:
    code = (
        "import json, os, sys\n"
        "names = ('FORGE_PARTITION', 'FORGE_RUN_ID', 'FORGE_PROFILE', 'HF_HUB_OFFLINE', 'PYSPARK_PYTHON')\n"
        "found = {'arguments': sys.argv[1:], **{name: os.environ[name] for name in names}}\n"
        "found['airflow'] = [name for name in os.environ if name.startswith('AIRFLOW')]\n"
        "json.dump(found, open(os.environ['FORGE_RESULT'], 'w'))\n"
    )
    given = context()
    found = operator(tmp_path, code).execute(given)
    assert found == {
        "arguments": ["one", "two words; $(rm)", "--profile", "demo"],
        "FORGE_PARTITION": NIGHT,
        "FORGE_RUN_ID": "manual__1",
        "FORGE_PROFILE": "demo",
        "HF_HUB_OFFLINE": "1",
        "PYSPARK_PYTHON": sys.executable,
        "airflow": [],
    }
    assert given["task_state_store"]["process"]["host"] == socket.gethostname()


def test_a_result_of_an_earlier_try_is_not_taken_for_this_one(home: Path, tmp_path: Path, context: ContextOf) -> None:
    made = operator(tmp_path, "import os; open(os.environ['FORGE_RESULT'], 'w').write('{}')")
    assert made.execute(context()) == {}
    (tmp_path / "a_command.py").write_text("")
    assert made.execute(context()) is None


@pytest.mark.parametrize("content", ["[1]", "{", "'\"x\"'"])
def test_a_result_that_is_no_object_fails(home: Path, tmp_path: Path, content: str, context: ContextOf) -> None:
    made = operator(tmp_path, f"import os; open(os.environ['FORGE_RESULT'], 'w').write({content!r})")
    with pytest.raises(operators.CommandFailedError, match="JSON"):
        made.execute(context())


def test_a_result_is_small(home: Path, tmp_path: Path, context: ContextOf) -> None:
    made = operator(tmp_path, "import os; open(os.environ['FORGE_RESULT'], 'w').write('[' + ' ' * 20000 + ']')")
    with pytest.raises(operators.CommandFailedError, match="at most 16384 bytes"):
        made.execute(context())


@pytest.mark.parametrize(
    ("code", "error", "action"),
    [
        (1, operators.CommandFailedError, RetryAction.DEFAULT),
        (3, operators.ResultRefusedError, RetryAction.FAIL),
        (75, operators.TemporarilyUnavailableError, RetryAction.RETRY),
        (78, operators.InvalidConfigurationError, RetryAction.FAIL),
    ],
)
def test_exit_codes_decide_about_another_try(
    home: Path, tmp_path: Path, code: int, error: type[Exception], action: RetryAction, context: ContextOf
) -> None:
    made = operator(tmp_path, f"raise SystemExit({code})")
    with pytest.raises(error, match=f"exit code {code}") as caught:
        made.execute(context())
    assert type(caught.value) is error
    assert operators.RETRY_POLICY.evaluate(caught.value, 1, 2).action is action


def test_death_by_a_signal_may_be_retried(home: Path, tmp_path: Path, context: ContextOf) -> None:
    made = operator(tmp_path, "import os; os.kill(os.getpid(), 9)")
    with pytest.raises(operators.CommandFailedError, match="signal 9"):
        made.execute(context())


@pytest.mark.parametrize("key", [None, "", "today", "2026-11-21; rm", "2026-11-21\n"])
def test_a_run_without_a_night_is_refused(home: Path, tmp_path: Path, key: str | None, context: ContextOf) -> None:
    with pytest.raises(AirflowFailException, match="expected YYYY-MM-DD"):
        operator(tmp_path, "").execute(context(key))


def test_the_night_may_come_from_the_form(home: Path, tmp_path: Path, context: ContextOf) -> None:
    made = operator(tmp_path, "import os; assert os.environ['FORGE_PARTITION'] == '2026-01-02'")
    made.execute(context(None, partition_key="2026-01-02"))


def test_sources_can_be_left_out(home: Path, tmp_path: Path, context: ContextOf) -> None:
    made = operator(
        tmp_path,
        "from forge.config import load_settings; assert not load_settings().sources['debian_handbook'].enabled",
    )
    made.execute(context(disabled_sources=["debian_handbook"]))
    for name in ("no_such_source", "x__y; z"):
        with pytest.raises(AirflowFailException):
            made.execute(context(disabled_sources=[name]))


def test_an_unknown_profile_is_refused(home: Path, tmp_path: Path, context: ContextOf) -> None:
    with pytest.raises(AirflowFailException, match="known profiles"):
        operator(tmp_path, "").execute(context(profile="nowhere"))


def test_kill_stops_the_command(home: Path, tmp_path: Path, context: ContextOf) -> None:
    made = operator(tmp_path, "import time; time.sleep(300)")
    given = context()
    killer = threading.Thread(target=lambda: (_wait_for_process(given), made.on_kill()))
    killer.start()
    started = time.monotonic()
    with pytest.raises(operators.CommandFailedError, match="signal 15"):
        made.execute(given)
    killer.join()
    assert time.monotonic() - started < 10
    assert process_state(given["task_state_store"]["process"]["pid"]) is None


def _wait_for_process(given: Any) -> None:
    while "process" not in given["task_state_store"]:
        time.sleep(0.05)


def test_what_an_earlier_try_left_in_the_state_store_is_stopped(home: Path, tmp_path: Path, context: ContextOf) -> None:
    earlier = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    try:
        identity = identity_of(earlier.pid)
        assert identity is not None
        given = context()
        record = {"host": "elsewhere", "pid": identity.pid, "start_ticks": identity.start_ticks}
        given["task_state_store"].set("process", record)
        operator(tmp_path, "").execute(given)
        assert is_alive(identity), "a process id of another machine means nothing here"
        given["task_state_store"].set("process", {**record, "host": socket.gethostname()})
        operator(tmp_path, "").execute(given)
        assert not is_alive(identity)
    finally:
        earlier.send_signal(signal.SIGKILL)
        earlier.wait()


def test_the_spark_interface_is_linked_while_the_job_runs(home: Path, tmp_path: Path, context: ContextOf) -> None:
    made = operator(tmp_path, "print('[render] Spark UI: http://127.0.0.1:4040 of application x')", SparkJobsOperator)
    given = context()
    made.execute(given)
    assert set(given["ti"].pushed.values()) == {"http://127.0.0.1:4040"}
    (tmp_path / "a_command.py").write_text("")
    made.execute(given)
    assert given["ti"].pushed[SparkInterfaceLink.key] == "", "the address of an earlier try is forgotten"


def test_spark_jobs_share_the_pool() -> None:
    made = SparkJobsOperator(task_id="render", jobs=["render"])
    assert made.pool == "spark"
    assert made.arguments[:1] == ["render"]
    assert made.retries >= 1
