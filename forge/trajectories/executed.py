"""Whether doctest sessions print what they show, found out by running them (:mod:`forge.trajectories.execution`).

Running is running third-party code: each batch has a process of its own that dies with this one, with bounded time,
processor time and memory, no network, and no writing outside its empty folder. The network is denied by the kernel
where it lets a process leave it (``unshare``); elsewhere by audit hooks alone, which compiled code could pass. So is
writing everywhere.

Verdicts are kept below ``<home>/doctests``: they depend on the session, the installed distributions and Python. What a
busy machine may have caused, ``timed_out`` and ``crashed``, is not kept.
"""

from __future__ import annotations

import os
import platform
import selectors
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import distributions
from pathlib import Path
from typing import IO, Any

import orjson

from forge import sandbox
from forge.schema import content_hash
from forge.trajectories.execution import PATIENCE
from forge.trajectories.simulators.episodes import SCRIPTS

VERIFIED = "verified"
DIFFERS = "output_differs"
_SCRIPT = Path(__file__).with_name("execution.py")
_TETHER = SCRIPTS / "tethered.py"
_BATCH_SESSIONS = 100
_STARTING_SECONDS = 120
_NOT_KEPT = frozenset({"timed_out", "crashed", "not_run"})
_MAX_LATE = 20
"""Sessions of one call that may run out of time, or lose their process; after these nothing more is run."""
_MAX_LINE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Session:
    """The examples of one docstring: ``source``, ``want``, ``error`` and ``options`` each, as doctest parses them."""

    module: str
    examples: tuple[Mapping[str, Any], ...]

    @property
    def key(self) -> str:
        return content_hash(self.module, orjson.dumps(self.examples))


@dataclass(frozen=True, slots=True)
class Verdict:
    """``name`` is "verified", "output_differs" or why nothing can be said; ``preamble`` are imports that the session
    takes for granted and that were run before it."""

    name: str
    detail: str = ""
    preamble: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one session; ``memory_bytes`` of address space."""

    seconds: int
    memory_bytes: int


@lru_cache(maxsize=1)
def run_hash() -> str:
    """What every verdict depends on besides its session: the code that runs it, Python, what is installed."""
    installed = sorted({f"{found.metadata['Name']}=={found.version}" for found in distributions()})
    code = (_SCRIPT.read_bytes(), Path(sandbox.__file__).read_bytes())
    return content_hash(platform.python_version(), *code, *installed)


def verdicts(name: str, root: str, sessions: Sequence[Session], limits: Limits, home: Path) -> dict[str, Verdict]:
    """By the sessions' keys, from ``<home>/doctests`` or by running them. ``name`` is that of their distribution,
    ``root`` the folder that it is installed in."""
    run = content_hash(run_hash(), str(limits.seconds), str(limits.memory_bytes))
    file = home / "doctests" / f"{name}-{run}.jsonl"
    known = _kept(file)
    missing = [session for session in sessions if session.key not in known]
    if missing:
        known |= _run(root, missing, limits)
        _keep(file, known)
    return {session.key: known[session.key] for session in sessions}


def _kept(file: Path) -> dict[str, Verdict]:
    if not file.is_file():
        return {}
    rows = map(orjson.loads, file.read_bytes().splitlines())
    return {row["session"]: Verdict(row["verdict"], row["detail"], tuple(row["preamble"])) for row in rows}


def _keep(file: Path, known: Mapping[str, Verdict]) -> None:
    """The file appears whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent, prefix=".run-", delete=False) as sink:
        for key, verdict in sorted(known.items()):
            if verdict.name not in _NOT_KEPT:
                row = {"session": key, "verdict": verdict.name, "detail": verdict.detail, "preamble": verdict.preamble}
                sink.write(orjson.dumps(row) + b"\n")
    Path(sink.name).replace(file)


# --- running ------------------------------------------------------------------------------------------------------


def _run(root: str, sessions: Sequence[Session], limits: Limits) -> dict[str, Verdict]:
    """A process that ends early costs the session that it was at; the others go on in the next one."""
    found: dict[str, Verdict] = {}
    waiting = list(sessions)
    while waiting:
        batch = waiting[:_BATCH_SESSIONS]
        told, started = _run_batch(root, batch, limits)
        found |= {batch[number].key: verdict for number, verdict in told.items()}
        if len(told) < len(batch):
            found.setdefault(batch[started].key, Verdict("crashed", "its process ended early, or did not end"))
        waiting = [session for session in waiting if session.key not in found]
        if sum(verdict.name in _NOT_KEPT for verdict in found.values()) > _MAX_LATE:
            found |= {session.key: Verdict("not_run", "too many before it ran out of time") for session in waiting}
            break
    return found


def _run_batch(root: str, batch: Sequence[Session], limits: Limits) -> tuple[dict[int, Verdict], int]:
    """Verdicts by number, and the number of the session that was started last."""
    request = {
        "sessions": [{"module": session.module, "examples": session.examples} for session in batch],
        "root": root,
        "seconds": limits.seconds,
        "memory_bytes": limits.memory_bytes,
    }
    found: dict[int, Verdict] = {}
    started = 0
    command = [*sandbox.offline(), sys.executable, str(_TETHER), str(os.getpid()), str(_SCRIPT)]
    with tempfile.TemporaryDirectory(prefix="doctests-") as home, tempfile.TemporaryFile() as asked:
        asked.write(orjson.dumps(request))
        asked.seek(0)
        with sandbox.running(command, home, stdin=asked) as process:
            assert process.stdout is not None
            for line in _lines(process.stdout, _STARTING_SECONDS + PATIENCE * limits.seconds):
                row = orjson.loads(line)
                if "started" in row:
                    started = row["started"]
                    continue
                detail = row["detail"].replace(home, "").replace(root, "")
                found[row["session"]] = Verdict(row["verdict"], detail, tuple(row["preamble"]))
                if sum(verdict.name in _NOT_KEPT for verdict in found.values()) > _MAX_LATE:
                    break
    return found, started


def _lines(stream: IO[bytes], patience_seconds: float) -> Iterator[bytes]:
    """Whole lines, until the stream ends or says nothing for so long."""
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        deadline = time.monotonic() + patience_seconds
        while selector.select(max(deadline - time.monotonic(), 0)):
            chunk = os.read(stream.fileno(), 1 << 16)
            if not chunk:
                return
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > _MAX_LINE_BYTES:
                return
            if lines:
                deadline = time.monotonic() + patience_seconds
            yield from lines
