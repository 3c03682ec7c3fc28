"""Bounds for a child process that runs other people's code: what the parent gives it, what it puts on itself.

Kernel limits (processor time, memory, size of files), death with the parent, no network where the kernel lets a process
leave it (:func:`offline`), and audit hooks that refuse network, programs and writing elsewhere. The hooks keep ordinary
packages from what they need not do. They are no wall: compiled code that makes system calls itself passes them.

Standard library only: the child imports nothing else of ours.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

AuditHook = Callable[[str, tuple[Any, ...]], None]

NETWORK_EVENTS = frozenset(
    {"socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"}
)
PROGRAM_EVENTS = frozenset({"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.forkpty", "os.kill"})
FORK_EVENT = "os.fork"

_PR_SET_PDEATHSIG = 1
_MAX_FILE_BYTES = 16 << 20
_WRITING_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGED: Mapping[str, tuple[tuple[int, int | None], ...]] = {
    "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),),
    "os.link": ((1, 3),),
    "os.mkdir": ((0, 2),),
    "os.remove": ((0, 1),),
    "os.removexattr": ((0, None),),
    "os.rename": ((0, 2), (1, 3)),
    "os.rmdir": ((0, 1),),
    "os.setxattr": ((0, None),),
    "os.symlink": ((1, 2),),
    "os.truncate": ((0, None),),
    "os.utime": ((0, 3),),
    "sqlite3.connect": ((0, None),),
}
"""Audit events that change files: positions of the path and of the folder's descriptor that it is relative to."""
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "POLARS_MAX_THREADS")
_OFFLINE = ("unshare", "--map-root-user", "--net", "--")


class RefusedError(PermissionError):
    """What the code wanted to do is not for it to do."""


# --- the child ----------------------------------------------------------------------------------------------------


def limit(seconds: int, memory_bytes: int) -> None:
    """Dies with its parent; bounded processor time, memory and file sizes; no core file."""
    die_with_parent()
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MAX_FILE_BYTES, _MAX_FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def die_with_parent() -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def refusing(events: frozenset[str], tell: Callable[[str], None] | None = None) -> AuditHook:
    """An audit hook that raises :class:`RefusedError` at these events, and tells them first."""

    def hook(event: str, _arguments: tuple[Any, ...]) -> None:
        if event in events:
            if tell is not None:
                tell(event)
            raise RefusedError(f"{event} is refused here")

    return hook


def refusing_to_write(outside: str, tell: Callable[[str], None] | None = None) -> AuditHook:
    """An audit hook that refuses to change files ``outside`` a folder, and tells "write" first. Reading is free."""
    inside = os.path.realpath(outside)

    def is_outside(path: object, folder: object) -> bool:
        if not isinstance(path, str | bytes | os.PathLike) or path in {"", ":memory:"}:
            return False  # a descriptor: its file was opened before
        name = os.fsdecode(path)
        if isinstance(folder, int) and folder >= 0:
            name = f"/proc/self/fd/{folder}/{name}" if not name.startswith("/") else name
        real = os.path.realpath(name)
        return real not in {inside, os.devnull} and not real.startswith(inside + os.sep)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and _is_writing(*arguments[1:3]):
            changed: Sequence[tuple[int, int | None]] = ((0, None),)
        else:
            changed = _CHANGED.get(event, ())
        if any(is_outside(arguments[path], None if folder is None else arguments[folder]) for path, folder in changed):
            if tell is not None:
                tell("write")
            raise RefusedError("writing outside the working folder is refused here")

    return hook


def _is_writing(mode: object, flags: object) -> bool:
    """``open`` tells its mode ("w"), ``os.open`` its flags."""
    return bool(isinstance(flags, int) and flags & _WRITING_FLAGS) or bool(
        isinstance(mode, str) and set(mode) & {*"wax+"}
    )


# --- its parent ---------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def offline() -> tuple[str, ...]:
    """What to put before a command so that the kernel gives it no network; () where this machine does not allow it."""
    try:
        probe = subprocess.run(
            [*_OFFLINE, "true"], stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return _OFFLINE if probe.returncode == 0 else ()


def environment(home: str) -> dict[str, str]:
    """Nothing of ours: no credentials, no proxies. One thread each for the libraries that reserve memory by thread."""
    return {
        "PATH": os.defpath,
        "HOME": home,
        "TMPDIR": home,
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "MPLBACKEND": "Agg",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(Path(__file__).parent.parent),
        **dict.fromkeys(_THREADS, "1"),
    }


@contextmanager
def running(
    command: Sequence[str], home: str, stdin: Any = subprocess.PIPE, stdout: Any = subprocess.PIPE
) -> Iterator[subprocess.Popen[bytes]]:
    """The command in the folder ``home``; at the end it and all that it started are killed."""
    process = subprocess.Popen(
        command,
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.DEVNULL,
        cwd=home,
        env=environment(home),
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def ending_of(code: int) -> str:
    return f"ended by signal {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"
