"""All processes of one local instance: how they are found, swept away and watched over.

An instance is one home folder. Every process of it carries ``FORGE_INSTANCE`` in its environment (JVMs and Python
workers inherit it). Airflow makes its task processes unreadable for others of the same user ("not dumpable"), so the
sessions of the components are recorded as well, and descendants count.

``python -m forge_airflow.instance HOME PID START_TICKS`` is the watchdog: it waits until the process with that identity
is gone, sweeps the instance, and exits.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from forge_airflow.process import (
    ProcessIdentity,
    ProcessState,
    all_processes,
    environment_of,
    is_alive,
    kill_until_gone,
    marked_processes,
    process_state,
    with_descendants,
)

INSTANCE_VARIABLE = "FORGE_INSTANCE"
"""Environment variable that marks every process of one instance."""


def instance_mark(home: Path) -> str:
    """Value of ``FORGE_INSTANCE`` for the instance that lives in `home`."""
    return hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:24]


def _sessions_file(home: Path) -> Path:
    return home / "airflow" / "sessions.json"


def record_session(home: Path, leader: ProcessIdentity) -> None:
    """Remember that `leader` leads a session of this instance."""
    path = _sessions_file(home)
    path.parent.mkdir(parents=True, exist_ok=True)
    sessions = [*recorded_sessions(home), leader]
    aside = path.with_suffix(f".{os.getpid()}")
    aside.write_text(json.dumps([[session.pid, session.start_ticks] for session in sessions]), encoding="utf-8")
    aside.replace(path)


def recorded_sessions(home: Path) -> list[ProcessIdentity]:
    """Leaders of sessions that were recorded since the last sweep."""
    try:
        return [ProcessIdentity(int(pid), int(ticks)) for pid, ticks in json.loads(_sessions_file(home).read_text())]
    except (OSError, ValueError, TypeError):
        return []


def instance_processes(home: Path) -> set[ProcessIdentity]:
    """Living processes of the instance, without the calling one."""
    processes = all_processes()
    roots = marked_processes(INSTANCE_VARIABLE, instance_mark(home), processes)
    leaders = {leader.pid: leader for leader in recorded_sessions(home)}
    roots |= {
        state.identity
        for state in processes.values()
        if state.session in leaders and _belongs(state, leaders[state.session], processes)
    }
    return with_descendants(roots, processes)


def _belongs(state: ProcessState, leader: ProcessIdentity, processes: Mapping[int, ProcessState]) -> bool:
    """Whether a member of a session of that number is ours: the number may have been given to another by now."""
    if state.session in processes and processes[state.session].identity != leader:
        return False
    return state.identity.start_ticks >= leader.start_ticks and environment_of(state.identity.pid) is None


def sweep(home: Path, grace_seconds: float = 5.0, spare: frozenset[ProcessIdentity] = frozenset()) -> int:
    """Kill every process of the instance but `spare`; returns how many there were. Forgets the recorded sessions."""
    left = instance_processes(home) - spare
    if left:
        kill_until_gone(lambda: instance_processes(home) - spare, grace_seconds)
    _sessions_file(home).unlink(missing_ok=True)
    return len(left)


WATCHDOG_VARIABLE = "FORGE_WATCHDOG"


def stop_watchdogs(home: Path) -> None:
    """Kill the watchdogs of the instance, so that one of an earlier supervisor does not sweep away a new start."""
    kill_until_gone(lambda: marked_processes(WATCHDOG_VARIABLE, instance_mark(home)), grace_seconds=0.0)


def start_watchdog(home: Path) -> subprocess.Popen[bytes]:
    """Start the process that sweeps the instance when the calling process is gone, however it went."""
    own = process_state(os.getpid())
    if own is None:
        raise OSError("/proc is not mounted: a local instance needs Linux")
    arguments = [str(home), str(own.identity.pid), str(own.identity.start_ticks)]
    return subprocess.Popen(
        [sys.executable, "-m", "forge_airflow.instance", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
            WATCHDOG_VARIABLE: instance_mark(home),
        },
    )


def watch(home: Path, watched: ProcessIdentity, poll_seconds: float = 0.5) -> int:
    """Wait for `watched` to end, then sweep. Returns how many processes were killed."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while is_alive(watched):
        time.sleep(poll_seconds)
    return sweep(home, grace_seconds=5.0)


if __name__ == "__main__":
    watch(Path(sys.argv[1]), ProcessIdentity(int(sys.argv[2]), int(sys.argv[3])))
