"""Child processes that never outlive their caller and never act twice (DESIGN D12).

Four nets, each for what the one before it cannot catch:

1. A child asks the kernel to be killed when its parent dies (``PR_SET_PDEATHSIG``). Airflow's task runner moves into a
   process group of its own, so signals to a group do not reach far enough.
2. What a job starts is recorded before it starts: the job's token stands in the environment of the child and of all
   that the child starts (a JVM, Python workers), process id and start time in a file. :func:`reap` kills what is left.
3. A guard beside each job waits for the end of the caller. Airflow kills a task runner five seconds after it asked it
   to end, which is before a stubborn tree is gone; then the guard finishes the work.
4. Everything that a local instance starts carries a mark of the instance; ``forge_airflow.instance`` sweeps by it.

A process is named by id and start time together: ids are reused. Only the standard library is imported here, since the
watchdog has to start at once.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_LIBC = ctypes.CDLL(None, use_errno=True)
_PROC = Path("/proc")

JOB_VARIABLE = "FORGE_JOB"
"""Environment variable that marks every process of one job."""

GUARD_VARIABLE = "FORGE_JOB_GUARD"
"""Environment variable that marks the guards of one job."""

STOP_SECONDS = 3.0
"""Between SIGTERM and SIGKILL: shorter than the five seconds that Airflow gives a task runner."""

MAX_LINE_BYTES = 16 * 1024
"""A line of output longer than this is passed on in pieces."""


@dataclass(frozen=True)
class Stopping:
    """How a job is stopped: SIGTERM, and SIGKILL for what is left after `grace_seconds`.

    `leader_only`: SIGTERM goes to the first process of the job alone. That is for a command that stops what it started
    by itself, in order, as the launcher of ranks does: a rank must not be asked twice.
    """

    grace_seconds: float = STOP_SECONDS
    leader_only: bool = False


@dataclass(frozen=True, order=True)
class ProcessIdentity:
    """One process, for as long as the machine is up: its id and its start time in clock ticks after boot."""

    pid: int
    start_ticks: int


@dataclass(frozen=True)
class ProcessState:
    """What ``/proc/PID/stat`` says of one process."""

    identity: ProcessIdentity
    parent: int
    group: int
    session: int
    zombie: bool


def process_state(pid: int) -> ProcessState | None:
    """State of process `pid`, None when there is none."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The second field, the name in parentheses, may itself hold blanks and parentheses.
    fields = text[text.rindex(")") + 2 :].split()
    return ProcessState(
        ProcessIdentity(pid, int(fields[19])), int(fields[1]), int(fields[2]), int(fields[3]), fields[0] in "ZX"
    )


def identity_of(pid: int) -> ProcessIdentity | None:
    """Identity of the living process `pid`; None when it is gone or a zombie."""
    state = process_state(pid)
    return None if state is None or state.zombie else state.identity


def is_alive(process: ProcessIdentity) -> bool:
    """Whether exactly this process still runs."""
    return identity_of(process.pid) == process


def all_processes() -> dict[int, ProcessState]:
    """Every process that is visible and no zombie, by id."""
    states = (process_state(int(entry.name)) for entry in _PROC.iterdir() if entry.name.isdigit())
    return {state.identity.pid: state for state in states if state is not None and not state.zombie}


def environment_of(pid: int) -> dict[bytes, bytes] | None:
    """Environment with which `pid` was started; None when it may not be read (gone, of another user, not dumpable)."""
    try:
        content = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return None
    return dict(pair.split(b"=", 1) for pair in content.split(b"\0") if b"=" in pair)


def marked_processes(
    variable: str, value: str, processes: Mapping[int, ProcessState] | None = None
) -> set[ProcessIdentity]:
    """Living processes that were started with ``variable=value``, without the calling one."""
    processes = all_processes() if processes is None else processes
    name, expected = variable.encode(), value.encode()
    return {
        state.identity
        for pid, state in processes.items()
        if pid != os.getpid() and (environment_of(pid) or {}).get(name) == expected
    }


def with_descendants(roots: Iterable[ProcessIdentity], processes: Mapping[int, ProcessState]) -> set[ProcessIdentity]:
    """`roots` and all that descends from them, without the calling process."""
    children: dict[int, list[ProcessState]] = {}
    for state in processes.values():
        children.setdefault(state.parent, []).append(state)
    found: set[ProcessIdentity] = set()
    pending = list(roots)
    while pending:
        process = pending.pop()
        if process in found or process.pid == os.getpid():
            continue
        found.add(process)
        pending += [child.identity for child in children.get(process.pid, [])]
    return found


def send_signal(process: ProcessIdentity, number: signal.Signals) -> None:
    """Signal exactly this process; silent when it is gone or not ours."""
    if is_alive(process):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, number)


def kill_until_gone(
    find: Callable[[], set[ProcessIdentity]],
    grace_seconds: float,
    deadline_seconds: float | None = None,
    leader: ProcessIdentity | None = None,
) -> set[ProcessIdentity]:
    """SIGTERM what `find` returns, SIGKILL what is left after `grace_seconds`, until `find` returns nothing.

    `find` is asked again and again, so a process that is started meanwhile is caught too. With a `leader`, SIGTERM goes
    to it alone while it lives. Returns what is still there `deadline_seconds` after the start (a process in
    uninterruptible sleep), normally the empty set; default: 17 seconds after the grace.
    """
    deadline_seconds = grace_seconds + 17.0 if deadline_seconds is None else deadline_seconds
    start = time.monotonic()
    asked: set[ProcessIdentity] = set()
    while left := find():
        elapsed = time.monotonic() - start
        if elapsed >= deadline_seconds:
            return left
        polite = {leader} if leader is not None and leader in left else left
        for process in left if elapsed >= grace_seconds else polite - asked:
            send_signal(process, signal.SIGKILL if elapsed >= grace_seconds else signal.SIGTERM)
            asked.add(process)
        time.sleep(0.05)
    return set()


def die_with_parent(number: signal.Signals = signal.SIGKILL, parent_pid: int | None = None) -> None:
    """Have the kernel send `number` to this process when the thread that started it ends.

    `parent_pid`: the parent at the time of the start; when it is already gone, this process exits at once.
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if parent_pid is not None and os.getppid() != parent_pid:
        os._exit(1)


def start_tied(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    cwd: Path,
    output: int,
    death_signal: signal.Signals = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own, tied to the life of the calling thread.

    `output` is a file descriptor or ``subprocess.PIPE`` for stdout and stderr together.
    """
    parent = os.getpid()
    return subprocess.Popen(
        list(command),
        env=dict(environment),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=lambda: die_with_parent(death_signal, parent),  # noqa: PLW1509 - only a system call
    )


# ---- jobs and their records


def job_token(folder: Path, job_key: str) -> str:
    """Mark of the processes of job `job_key` of the instance whose records lie in `folder`."""
    return hashlib.sha256(f"{folder.resolve()}\0{job_key}".encode()).hexdigest()[:24]


def record_path(folder: Path, job_key: str) -> Path:
    """File that records what job `job_key` started."""
    readable = "".join(character if character.isalnum() or character in "._-" else "_" for character in job_key)
    return folder / f"{readable[:120]}.{job_token(folder, job_key)[:8]}.json"


def _write_record(path: Path, record: Mapping[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(json.dumps(record, sort_keys=True), encoding="utf-8")
    aside.replace(path)


def recorded_process(path: Path) -> ProcessIdentity | None:
    """The process that a record names; None when there is no record or it never got to the start."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return ProcessIdentity(int(record["pid"]), int(record["start_ticks"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def job_processes(folder: Path, job_key: str) -> set[ProcessIdentity]:
    """All living processes of a job: the recorded one, those that carry its mark, and what descends from them."""
    processes = all_processes()
    roots = marked_processes(JOB_VARIABLE, job_token(folder, job_key), processes)
    recorded = recorded_process(record_path(folder, job_key))
    if recorded is not None and recorded.pid in processes and processes[recorded.pid].identity == recorded:
        roots.add(recorded)
    return with_descendants(roots, processes)


def reap(folder: Path, job_key: str, stopping: Stopping = Stopping()) -> int:
    """Kill whatever an earlier attempt of job `job_key` left running, drop its record. Returns how many processes."""
    left = job_processes(folder, job_key)
    if left:
        leader = recorded_process(record_path(folder, job_key)) if stopping.leader_only else None
        kill_until_gone(lambda: job_processes(folder, job_key), stopping.grace_seconds, leader=leader)
    record_path(folder, job_key).unlink(missing_ok=True)
    return len(left)


def _start_guard(
    folder: Path, job_key: str, environment: Mapping[str, str], stopping: Stopping
) -> subprocess.Popen[bytes]:
    """Start the process that reaps the job when the calling process is gone."""
    own = process_state(os.getpid())
    ticks = own.identity.start_ticks if own is not None else 0
    arguments = [str(folder), job_key, str(os.getpid()), str(ticks)]
    arguments += [str(stopping.grace_seconds), *(["leader"] if stopping.leader_only else [])]
    return subprocess.Popen(
        [sys.executable, "-m", "forge_airflow.process", *arguments],
        env={
            **environment,
            "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
            GUARD_VARIABLE: job_token(folder, job_key),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _stop_guards(folder: Path, job_key: str) -> None:
    """End the guards of a job, so that one of an earlier attempt does not reap a later one."""
    token = job_token(folder, job_key)
    kill_until_gone(lambda: marked_processes(GUARD_VARIABLE, token), grace_seconds=0.0)


def guard(
    folder: Path,
    job_key: str,
    caller: ProcessIdentity,
    stopping: Stopping = Stopping(),
    poll_seconds: float = 0.5,
) -> int:
    """Wait until `caller` is gone, then reap its job. Returns how many processes were killed."""
    while is_alive(caller):
        time.sleep(poll_seconds)
    return reap(folder, job_key, stopping)


class Job:
    """One command of one job: started once, relayed line by line, stopped as a whole.

    Use: ``job = Job(folder, key, command, environment, cwd); job.start(); code = job.relay(print)``.
    """

    def __init__(
        self,
        folder: Path,
        job_key: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        cwd: Path,
        stopping: Stopping = Stopping(),
    ) -> None:
        self.stopping = stopping
        self.folder = folder
        self.job_key = job_key
        self.command = tuple(command)
        self.environment = {**environment, JOB_VARIABLE: job_token(folder, job_key)}
        self.cwd = cwd
        self._inherited = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    def start(self) -> ProcessIdentity:
        """Reap an earlier attempt, record, start, record the process. Raises OSError when it cannot be started."""
        _stop_guards(self.folder, self.job_key)
        reap(self.folder, self.job_key, self.stopping)
        self._guard = _start_guard(self.folder, self.job_key, self._inherited, self.stopping)
        path = record_path(self.folder, self.job_key)
        record: dict[str, object] = {
            "job_key": self.job_key,
            "command": self.command,
            "token": self.environment[JOB_VARIABLE],
        }
        _write_record(path, record)
        self._process = start_tied(self.command, environment=self.environment, cwd=self.cwd, output=subprocess.PIPE)
        state = process_state(self._process.pid)  # a zombie too: it cannot be reused before we wait for it
        identity = state.identity if state is not None else ProcessIdentity(self._process.pid, 0)
        _write_record(path, {**record, "pid": identity.pid, "start_ticks": identity.start_ticks})
        return identity

    def relay(self, on_line: Callable[[str], None]) -> int:
        """Pass every line of output to `on_line` until the command ends; stop what it left behind.

        Returns its exit code, negative for a signal. Whatever interrupts this call stops the command first.
        """
        if self._process is None:
            raise RuntimeError("the job was not started")
        try:
            for line in _lines(self._process):
                on_line(line)
            return self._process.wait()
        finally:
            self.stop()

    def stop(self) -> None:
        """SIGTERM, then SIGKILL, to all processes of the job; returns within about its grace + 20 seconds."""
        reap(self.folder, self.job_key, self.stopping)
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=5)
        if self._guard is not None:
            self._guard.kill()
            self._guard.wait()


def _lines(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """Lines of output of `process`. Ends soon after the process even if a grandchild keeps the pipe open."""
    if process.stdout is None:
        return
    descriptor = process.stdout.fileno()
    os.set_blocking(descriptor, False)
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            ended = process.poll() is not None
            ready = selector.select(timeout=0.0 if ended else 0.5)
            chunk = os.read(descriptor, 64 * 1024) if ready else None
            if chunk == b"" or (ended and chunk is None):
                break
            *lines, rest = (rest + (chunk or b"")).split(b"\n")
            if len(rest) > MAX_LINE_BYTES:
                lines, rest = [*lines, rest], b""
            for line in lines:
                yield line.decode("utf-8", errors="replace").rstrip("\r")
    if rest:
        yield rest.decode("utf-8", errors="replace")


if __name__ == "__main__":
    _folder, _job_key, _pid, _ticks, _grace, *_leader = sys.argv[1:]
    _stopping = Stopping(float(_grace), leader_only=bool(_leader))
    guard(Path(_folder), _job_key, ProcessIdentity(int(_pid), int(_ticks)), _stopping)
