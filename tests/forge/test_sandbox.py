"""Children that run other people's code."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from forge import sandbox

BEGIN = """
import os, socket, sqlite3, subprocess, sys, tempfile
from pathlib import Path
from forge.sandbox import *
from forge import sandbox

def refused(action, *arguments, **named):
    try:
        action(*arguments, **named)
    except sandbox.RefusedError:
        return
    print("not refused:", action.__name__, arguments)

"""


def _run(program: str, home: Path, before: tuple[str, ...] = ()) -> tuple[int, str]:
    """Exit status and what the program printed."""
    with sandbox.running([*before, sys.executable, "-s", "-P", "-c", BEGIN + program], str(home)) as process:
        printed, _ = process.communicate(timeout=60)
        return process.returncode, printed.decode()


def test_writing_outside_is_refused(tmp_path: Path) -> None:
    home, outside = tmp_path / "home", tmp_path / "outside"
    for folder in (home, outside):
        folder.mkdir()
    (outside / "kept.txt").write_text("kept")
    program = f"""
told = []
other = Path({str(outside)!r})
(Path.cwd() / "link").symlink_to(other)
folder = os.open(other, os.O_RDONLY)
sys.addaudithook(refusing_to_write(".", told.append))
for mode in ("w", "a", "x", "r+", "wb"):
    refused(open, other / "kept.txt", mode)
refused(os.open, other / "new.txt", os.O_CREAT | os.O_WRONLY)
refused(open, "link/new.txt", "w")
refused(open, "../outside/new.txt", "w")
refused(os.mkdir, other / "new")
refused(os.mkdir, "new", dir_fd=folder)
refused(os.remove, other / "kept.txt")
refused(os.remove, "kept.txt", dir_fd=folder)
refused(os.rename, other / "kept.txt", "here.txt")
refused(os.rename, "link", other / "there")
refused(os.symlink, "/", other / "root")
refused(os.truncate, other / "kept.txt", 0)
refused(os.chmod, other / "kept.txt", 0)
refused(sqlite3.connect, other / "new.db")
print(sorted(set(told)), len(told))
"""
    assert _run(program, home) == (0, "['write'] 18\n")
    assert [path.name for path in outside.iterdir()] == ["kept.txt"]
    assert (outside / "kept.txt").read_text() == "kept"


def test_writing_inside_and_reading_are_free(tmp_path: Path) -> None:
    program = """
sys.addaudithook(refusing_to_write("."))
Path("a/b").mkdir(parents=True)
Path("a/b/c.txt").write_text("c")
os.rename("a/b/c.txt", "d.txt")
os.chmod("d.txt", 0o600)
sqlite3.connect(":memory:").execute("select 1")
sqlite3.connect("e.db").execute("create table t (x)")
print(len(Path(os.__file__).read_text()) > 0, Path("d.txt").read_text(), Path(tempfile.mkdtemp()).is_dir())
open(os.devnull, "w").write("x")
os.remove("d.txt")
"""
    assert _run(program, tmp_path) == (0, "True c True\n")


def test_network_and_programs_are_refused(tmp_path: Path) -> None:
    program = """
told = []
sys.addaudithook(refusing(NETWORK_EVENTS | PROGRAM_EVENTS | {FORK_EVENT}, told.append))
refused(socket.create_connection, ("127.0.0.1", 9))
refused(socket.getaddrinfo, "localhost", 80)
refused(socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto, b"x", ("127.0.0.1", 9))
refused(subprocess.run, ["true"])
refused(os.system, "true")
refused(os.fork)
refused(os.kill, os.getpid(), 9)
print(len(told))
"""
    assert _run(program, tmp_path) == (0, "7\n")


def test_the_kernel_denies_the_network_where_it_can(tmp_path: Path) -> None:
    before = sandbox.offline()
    if not before:
        pytest.skip("this machine does not let a process leave the network")
    program = """
print([name for _, name in socket.if_nameindex()])
try:
    socket.create_connection(("192.0.2.1", 80), timeout=5)
except OSError as error:
    print(type(error).__name__, error.errno == __import__("errno").ENETUNREACH)
"""
    assert _run(program, tmp_path, before) == (0, "['lo']\nOSError True\n")


@pytest.mark.parametrize(
    ("action", "ending"),
    [
        ("while True: pass", "ended by signal SIGKILL"),
        ("bytearray(1 << 30)", "ended with exit status 1"),
        ("open('big', 'wb').write(bytes(17 << 20))", "ended with exit status 1"),
    ],
)
def test_the_limits_hold(action: str, ending: str, tmp_path: Path) -> None:
    before = time.process_time()
    status, _ = _run(f"limit(1, 512 << 20)\n{action}\n", tmp_path)
    assert sandbox.ending_of(status) == ending
    assert time.process_time() - before < 1
    assert not (tmp_path / "big").exists() or (tmp_path / "big").stat().st_size <= 16 << 20


def test_whatever_the_child_started_ends_with_it(tmp_path: Path) -> None:
    program = "child = subprocess.Popen(['sleep', '60'])\nprint(child.pid, flush=True)\nsys.stdin.read()\n"
    with sandbox.running([sys.executable, "-s", "-P", "-c", BEGIN + program], str(tmp_path)) as process:
        assert process.stdout is not None
        grandchild = int(process.stdout.readline())
    assert process.returncode == -signal.SIGKILL
    for _ in range(200):
        state = Path(f"/proc/{grandchild}/stat")
        if not state.exists() or state.read_text().split()[2] == "Z":
            break
        time.sleep(0.01)
    else:
        pytest.fail("it still runs")


def test_the_environment_holds_nothing_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")
    status, printed = _run("print(sorted(os.environ), hash('a'), os.getcwd() == os.environ['HOME'])", tmp_path)
    assert status == 0
    assert "SECRET" not in printed
    assert "PROXY" not in printed
    assert printed == _run("print(sorted(os.environ), hash('a'), os.getcwd() == os.environ['HOME'])", tmp_path)[1]
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == "secret"
