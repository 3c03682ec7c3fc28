"""Runs a simulator script in a bounded child process and keeps the JSON lines that it prints.

A simulator's output depends only on its version, its script and its arguments, so the lines are kept below
``<home>/simulators`` under a hash of these and the simulator runs once.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from forge.config import Settings

SCRIPTS = Path(__file__).parent
MAX_OUTPUT_BYTES = 256 * 1024 * 1024
_POLL_SECONDS = 0.05
_PASSED_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "JAVA_HOME", "LD_LIBRARY_PATH")


class SimulatorError(Exception):
    """The simulator could not be started, failed, ran too long or printed too much."""


def episodes(
    settings: Settings,
    name: str,
    run: str,
    python: str,
    script: str,
    arguments: Sequence[str],
    timeout_seconds: float,
) -> Iterator[dict[str, Any]]:
    """The JSON lines of ``python script arguments``, from the cache or by running it.

    ``run`` names what the output depends on: versions, script, arguments. Raises :class:`SimulatorError`.
    """
    file = settings.home_path / "simulators" / f"{name}-{run}.jsonl"
    if not file.is_file():
        _run_to(
            file,
            [python, str(SCRIPTS / "tethered.py"), str(os.getpid()), str(SCRIPTS / script), *arguments],
            timeout_seconds,
        )
    with file.open("rb") as lines:
        for line in lines:
            yield orjson.loads(line)


def _run_to(file: Path, command: Sequence[str], timeout_seconds: float) -> None:
    """Run the command, its standard output into ``file``; the file appears whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    environment = {name: os.environ[name] for name in _PASSED_ENVIRONMENT if name in os.environ}
    environment["PYTHONHASHSEED"] = "0"
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".run-") as folder:
        output, errors = Path(folder) / "output", Path(folder) / "errors"
        with output.open("wb") as output_sink, errors.open("wb") as errors_sink:
            try:
                child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output_sink,
                    stderr=errors_sink,
                    cwd=folder,
                    env=environment,
                )
            except OSError as error:
                raise SimulatorError(f"{command[0]}: {error.strerror}") from None
            try:
                _wait(child, (output, errors), timeout_seconds)
            finally:
                child.kill()
                child.wait()
        if child.returncode != 0:
            said = errors.read_bytes()[-2000:].decode("utf-8", "replace").strip()
            raise SimulatorError(f"exit status {child.returncode}: {said[-400:] or 'no message'}")
        output.replace(file)


def _wait(child: subprocess.Popen[bytes], files: Sequence[Path], timeout_seconds: float) -> None:
    deadline = time.monotonic() + timeout_seconds
    while child.poll() is None:
        if time.monotonic() > deadline:
            raise SimulatorError(f"no end within {timeout_seconds:g} s")
        if sum(path.stat().st_size for path in files) > MAX_OUTPUT_BYTES:
            raise SimulatorError(f"printed more than {MAX_OUTPUT_BYTES} bytes")
        time.sleep(_POLL_SECONDS)
