"""A program that handles what a model wrote, in a process of its own: no network, bounded in everything, killed whole.

The program is code that we trust not to be hostile but not to be careful: simulators and checkers of benchmarks, called
with a model's arguments. Around it (:mod:`training.evaluation.isolated_process`) are limits of the kernel on processor
time, memory, files and processes; no network, by a network namespace where the kernel grants one, by seccomp
(``socket`` is refused) and by audit hooks of Python; an environment of ours; a working folder that is deleted
afterwards and outside of which Python opens nothing for writing. :attr:`Isolated.protections` says what held.

    with Isolated("package.program:answer", Bounds(request_seconds=1)) as program:
        response = program.ask({"any": "JSON"})
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from forge.sandbox import environment

_START_SECONDS = 60.0
_PATIENCE_SECONDS = 2.0
"""Longer than ``request_seconds``: the inside kills a child that takes too long, and then answers."""


class IsolationError(Exception):
    """The program could not be started, or has ended."""


class ProgramError(IsolationError):
    """The program raised; the message is its type and text."""


class LimitReached(IsolationError):
    """A bound stopped the program; the message names it: "wall time", "processor time", "memory", "size of the
    response"."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """``request_seconds`` is wall time of one request; ``processor_seconds`` of a request where each has a process of
    its own, else of the process; ``memory_bytes`` is address space; ``file_bytes`` the largest file; ``processes`` how
    many it may start (where it runs as root, either none or any number). ``loopback`` gives it 127.0.0.1 of a network
    of its own, and raises where the kernel grants no network namespace."""

    request_seconds: float = 10.0
    processor_seconds: int = 60
    memory_bytes: int = 1 << 30
    file_bytes: int = 4 << 20
    open_files: int = 64
    processes: int = 0
    response_bytes: int = 4 << 20
    loopback: bool = False


class Isolated:
    """``program`` is ``module:function``, a function of one JSON value that returns one, found on ``python_path`` or
    in our own packages. ``variables`` are added to its environment, which is otherwise empty of ours.
    ``python``: another interpreter than this one.

    ``fresh``: each request is answered by a copy of the process that has seen no other request; what stops one leaves
    the others alone. Without, the program keeps its state from request to request, and a limit ends it.

    The process dies with the thread that opened it. Linux only; raises :class:`IsolationError` elsewhere and when the
    program cannot be loaded.
    """

    def __init__(
        self,
        program: str,
        bounds: Bounds | None = None,
        *,
        fresh: bool = False,
        python_path: Sequence[Path] = (),
        variables: Mapping[str, str] | None = None,
        python: Path | None = None,
    ) -> None:
        if not sys.platform.startswith("linux"):
            raise IsolationError(f"programs are isolated on Linux only, this is {sys.platform}")
        self.bounds = bounds or Bounds()
        self._fresh = fresh
        self._folder = tempfile.mkdtemp(prefix="isolated-")
        ours = environment(self._folder)
        path = os.pathsep.join([*(str(folder.resolve()) for folder in python_path), ours["PYTHONPATH"]])
        command = [str(python or sys.executable), "-P", "-s", "-m", "training.evaluation.isolated_process"]
        self._process = subprocess.Popen(
            [*command, json.dumps({**asdict(self.bounds), "fresh": fresh}), program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self._folder,
            env={**ours, **(variables or {}), "PYTHONPATH": path},
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._responses = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._requests, False)
        try:
            self.protections: tuple[str, ...] = tuple(self._response(_START_SECONDS)["protections"])
            """What keeps it from the network: "network namespace", "seccomp", "audit hooks"."""
        except BaseException:
            self.close()
            raise

    def ask(self, request: Any) -> Any:
        """The program's answer. Raises :class:`ProgramError`, :class:`LimitReached`, or :class:`IsolationError` when
        the program has ended before."""
        if self._process.returncode is not None:
            raise IsolationError("the program has ended")
        deadline = time.monotonic() + self.bounds.request_seconds + (_PATIENCE_SECONDS if self._fresh else 0)
        line = json.dumps(request).encode() + b"\n"
        try:
            self._send(line, deadline)
            response = self._response(deadline - time.monotonic())
        except BaseException:  # an interrupt too: the answer that is still to come would be taken for the next one
            self.close()
            raise
        if "limit" in response:
            raise LimitReached(response["limit"])
        if "error" in response:
            raise ProgramError(response["error"])
        return response["value"]

    def close(self) -> None:
        """Kill the program and all that it started, and delete its folder."""
        self._kill()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Isolated:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, line: bytes, deadline: float) -> None:
        rest = memoryview(line)
        while rest:
            _, ready, _ = select.select([], [self._requests], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise LimitReached("wall time")
            try:
                rest = rest[os.write(self._requests, rest) :]
            except BrokenPipeError:
                raise self._ending() from None

    def _response(self, seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        line = bytearray()
        while not line.endswith(b"\n"):
            if len(line) > self.bounds.response_bytes + 4096:
                raise LimitReached("size of the response")
            ready, _, _ = select.select([self._responses], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise LimitReached("wall time")
            part = os.read(self._responses, 1 << 16)
            if not part:
                raise self._ending()
            line += part
        found: dict[str, Any] = json.loads(line)
        return found

    def _kill(self) -> int:
        """The exit status. The group is killed before its leader is waited for: its number may be another's then."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.wait()

    def _ending(self) -> IsolationError:
        code = self._kill()
        if code == -signal.SIGXCPU:
            return LimitReached("processor time")
        assert self._process.stderr is not None
        told = os.read(self._process.stderr.fileno(), 1 << 16).decode(errors="replace").strip().splitlines()[-1:]
        return IsolationError(f"the program ended with {code}: {''.join(told)}")
