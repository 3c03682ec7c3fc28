"""Inside the process that :mod:`training.evaluation.isolation` starts: puts the bounds on, then answers requests.

``python -m training.evaluation.isolated_process BOUNDS PROGRAM``, where BOUNDS is a JSON object of
:class:`training.evaluation.isolation.Bounds` and PROGRAM is ``module:function``. A line of JSON comes in on standard
input for each request, one goes out on standard output: first ``{"protections": [...]}``, then ``{"value": ...}``,
``{"error": "..."}`` or ``{"limit": "..."}``. What the program itself prints is thrown away.

Standard library and :mod:`forge.sandbox` (which is so too) only: this process imports nothing else of ours.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import importlib
import json
import os
import platform
import resource
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from forge.sandbox import FORK_EVENT, NETWORK_EVENTS, PROGRAM_EVENTS, die_with_parent, refusing, refusing_to_write

Program = Callable[[Any], Any]

NETWORK_NAMESPACE = "network namespace"
SECCOMP = "seccomp"
AUDIT_HOOKS = "audit hooks"

_LIBC = ctypes.CDLL(None, use_errno=True)

_CLONE_NEWUSER, _CLONE_NEWNET, _CLONE_THREAD = 0x10000000, 0x40000000, 0x00010000  # <linux/sched.h>
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2  # <linux/prctl.h>
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1  # <linux/sockios.h>

# <linux/bpf_common.h>, <linux/seccomp.h>: load a word of the call's data, compare, return a verdict
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
_X32_CALLS = 0x40000000

_AUDIT_ARCHITECTURE: Mapping[str, int] = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_CALLS: Mapping[str, Mapping[str, int]] = {
    "x86_64": {
        "socket": 41, "clone": 56, "fork": 57, "vfork": 58, "execve": 59, "kill": 62, "ptrace": 101, "setpgid": 109,
        "setsid": 112, "unshare": 272, "setns": 308, "execveat": 322, "io_uring_setup": 425, "clone3": 435,
    },
    "aarch64": {
        "unshare": 97, "ptrace": 117, "kill": 129, "setpgid": 154, "setsid": 157, "socket": 198, "clone": 220,
        "execve": 221, "setns": 268, "execveat": 281, "io_uring_setup": 425, "clone3": 435,
    },
}  # fmt: skip
_ESCAPES = ("ptrace", "setpgid", "setsid", "unshare", "setns", "io_uring_setup")
"""Into other processes, out of the process group that is killed, into sockets past ``socket``."""
_PROCESS_CALLS = ("fork", "vfork", "execve", "execveat", "kill")


def main(bounds: Mapping[str, Any], program: str) -> None:
    """Answers requests until standard input ends."""
    die_with_parent()
    requests, responses = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    _point_at_null(0, 1)
    protections = _leave_network(bounds) + _limit(bounds)
    answer = _loaded(program)
    _point_at_null(2)  # nobody reads on
    if bounds["fresh"]:
        _write(responses, {"protections": protections})
        for line in requests:
            _write(responses, _answer_of_a_child(answer, line, bounds))
    else:
        _keep_to_itself(bounds)
        _limit_processor(bounds)
        _write(responses, {"protections": protections})
        for line in requests:
            _write(responses, _answer(answer, line, bounds))


# --- answering ----------------------------------------------------------------------------------------------------


def _loaded(program: str) -> Program:
    module, _, function = program.partition(":")
    loaded: Program = getattr(importlib.import_module(module), function)
    return loaded


def _answer(answer: Program, line: bytes, bounds: Mapping[str, Any]) -> dict[str, Any]:
    try:
        found = {"value": answer(json.loads(line))}
        written = json.dumps(found)
    except MemoryError:
        return {"limit": "memory"}
    except BaseException as error:  # noqa: BLE001 - SystemExit too: the next request is to be answered
        return {"error": f"{type(error).__name__}: {error}"[:2000]}
    return found if len(written) <= bounds["response_bytes"] else {"limit": "size of the response"}


def _answer_of_a_child(answer: Program, line: bytes, bounds: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of a copy of this process that has seen no other request and ends with it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        die_with_parent()
        _keep_to_itself(bounds)
        _limit_processor(bounds)
        with os.fdopen(writing, "wb") as response:
            _write(response, _answer(answer, line, bounds))
        os._exit(0)
    os.close(writing)
    written, in_time = _read_until_closed(reading, bounds["request_seconds"], bounds["response_bytes"] + 1024)
    os.close(reading)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not in_time:
        return {"limit": "wall time"}
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        return {"limit": "processor time"}
    try:
        found: dict[str, Any] = json.loads(written)
    except ValueError:
        return {"error": f"the program ended with wait status {status}"}
    return found


def _read_until_closed(reading: int, seconds: float, max_bytes: int) -> tuple[bytes, bool]:
    """What was written, and whether the writer was done in time."""
    deadline = time.monotonic() + seconds
    parts: list[bytes] = []
    while sum(map(len, parts)) <= max_bytes:
        ready, _, _ = select.select([reading], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return b"", False
        part = os.read(reading, 1 << 16)
        if not part:
            break
        parts.append(part)
    return b"".join(parts), True


def _write(responses: BinaryIO, response: Mapping[str, Any]) -> None:
    responses.write(json.dumps(response).encode() + b"\n")
    responses.flush()


def _point_at_null(*descriptors: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in descriptors:
        os.dup2(null, descriptor)
    os.close(null)


# --- the bounds ---------------------------------------------------------------------------------------------------


def _leave_network(bounds: Mapping[str, Any]) -> list[str]:
    """A network of its own, in which there is loopback if that is asked for, and nothing else."""
    user, group = os.getuid(), os.getgid()
    if _LIBC.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        if bounds["loopback"]:
            raise OSError(ctypes.get_errno(), "no network namespace here, so no loopback of its own")
        return []
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:  # noqa: PTH123
            file.write(text)
    if bounds["loopback"]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anything:
            flags = struct.unpack("16sh", fcntl.ioctl(anything, _SIOCGIFFLAGS, struct.pack("16sh", b"lo", 0)))[1]
            fcntl.ioctl(anything, _SIOCSIFFLAGS, struct.pack("16sh", b"lo", flags | _IFF_UP))
    return [NETWORK_NAMESPACE]


def _limit(bounds: Mapping[str, Any]) -> list[str]:
    """Memory, files, sockets, writing, for this process and all that it starts."""
    for what, most in (
        (resource.RLIMIT_AS, bounds["memory_bytes"]),
        (resource.RLIMIT_FSIZE, bounds["file_bytes"]),
        (resource.RLIMIT_NOFILE, bounds["open_files"]),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))
    held = _filter_calls(_ESCAPES if bounds["loopback"] else (*_ESCAPES, "socket"))
    if not bounds["loopback"]:
        sys.addaudithook(refusing(NETWORK_EVENTS))
    sys.addaudithook(refusing_to_write(os.getcwd()))  # noqa: PTH109
    return [SECCOMP, AUDIT_HOOKS] if held else [AUDIT_HOOKS]


def _keep_to_itself(bounds: Mapping[str, Any]) -> None:
    """Starts no more processes than it may; none as a rule."""
    if bounds["processes"]:
        most = bounds["processes"] + 1
        resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
        return
    _filter_calls(_PROCESS_CALLS, threads_only=True)
    sys.addaudithook(refusing(PROGRAM_EVENTS | {FORK_EVENT}))


def _limit_processor(bounds: Mapping[str, Any]) -> None:
    seconds = bounds["processor_seconds"]
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))  # SIGXCPU says what happened, SIGKILL would not


def _filter_calls(refused: tuple[str, ...], *, threads_only: bool = False) -> bool:
    """Have the kernel refuse these system calls to this process and all that it starts, for good (seccomp, needs no
    privilege). With ``threads_only``, new threads are granted and new processes are not. False where there is no
    seccomp, or the machine is not one whose calls are known here."""
    machine = platform.machine()
    if machine not in _CALLS:
        return False
    calls = _CALLS[machine]
    steps: list[tuple[int, int, int, int]] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_IF_EQUAL, 1, 0, _AUDIT_ARCHITECTURE[machine]),
        (_RETURN, 0, 0, _KILL),  # 32-bit calls have other numbers
        (_LOAD, 0, 0, _NUMBER),
        (_IF_AT_LEAST, 0, 1, _X32_CALLS),
        (_RETURN, 0, 0, _KILL),
    ]
    for name in refused:
        if name in calls:
            steps += [(_IF_EQUAL, 0, 1, calls[name]), (_RETURN, 0, 0, _REFUSE | errno.EPERM)]
    if threads_only:
        # the flags of clone3 lie in memory, out of sight; the C library then takes clone
        steps += [(_IF_EQUAL, 0, 1, calls["clone3"]), (_RETURN, 0, 0, _REFUSE | errno.ENOSYS)]
        steps += [
            (_IF_EQUAL, 0, 3, calls["clone"]),
            (_LOAD, 0, 0, _FIRST_ARGUMENT),
            (_IF_ANY_BIT, 1, 0, _CLONE_THREAD),
            (_RETURN, 0, 0, _REFUSE | errno.EPERM),
        ]
    steps.append((_RETURN, 0, 0, _ALLOW))
    filters = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(filters)))
    if _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return bool(_LIBC.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program, 0, 0) == 0)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2])
