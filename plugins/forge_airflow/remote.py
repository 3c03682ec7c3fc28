"""``python -m forge_airflow.remote``: the far end of a training task, on the machine or in the pod that trains.

What to run is one JSON object (:class:`Request`): the first line of standard input (SSH; nothing of it shows in a list
of processes), or the environment variable ``FORGE_REQUEST`` (Kubernetes). The command is started, relayed and reaped as
on the machine of Airflow: whatever an earlier try of the same job left running is stopped first, one that still waits
for its caller included. The end of standard input, SIGTERM and SIGHUP stop the command in order: it may save a
checkpoint, and its exit code is passed on (128 + the signal's number for one that was killed).

The result object of the command comes back as one line of output, marked by a word that the caller made up.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from forge.config import ConfigurationError, checkout, load_settings
from forge_airflow.process import (
    Job,
    ProcessIdentity,
    Stopping,
    is_alive,
    kill_until_gone,
    process_state,
    record_path,
)

REQUEST_VARIABLE = "FORGE_REQUEST"
EXIT_TEMPORARY = 75
EXIT_CONFIGURATION = 78
MAX_RESULT_BYTES = 16 * 1024


@dataclass(frozen=True)
class Request:
    """One command: ``python -m COMMAND...`` with further environment variables, under the name `job_key`."""

    job_key: str
    command: tuple[str, ...]
    variables: Mapping[str, str]
    result_mark: str
    checkpoint_seconds: float

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self), sort_keys=True)

    @staticmethod
    def of_json(text: str) -> Request:
        """Raises ValueError when it is no request."""
        try:
            found = json.loads(text)
            return Request(
                str(found["job_key"]),
                tuple(str(word) for word in found["command"]),
                {str(name): str(value) for name, value in found["variables"].items()},
                str(found["result_mark"]),
                float(found["checkpoint_seconds"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no request: {error!r}") from None


@contextmanager
def only_one(path: Path, seconds: float) -> Iterator[None]:
    """Hold the lock of a job. Its present holder is asked to stop, and killed after `seconds`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    own = process_state(os.getpid())
    with path.open("a+", encoding="utf-8") as file:
        deadline = time.monotonic() + seconds + 20.0
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{path}: another caller's job does not end") from None
            _stop_holder(path, seconds)
            time.sleep(0.1)
        file.truncate(0)
        file.write(f"{os.getpid()} {own.identity.start_ticks if own else 0}")
        file.flush()
        yield


def _stop_holder(path: Path, seconds: float) -> None:
    try:
        pid, ticks = path.read_text(encoding="utf-8").split()
        holder = ProcessIdentity(int(pid), int(ticks))
    except (OSError, ValueError):
        return
    kill_until_gone(lambda: {holder} if is_alive(holder) else set(), seconds)


def run(request: Request, *, stop_at_end_of_input: bool) -> int:
    """Run the command of a request to its end. Returns its exit code."""
    environment = {**os.environ, **request.variables, "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    folder = load_settings(environment.get("FORGE_PROFILE"), environment=environment).home_path / "remote"
    record = record_path(folder, request.job_key)
    result = record.with_suffix(".result")
    stopping = Stopping(request.checkpoint_seconds, leader_only=True)
    with only_one(record.with_suffix(".lock"), request.checkpoint_seconds + 10.0):
        result.unlink(missing_ok=True)
        command = [sys.executable, "-m", *request.command]
        job = Job(folder, request.job_key, command, {**environment, "FORGE_RESULT": str(result)}, checkout(), stopping)
        # A thread, so that what the command says while it saves is still passed on.
        stop = threading.Thread(target=job.stop, name="stop")

        def ask(*_signal: object) -> None:
            if not stop.is_alive() and stop.ident is None:
                stop.start()

        job.start()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, ask)
        if stop_at_end_of_input:
            threading.Thread(target=_wait_for_end_of_input, name="input", daemon=True).start()
        code = job.relay(_say)
        if stop.ident is not None:
            stop.join()
        if result.exists():
            with result.open("rb") as file:
                content = file.read(MAX_RESULT_BYTES + 1)
            _say(request.result_mark + content.decode("utf-8", errors="replace").replace("\n", " "))
    return code if code >= 0 else 128 - code


def _wait_for_end_of_input() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _say(line: str) -> None:
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except OSError:  # nobody listens any more: the end of input stops the command in order
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _request_line() -> str:
    """The first line of standard input, byte by byte: what follows belongs to the watch over its end."""
    line = b""
    while not line.endswith(b"\n") and (byte := os.read(sys.stdin.fileno(), 1)):
        line += byte
    return line.decode("utf-8")


def main() -> int:
    """Entry point; returns the exit code."""
    given = os.environ.pop(REQUEST_VARIABLE, None)
    try:
        request = Request.of_json(given if given is not None else _request_line())
        return run(request, stop_at_end_of_input=given is None)
    except (ValueError, ConfigurationError) as error:
        print(error, file=sys.stderr, flush=True)
        return EXIT_CONFIGURATION
    except TimeoutError as error:
        print(error, file=sys.stderr, flush=True)
        return EXIT_TEMPORARY


if __name__ == "__main__":
    sys.exit(main())
