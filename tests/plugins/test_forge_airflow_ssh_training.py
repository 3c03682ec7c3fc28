"""Training over SSH: a real server on loopback, the client of Airflow's provider, real commands at the far end."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from airflow.sdk import RetryAction

from forge.config import LauncherSettings
from forge_airflow import operators, remote, ssh_training
from forge_airflow.links import TensorBoardLink
from forge_airflow.process import all_processes, identity_of, is_alive
from forge_airflow.ssh_training import SshTrainingOperator, remote_shell_line

pytestmark = pytest.mark.airflow

ROOT = Path(__file__).resolve().parents[2]
CONNECTION = "forge_training"
USER, PASSWORD = "trainer", "not a secret of anybody"


@dataclass
class Server:
    """An SSH server that runs what it is told in a shell, as sshd does; every connection can be cut."""

    port: int
    loop: asyncio.AbstractEventLoop
    home: Path
    connections: list[asyncssh.SSHServerConnection] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)

    @property
    def checkout(self) -> Path:
        return self.home / "a checkout; $(of) ours"

    def environment(self) -> dict[str, str]:
        """The other machine's own: nothing of Airflow's and of this project's settings."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("FORGE", "AIRFLOW", "AWS"))}
        return {**kept, "HOME": str(self.home), "FORGE_CHECKOUT": str(self.checkout)}

    def cut(self) -> None:
        for connection in self.connections:
            self.loop.call_soon_threadsafe(connection.abort)


class Door(asyncssh.SSHServer):
    def __init__(self, server: Server) -> None:
        self.server = server

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.server.connections.append(conn)

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == (USER, PASSWORD)


async def serve(server: Server, process: asyncssh.SSHServerProcess[bytes]) -> None:
    server.commands.append(process.command or "")
    child = await asyncio.create_subprocess_shell(
        process.command or "",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=server.environment(),
        start_new_session=True,
    )
    await process.redirect(stdin=child.stdin, stdout=child.stdout, stderr=child.stderr)
    code = await child.wait()
    await process.stdout.drain()
    process.exit(code)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    server = Server(0, loop, tmp_path_factory.mktemp("remote-home"))
    # A machine with a checkout: the project's own code and environment.
    place = server.checkout
    place.mkdir()
    for name in ("forge", "plugins", "conf"):
        (place / name).symlink_to(ROOT / name)
    (place / ".venv" / "bin").mkdir(parents=True)
    launcher = place / ".venv" / "bin" / "python"
    launcher.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    launcher.chmod(0o755)

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.create_server(
            lambda: Door(server),
            "127.0.0.1",
            0,
            server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
            process_factory=lambda process: serve(server, process),
            encoding=None,
        )

    acceptor = asyncio.run_coroutine_threadsafe(listen(), loop).result(20)
    server.port = acceptor.get_port()
    yield server
    loop.call_soon_threadsafe(acceptor.close)
    loop.call_soon_threadsafe(loop.stop)


@pytest.fixture
def far(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The training package of the other machine: one made-up command. Returns its folder."""
    connection = {
        "conn_type": "ssh", "host": "127.0.0.1", "port": server.port, "login": USER, "password": PASSWORD,
        "extra": {"no_host_key_check": True, "look_for_keys": False, "allow_agent": False},
    }  # fmt: skip
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONNECTION.upper()}", json.dumps(connection))
    monkeypatch.setenv("FORGE__HOME", str(tmp_path / "near"))
    monkeypatch.setattr(ssh_training, "POLL_SECONDS", 0.1)
    package = server.checkout / "training"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").write_text("")
    return package


def task(far: Path, code: str, **kwargs: Any) -> SshTrainingOperator:
    (far / "pretrain.py").write_text(code)
    launcher = LauncherSettings(kind="ssh", connection=CONNECTION, folder="~/a checkout; $(of) ours")
    return SshTrainingOperator(
        task_id="task", command="pretrain", release="r1", arguments=["--stage", "I"], launcher=launcher, **kwargs
    )


REPORT = """
import json, os, sys
print("run 0123456789abcdef release r1", flush=True)
print("to stderr", file=sys.stderr, flush=True)
names = ("FORGE_PARTITION", "FORGE_RUN_ID", "FORGE_PROFILE", "FORGE__TRAINING__SEED", "FORGE__HOME")
found = {"arguments": sys.argv[1:], "cwd": os.getcwd(), **{name: os.environ.get(name) for name in names}}
with open(os.environ["FORGE_RESULT"], "w") as file:
    json.dump(found, file, indent=1)
"""

WAIT = """
import os, signal, sys, time
from pathlib import Path
asked = []
def stop(*_):
    asked.append(1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
signal.signal(signal.SIGTERM, stop)
journal = Path(os.environ["JOURNAL"])
with journal.open("a") as file:
    file.write(f"start {os.getpid()}\\n")
print("working", flush=True)
while not asked:
    time.sleep(0.05)
time.sleep(0.5)
with journal.open("a") as file:
    file.write("saved\\n")
print("saved a checkpoint", flush=True)
raise SystemExit(75)
"""


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "journal"
    path.write_text("")
    monkeypatch.setenv("JOURNAL", str(path))
    return path


def wait_until(condition: Callable[[], Any], seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_the_command_runs_there_with_arguments_and_settings_and_its_result_comes_back(
    far: Path, context: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: Server
) -> None:
    monkeypatch.setenv("FORGE__TRAINING__SEED", "12")
    monkeypatch.setenv("FORGE_TENSORBOARD", "http://127.0.0.1:6006")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-of-a-secret")
    given = context()
    found = task(far, REPORT).execute(given)
    assert found is not None
    assert found["arguments"] == ["--release", "r1", "--stage", "I", "--profile", "demo"]
    assert found["cwd"] == str(far.parent)
    assert found["FORGE_PARTITION"] == "2026-11-21"
    assert found["FORGE_RUN_ID"] == "manual__1"
    assert found["FORGE__TRAINING__SEED"] == "12"
    assert found["FORGE__HOME"] is None, "the home of the other machine is its own"
    lines = (tmp_path / "near" / "progress" / "2026-11-21.jsonl").read_text().splitlines()
    assert {json.loads(line)["message"] for line in lines} == {"run 0123456789abcdef release r1", "to stderr"}
    link = "http://127.0.0.1:6006/?runFilter=0123456789abcdef#timeseries"
    assert given["ti"].pushed[TensorBoardLink.key] == link
    assert not any("canary" in command or "FORGE__" in command for command in server.commands)


def test_two_ranks_run_there(far: Path, context: Any, caplog: pytest.LogCaptureFixture) -> None:
    code = "import os\nprint('rank', os.environ['RANK'], 'of', os.environ['WORLD_SIZE'], flush=True)\nexit(75)"
    with pytest.raises(operators.TemporarilyUnavailableError):
        task(far, code, processes=2).execute(context())


@pytest.mark.parametrize(
    ("code", "error", "action"),
    [
        (1, operators.CommandFailedError, RetryAction.DEFAULT),
        (3, operators.ResultRefusedError, RetryAction.FAIL),
        (75, operators.TemporarilyUnavailableError, RetryAction.RETRY),
        (78, operators.InvalidConfigurationError, RetryAction.FAIL),
    ],
)
def test_exit_codes_mean_what_they_mean_here(
    far: Path, context: Any, code: int, error: type[Exception], action: RetryAction
) -> None:
    with pytest.raises(error, match=f"exit code {code}") as caught:
        task(far, f"raise SystemExit({code})").execute(context())
    assert type(caught.value) is error
    assert operators.RETRY_POLICY.evaluate(caught.value, 1, 8).action is action


def test_a_killed_task_lets_the_command_there_save_and_end(far: Path, context: Any, journal: Path) -> None:
    made = task(far, WAIT)
    killer = threading.Thread(
        target=lambda: (wait_until(lambda: "start" in journal.read_text()), made.on_kill()), daemon=True
    )
    killer.start()
    with pytest.raises(operators.CommandFailedError, match=r"killed.*exit code 75"):
        made.execute(context())
    killer.join()
    start, saved = journal.read_text().splitlines()
    assert saved == "saved"
    assert wait_until(lambda: identity_of(int(start.split()[1])) is None)


def test_a_lost_connection_stops_the_command_there_and_is_tried_again(
    far: Path, context: Any, journal: Path, server: Server
) -> None:
    made = task(far, WAIT)
    killer = threading.Thread(
        target=lambda: (wait_until(lambda: "start" in journal.read_text()), server.cut()), daemon=True
    )
    killer.start()
    with pytest.raises(operators.TemporarilyUnavailableError, match="lost"):
        made.execute(context())
    killer.join()
    assert wait_until(lambda: "saved" in journal.read_text())
    process = int(journal.read_text().split()[1])
    assert wait_until(lambda: identity_of(process) is None)


def test_a_second_try_stops_what_the_first_left_before_it_starts(far: Path, context: Any, journal: Path) -> None:
    """The first caller's machine is gone without a word: its connection stays open."""
    first = task(far, WAIT)
    outcome: list[BaseException] = []

    def run_first() -> None:
        try:
            first.execute(context())
        except BaseException as error:  # noqa: BLE001 - looked at below
            outcome.append(error)

    thread = threading.Thread(target=run_first, daemon=True)
    thread.start()
    assert wait_until(lambda: "start" in journal.read_text())
    earlier = identity_of(int(journal.read_text().split()[1]))
    assert earlier is not None
    (far / "pretrain.py").write_text(
        "import os\nwith open(os.environ['JOURNAL'], 'a') as file:\n    file.write('second\\n')\n"
    )
    second = SshTrainingOperator(
        task_id="task",
        command="pretrain",
        release="r1",
        launcher=LauncherSettings(kind="ssh", connection=CONNECTION, folder=str(far.parent)),
    )
    assert second.execute(context()) is None
    thread.join(20)
    assert [line.split()[0] for line in journal.read_text().splitlines()] == ["start", "saved", "second"]
    assert not is_alive(earlier)
    assert isinstance(outcome[0], operators.TemporarilyUnavailableError)


def test_nothing_of_a_request_shows_in_the_list_of_processes(far: Path, context: Any, journal: Path) -> None:
    made = task(far, WAIT)
    seen: list[str] = []

    def look() -> None:
        wait_until(lambda: "start" in journal.read_text())
        for pid in all_processes():
            try:
                seen.append(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
        made.on_kill()

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    with pytest.raises(operators.CommandFailedError):
        made.execute(context())
    thread.join()
    ours = [line for line in seen if "forge_airflow.remote" in line or "training.pretrain" in line]
    assert len(ours) >= 2, "the far end and the command"
    assert not any("FORGE__" in line or "result-" in line for line in ours)


def test_where_there_is_no_checkout_the_error_says_so(far: Path, context: Any) -> None:
    made = task(far, "")
    made.folder = "~/nowhere"
    with pytest.raises(operators.InvalidConfigurationError, match=r"~/nowhere.*bootstrap"):
        made.execute(context())


def test_a_wrong_password_is_no_reason_to_try_again(far: Path, context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = json.loads(os.environ["AIRFLOW_CONN_FORGE_TRAINING"]) | {"password": "wrong"}
    monkeypatch.setenv("AIRFLOW_CONN_FORGE_TRAINING", json.dumps(connection))
    with pytest.raises(operators.InvalidConfigurationError, match=CONNECTION) as caught:
        task(far, "").execute(context())
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"job_key": 1, "command": 5, "variables": [], "result_mark": ""}'])
def test_no_request_is_a_configuration_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"request|Expecting"):
        remote.Request.of_json(text)


@pytest.mark.parametrize(
    ("folder", "shown"),
    [("~/forge", '"$HOME"/forge'), ("~", '"$HOME"'), ("/srv/x y", "/srv/x y"), ("~/$(id)", "$(id)")],
)
def test_a_folder_is_a_word_of_the_shell(folder: str, shown: str) -> None:
    line = remote_shell_line(folder)
    script = shlex.split(line)[2]
    assert shown in script
    assert not re.search(r"\$\((?!id\)')", script)
    words = shlex.split(script.split(" || ", 1)[0])
    assert len(words) == 2
