"""Each bound is met by a real process that exceeds it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from training.evaluation.isolated_process import AUDIT_HOOKS, NETWORK_NAMESPACE, SECCOMP
from training.evaluation.isolation import Bounds, Isolated, IsolationError, LimitReached, ProgramError

HERE = Path(__file__).parent
NARROW = Bounds(request_seconds=60, processor_seconds=1, memory_bytes=256 << 20, response_bytes=10_000)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="programs are isolated on Linux only")


def isolated(bounds: Bounds = NARROW, **options) -> Isolated:
    return Isolated("isolation_program:answer", bounds, python_path=[HERE], **options)


@pytest.fixture(params=[False, True], ids=["one_process", "fresh"])
def fresh(request) -> bool:
    return request.param


def processes_below(pid: int) -> list[int]:
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_answers_in_a_folder_and_an_environment_of_its_own(fresh, monkeypatch):
    monkeypatch.setenv("A_SECRET", "of the parent")
    with isolated(fresh=fresh, variables={"NAMED": "yes"}) as program:
        found = program.ask({"do": "say", "with": {"what": "ü"}})
        folder = Path(found["here"])
        assert found["said"] == "ü"
        assert found["environment"]["NAMED"] == "yes"
        assert "A_SECRET" not in found["environment"]
        assert folder.is_dir()
        assert folder != Path.cwd()
    assert not folder.exists()


def test_keeps_state_only_where_it_is_not_fresh(fresh):
    with isolated(fresh=fresh) as program:
        asked = [program.ask({"do": "say", "with": {"what": 1}})["asked"] for _ in range(3)]
    assert asked == ([1, 1, 1] if fresh else [1, 2, 3])


@pytest.mark.parametrize("do", ["raise_error", "leave"])
def test_an_error_is_told_and_the_next_request_is_answered(fresh, do):
    with isolated(fresh=fresh) as program:
        with pytest.raises(ProgramError, match=r"KeyError: 'no such thing'|SystemExit: 3"):
            program.ask({"do": do})
        assert program.ask({"do": "start_a_thread"}) == ["ran"]


def test_a_program_that_ends_is_an_error(fresh):
    with isolated(fresh=fresh) as program:
        with pytest.raises(IsolationError, match="ended with"):
            program.ask({"do": "die"})
        if fresh:
            assert program.ask({"do": "start_a_thread"}) == ["ran"]
        else:
            with pytest.raises(IsolationError, match="has ended"):
                program.ask({"do": "start_a_thread"})


def test_a_program_that_is_not_there_is_an_error():
    with pytest.raises(IsolationError, match="No module named 'nowhere'"):
        Isolated("nowhere:answer")


def test_no_socket_reaches_a_listener(fresh):
    with socket.create_server(("127.0.0.1", 0)) as listener, isolated(fresh=fresh) as program:
        listener.settimeout(0.2)
        port = listener.getsockname()[1]
        with pytest.raises(ProgramError, match=r"PermissionError|RefusedError"):
            program.ask({"do": "connect", "with": {"port": port}})
        descriptor, _error = program.ask({"do": "connect_below_python", "with": {"port": port}})
        with pytest.raises(TimeoutError):
            listener.accept()
        assert AUDIT_HOOKS in program.protections
        assert descriptor == -1 or SECCOMP not in program.protections


def test_loopback_is_its_own():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        try:
            program = isolated(Bounds(loopback=True))
        except IsolationError as reason:
            pytest.skip(str(reason))
        with program:
            assert NETWORK_NAMESPACE in program.protections
            assert program.ask({"do": "talk_to_itself"}) == "in"
            with pytest.raises(ProgramError, match="ConnectionRefusedError"):
                program.ask({"do": "connect", "with": {"port": listener.getsockname()[1]}})


def test_starts_no_process(fresh):
    with isolated(fresh=fresh) as program:
        before = processes_below(os.getpid())
        with pytest.raises(ProgramError, match=r"RefusedError: os\.fork"):
            program.ask({"do": "fork"})
        with pytest.raises(ProgramError, match=r"RefusedError: subprocess\.Popen"):
            program.ask({"do": "start_a_program"})
        if SECCOMP in program.protections:
            assert [value for value in program.ask({"do": "fork_below_python"}) if value != 1] == [-1, -1]
        assert program.ask({"do": "start_a_thread"}) == ["ran"]
        assert processes_below(os.getpid()) == before


def test_nothing_that_it_started_is_left():
    with isolated(Bounds(processes=3)) as program:
        sleeper = program.ask({"do": "start_a_sleeper"})
        assert is_running(sleeper)
    deadline = time.monotonic() + 5  # it is killed when the block ends; nobody waits for it to be gone
    while is_running(sleeper) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_running(sleeper)


def test_memory_is_bounded(fresh):
    with isolated(fresh=fresh) as program:
        with pytest.raises(LimitReached, match="memory"):
            program.ask({"do": "take_memory"})
        assert program.ask({"do": "start_a_thread"}) == ["ran"]


def test_processor_time_is_bounded(fresh):
    with isolated(fresh=fresh) as program:
        started = time.monotonic()
        with pytest.raises(LimitReached, match="processor time"):
            program.ask({"do": "loop"})
        assert time.monotonic() - started < NARROW.request_seconds
        if fresh:
            assert program.ask({"do": "start_a_thread"}) == ["ran"]


def test_wall_time_is_bounded(fresh):
    with isolated(Bounds(request_seconds=0.3), fresh=fresh) as program:
        inside = program.ask({"do": "process_id"})
        started = time.monotonic()
        with pytest.raises(LimitReached, match="wall time"):
            program.ask({"do": "sleep"})
        assert time.monotonic() - started < 30
        if fresh:
            assert program.ask({"do": "start_a_thread"}) == ["ran"]
        assert not is_running(inside)


def test_responses_are_bounded_and_printing_is_thrown_away(fresh):
    with isolated(fresh=fresh) as program:
        assert program.ask({"do": "flood_standard_output"}) == "wrote"
        with pytest.raises(LimitReached, match="size of the response"):
            program.ask({"do": "flood"})
        assert program.ask({"do": "start_a_thread"}) == ["ran"]


def test_files_are_bounded_and_lie_in_its_folder(fresh, tmp_path):
    with isolated(Bounds(file_bytes=1000, open_files=32), fresh=fresh) as program:
        assert program.ask({"do": "write", "with": {"path": "own", "size_bytes": 1000}}) == 1000
        with pytest.raises(ProgramError, match="File too large"):
            program.ask({"do": "write", "with": {"path": "own", "size_bytes": 1001}})
        with pytest.raises(ProgramError, match="RefusedError: writing outside"):
            program.ask({"do": "write", "with": {"path": str(tmp_path / "planted"), "size_bytes": 1}})
        with pytest.raises(ProgramError, match="Too many open files"):
            program.ask({"do": "open_files"})
    assert not (tmp_path / "planted").exists()


@pytest.fixture
def interruptible():
    """SIGINT raises KeyboardInterrupt; a worker that runs tests beside others ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupted_request_leaves_no_answer_for_the_next(interruptible):
    with isolated(NARROW) as program:
        inside = program.ask({"do": "process_id"})
        interrupt = threading.Timer(0.2, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
        interrupt.start()
        with pytest.raises(KeyboardInterrupt):
            program.ask({"do": "sleep"})
        assert not is_running(inside)
        with pytest.raises(IsolationError, match="has ended"):
            program.ask({"do": "process_id"})


def test_it_dies_with_its_parent(tmp_path):
    asking = (
        "from training.evaluation.isolation import Bounds, Isolated\n"
        f"from pathlib import Path\nprogram = Isolated('isolation_program:answer', python_path=[Path({str(HERE)!r})])\n"
        "print(program.ask({'do': 'process_id'}), flush=True)\nprogram.ask({'do': 'sleep'})\n"
    )
    with subprocess.Popen([sys.executable, "-c", asking], stdout=subprocess.PIPE, text=True) as parent:
        inside = int(parent.stdout.readline())
        assert is_running(inside)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        deadline = time.monotonic() + 5
        while is_running(inside) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not is_running(inside)
