"""Child processes really die: with their parent, by their record, by their mark."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from forge.config import Settings
from forge_airflow import instance, process, supervisor
from forge_airflow.components import StartError
from forge_airflow.process import Job, ProcessIdentity, identity_of, is_alive

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(300)"
)
"""A process that ignores SIGTERM, as a JVM in its shutdown hooks does."""

TREE = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {STUBBORN!r}], start_new_session=True, stdout=subprocess.DEVNULL)
print("child", child.pid, flush=True)
time.sleep(300)
"""
"""A process with a stubborn child in a session of its own, as pyspark's driver with its JVM."""


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


def environment(**extra: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(PLUGINS.parent), str(PLUGINS)]), **extra}


@pytest.fixture
def stray(tmp_path: Path) -> Iterator[list[ProcessIdentity]]:
    """Identities that a test adds are killed at its end, whatever happened."""
    found: list[ProcessIdentity] = []
    yield found
    for one in found:
        process.send_signal(one, signal.SIGKILL)


def collect(job: Job) -> tuple[int, list[str]]:
    lines: list[str] = []
    job.start()
    return job.relay(lines.append), lines


def test_identity_names_one_process_only() -> None:
    own = identity_of(os.getpid())
    assert own is not None
    assert is_alive(own)
    assert not is_alive(ProcessIdentity(own.pid, own.start_ticks + 1)), "an id alone is reused, so it is not enough"
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    assert wait_until(lambda: identity_of(child.pid) is None), "a zombie is not alive"
    child.wait()


def test_output_is_relayed_line_by_line_with_the_exit_code(tmp_path: Path) -> None:
    code = "import sys; print('one'); sys.stderr.write('two\\n'); sys.stdout.buffer.write(b'\\xff three'); sys.exit(7)"
    result, lines = collect(Job(tmp_path, "a/b", [sys.executable, "-u", "-c", code], environment(), tmp_path))
    assert result == 7
    assert lines == ["one", "two", "� three"]
    assert not list(tmp_path.glob("*.json")), "a finished job leaves no record"


def test_an_endless_line_is_passed_on_in_pieces(tmp_path: Path) -> None:
    code = f"print('x' * {process.MAX_LINE_BYTES * 5})"
    result, lines = collect(Job(tmp_path, "a", [sys.executable, "-c", code], environment(), tmp_path))
    assert result == 0
    assert len(lines) > 1
    assert "".join(lines) == "x" * process.MAX_LINE_BYTES * 5


def test_relay_ends_with_the_command_and_kills_what_it_left(tmp_path: Path, stray: list[ProcessIdentity]) -> None:
    code = TREE.replace("time.sleep(300)", "")
    job = Job(tmp_path, "a", [sys.executable, "-c", code], environment(), tmp_path)
    started = time.monotonic()
    result, lines = collect(job)
    assert result == 0
    assert time.monotonic() - started < 15, "the grandchild keeps the pipe open; that must not hold us"
    assert wait_until(lambda: identity_of(int(lines[0].split()[1])) is None)


def test_stop_kills_the_whole_tree_even_if_it_ignores_sigterm(tmp_path: Path) -> None:
    job = Job(tmp_path, "a", [sys.executable, "-c", TREE], environment(), tmp_path, process.Stopping(0.5))
    seen: list[ProcessIdentity] = []

    def on_line(line: str) -> None:
        child = identity_of(int(line.split()[1]))
        assert child is not None
        seen.append(child)
        job.stop()

    job.start()
    assert job.relay(on_line) == -signal.SIGTERM
    assert seen
    assert not is_alive(seen[0])


def test_a_second_attempt_reaps_the_first(tmp_path: Path, stray: list[ProcessIdentity]) -> None:
    first = Job(tmp_path, "dag/task/-1/2026-11-21", [sys.executable, "-c", STUBBORN], environment(), tmp_path)
    identity = first.start()
    stray.append(identity)
    record = json.loads(process.record_path(tmp_path, first.job_key).read_text())
    assert (record["pid"], record["start_ticks"]) == (identity.pid, identity.start_ticks)
    code, lines = collect(
        Job(tmp_path, first.job_key, [sys.executable, "-c", "print('second')"], environment(), tmp_path)
    )
    assert (code, lines) == (0, ["second"])
    assert not is_alive(identity)


def test_reap_finds_a_job_whose_record_never_got_its_process_id(tmp_path: Path, stray: list[ProcessIdentity]) -> None:
    job = Job(tmp_path, "a", [sys.executable, "-c", STUBBORN], environment(), tmp_path)
    identity = job.start()
    stray.append(identity)
    path = process.record_path(tmp_path, "a")
    record = json.loads(path.read_text())
    path.write_text(json.dumps({name: record[name] for name in ("job_key", "token")}))
    assert process.reap(tmp_path, "a", process.Stopping(0.2)) == 1
    assert not is_alive(identity)


def test_reap_spares_a_stranger_with_the_recorded_id(tmp_path: Path) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        identity = identity_of(stranger.pid)
        assert identity is not None
        record = {"pid": identity.pid, "start_ticks": identity.start_ticks - 1}
        process.record_path(tmp_path, "a").write_text(json.dumps(record))
        assert process.reap(tmp_path, "a") == 0
        assert is_alive(identity)
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": "x"}', "null"])
def test_a_broken_record_is_no_obstacle(tmp_path: Path, content: str) -> None:
    process.record_path(tmp_path, "a").write_text(content)
    assert process.reap(tmp_path, "a") == 0
    assert not process.record_path(tmp_path, "a").exists()


def test_the_guard_finishes_what_a_killed_caller_could_not(tmp_path: Path, stray: list[ProcessIdentity]) -> None:
    parent_code = f"""
import os, sys
from pathlib import Path
from forge_airflow.process import Job
job = Job(Path({str(tmp_path)!r}), "a", [sys.executable, "-c", {TREE!r}], dict(os.environ), Path("/"))
job.start()
job.relay(lambda line: print(line, flush=True))
"""
    parent = subprocess.Popen([sys.executable, "-c", parent_code], env=environment(), stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    grandchild = identity_of(int(parent.stdout.readline().split()[1]))
    assert grandchild is not None
    stray.append(grandchild)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert wait_until(lambda: not is_alive(grandchild), 10), "it ignores SIGTERM and is in a session of its own"
    token = process.job_token(tmp_path, "a")
    assert wait_until(lambda: not process.marked_processes(process.GUARD_VARIABLE, token), 5), "the guard is gone too"


def test_a_child_dies_with_a_parent_that_is_killed(tmp_path: Path, stray: list[ProcessIdentity]) -> None:
    parent_code = f"""
import os, sys
from pathlib import Path
from forge_airflow.process import Job
job = Job(Path({str(tmp_path)!r}), "a", [sys.executable, "-c", {STUBBORN!r}], dict(os.environ), Path("/"))
print(job.start().pid, flush=True)
job.relay(lambda line: None)
"""
    # The parent leaves its group first, as Airflow's task runner does.
    parent = subprocess.Popen(
        [sys.executable, "-c", parent_code],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout is not None
    child = identity_of(int(parent.stdout.readline()))
    assert child is not None
    stray.append(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert wait_until(lambda: not is_alive(child), 5)


def test_the_watchdog_sweeps_an_instance_whose_supervisor_is_killed(
    tmp_path: Path, stray: list[ProcessIdentity]
) -> None:
    home = tmp_path / "home"
    supervisor_code = f"""
import os, subprocess, sys, time
from pathlib import Path
from forge_airflow.instance import INSTANCE_VARIABLE, instance_mark, start_watchdog
home = Path({str(home)!r})
watchdog = start_watchdog(home)
marked = {{**os.environ, INSTANCE_VARIABLE: instance_mark(home)}}
child = subprocess.Popen([sys.executable, "-c", {TREE!r}], env=marked, stdout=-1, start_new_session=True, text=True)
print(watchdog.pid, child.pid, child.stdout.readline().split()[1], flush=True)
time.sleep(300)
"""
    caller = subprocess.Popen(
        [sys.executable, "-c", supervisor_code], env=environment(), stdout=subprocess.PIPE, text=True
    )
    assert caller.stdout is not None
    watchdog, *orphans = [identity_of(int(pid)) for pid in caller.stdout.readline().split()]
    assert watchdog is not None
    assert all(orphans)
    stray += [one for one in (watchdog, *orphans) if one is not None]
    os.kill(orphans[0].pid, signal.SIGKILL)  # type: ignore[union-attr]  # its child is an orphan now, like a JVM
    caller.kill()
    caller.wait()
    caller.stdout.close()
    started = time.monotonic()
    assert wait_until(lambda: not any(is_alive(one) for one in stray), 15), "orphans and watchdog are gone in 15 s"
    assert time.monotonic() - started < 15


def test_a_watchdog_of_an_earlier_start_can_be_called_off(tmp_path: Path, stray: list[ProcessIdentity]) -> None:
    watchdog = instance.start_watchdog(tmp_path)
    try:
        identity = identity_of(watchdog.pid)
        assert identity is not None
        other = tmp_path / "other"
        instance.stop_watchdogs(other)
        assert is_alive(identity), "another instance is none of ours"
        instance.stop_watchdogs(tmp_path)
        assert not is_alive(identity)
    finally:
        watchdog.kill()
        watchdog.wait()


def test_sessions_are_matched_only_where_the_mark_cannot_be_read(tmp_path: Path) -> None:
    """A recorded session number that now belongs to a stranger does not get the stranger killed."""
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    try:
        identity = identity_of(stranger.pid)
        assert identity is not None
        instance.record_session(tmp_path, identity)
        assert instance.instance_processes(tmp_path) == set()
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize("killed", ["group leader", "parent"])
def test_a_supervisor_stops_when_its_caller_is_killed(
    tmp_path: Path, killed: str, stray: list[ProcessIdentity]
) -> None:
    """`make demo` under a shell: the leader of the group, or `make` alone, is killed with SIGKILL."""
    script = tmp_path / "supervisor.py"
    script.write_text(
        "import os, time\n"
        "from forge_airflow.supervisor import StopRequest, stop_with_callers\n"
        "stop_with_callers()\n"
        "print(os.getpid(), os.getppid(), flush=True)\n"
        "try:\n"
        "    time.sleep(300)\n"
        "except StopRequest as request:\n"
        "    open('stopped', 'w').write(str(request))\n"
    )
    between = f"import subprocess, sys; subprocess.run([sys.executable, {str(script)!r}])"
    leader = subprocess.Popen(
        [sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {between!r}])"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert leader.stdout is not None
    started, parent = (identity_of(int(pid)) for pid in leader.stdout.readline().split())
    assert started is not None
    assert parent is not None
    stray += [started, parent]
    assert parent.pid != leader.pid
    os.kill(leader.pid if killed == "group leader" else parent.pid, signal.SIGKILL)
    assert wait_until(lambda: not is_alive(started), 5)
    assert (tmp_path / "stopped").read_text() == "SIGTERM"
    leader.stdout.close()
    leader.kill()
    leader.wait()


def test_one_supervisor_for_each_home(settings: Settings) -> None:
    assert supervisor.supervisor_of(settings) is None
    with supervisor.instance_lock(settings):
        with pytest.raises(StartError, match=f"already running .pid {os.getpid()}"), supervisor.instance_lock(settings):
            pass
        assert supervisor.supervisor_of(settings) == identity_of(os.getpid())
    assert supervisor.supervisor_of(settings) is None
    with supervisor.instance_lock(settings):
        pass
