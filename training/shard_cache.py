"""Whole shards of a release on this machine: copied from the store, verified, evicted when they were not used for long.

All processes of a machine share one folder::

    <sha256>            a whole shard; its time of change is when it was last asked for
    .<sha256>.aside     a copy in the making, at its full size from the start: the disk is reserved before the copy
    .<sha256>.lock      locked (flock) by who uses the shard or waits for it, shared; by who evicts it, exclusively
    .<sha256>.copy.lock held by the one who copies
    .folder.lock        held while room is counted and made

The kernel drops the locks of a killed process, so what can be locked exclusively is in nobody's use. A shard that
is found here is hashed once per process before it is trusted; that is why a copy needs no fsync.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from training.files import file_sha256
from training.shard import CorruptShard, MissingShard, NoSpace, OpenFile, Shard, ShardError, UnreadableShard, fetch

__all__ = [
    "CorruptShard",
    "MissingShard",
    "NoSpace",
    "OpenFile",
    "Shard",
    "ShardCache",
    "ShardError",
    "UnreadableShard",
]

_POLL_SECONDS = 0.02
_ROOM_SECONDS = 60.0  # how long `get` waits for shards that other processes use
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_OURS = re.compile(r"\.?([0-9a-f]{64})(?:\.aside|(?:\.copy)?\.lock)?")


@dataclass(slots=True)
class _Use:
    """One shard in use by this process: a lock for every `get` without its `done`."""

    size_bytes: int
    locks: list[int | None] = field(default_factory=list)


class ShardCache:
    """The shards that this process uses. Any thread may call; every process of the machine has one of its own.

    With ``local_root`` the shards already lie there: they are verified once per process and never copied.
    """

    def __init__(
        self,
        folder: Path,
        open_file: OpenFile,
        *,
        max_bytes: int,
        prefetch: int = 2,
        local_root: Path | None = None,
    ) -> None:
        self._folder, self._open_file, self._local_root = folder, open_file, local_root
        self._max_bytes, self._prefetch = max_bytes, prefetch
        self._closed = threading.Event()
        self._changed = threading.Condition()  # guards all below
        self._uses: dict[str, _Use] = {}
        self._queue: deque[Shard] = deque()
        self._ahead: set[str] = set()  # copied ahead, or just being so, and not yet asked for
        self._verified: set[tuple[str, int, int]] = set()
        self._thread: threading.Thread | None = None
        self._is_swept = False

    def get(self, shard: Shard) -> Path:
        """The shard as a whole, verified file; blocks until it is here. It stays until :meth:`done`.

        Raises a :class:`ShardError`.
        """
        with self._changed:
            self._queue = deque(other for other in self._queue if other.sha256 != shard.sha256)
            self._ahead.discard(shard.sha256)
        path, lock = self._acquire(shard, ahead=False)
        with self._changed:
            self._uses.setdefault(shard.sha256, _Use(shard.size_bytes)).locks.append(lock)
            self._changed.notify_all()
        return path

    def done(self, shard: Shard) -> None:
        """The shard may be evicted from now on, once every ``get`` of it has had its ``done``."""
        with self._changed:
            use = self._uses.get(shard.sha256)
            if use is None:
                raise ValueError(f"shard {shard.path}: done without get")
            _unlock(use.locks.pop())
            if not use.locks:
                del self._uses[shard.sha256]
            self._changed.notify_all()

    def prefetch(self, shards: Sequence[Shard]) -> None:
        """Copy these ahead in the background, in this order, as many as the setting says before they are asked for.

        Replaces what an earlier call named. What fails here fails again, and is raised, in :meth:`get`.
        """
        if self._prefetch < 1:
            return
        with self._changed:
            self._require_open()
            wanted = {shard.sha256: shard for shard in shards}  # in the order of their first places
            self._ahead &= wanted.keys()
            known = self._ahead | self._uses.keys()
            self._queue = deque(shard for sha256, shard in wanted.items() if sha256 not in known)
            if self._thread is None:
                self._thread = threading.Thread(target=self._copy_ahead, name="shard prefetch", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def close(self) -> None:
        """Stop copying ahead and give every shard up."""
        self._closed.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        with self._changed:
            for use in self._uses.values():
                for lock in use.locks:
                    _unlock(lock)
            self._uses.clear()

    def _require_open(self) -> None:
        if self._closed.is_set():
            raise ShardError("the shard cache is closed")

    def _copy_ahead(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._closed.is_set() or (self._queue and len(self._ahead) < self._prefetch)
                )
                if self._closed.is_set():
                    return
                shard = self._queue.popleft()
                self._ahead.add(shard.sha256)
            try:
                _unlock(self._acquire(shard, ahead=True)[1])
            except NoSpace:
                with self._changed:
                    if shard.sha256 in self._ahead:
                        self._ahead.discard(shard.sha256)
                        self._queue.appendleft(shard)
                        self._changed.wait(timeout=1.0)  # for a `done`, here (told) or in another process (not told)
            except (ShardError, OSError):
                with self._changed:
                    self._ahead.discard(shard.sha256)

    # --- one shard --------------------------------------------------------------------------------------------------

    def _acquire(self, shard: Shard, *, ahead: bool) -> tuple[Path, int | None]:
        """The shard's path and the lock that keeps it; local shards need none."""
        self._require_open()
        if self._local_root is not None:
            return self._local(shard, self._local_root), None
        self._sweep()
        path = self._folder / shard.sha256
        lock = self._wait_for_lock(shard.sha256, fcntl.LOCK_SH)
        try:
            if not self._is_whole(path, shard):
                copying = self._wait_for_lock(f"{shard.sha256}.copy", fcntl.LOCK_EX)
                try:
                    if not self._is_whole(path, shard):  # else another process copied it meanwhile
                        self._copy(shard, path, ahead)
                finally:
                    os.close(copying)
            os.utime(path)
        except BaseException:
            os.close(lock)
            if not path.exists():
                self._remove(shard.sha256)
            raise
        return path, lock

    def _is_whole(self, path: Path, shard: Shard) -> bool:
        try:
            found = path.stat()
            key = (str(path), found.st_ino, found.st_size)
            if key in self._verified:
                return True
            if found.st_size != shard.size_bytes or file_sha256(path) != shard.sha256:
                return False
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.EIO}:  # absent, or a bad place of the disk: copied again
                raise ShardError(f"shard {shard.path}: its copy {path} cannot be read: {error}") from error
            return False
        self._verified.add(key)
        return True

    def _local(self, shard: Shard, root: Path) -> Path:
        path = root / shard.path
        if not path.is_file():
            raise MissingShard(shard, str(root))
        if not self._is_whole(path, shard):
            raise CorruptShard(shard, f"{path.stat().st_size:,} bytes, sha256 {file_sha256(path)}")
        return path

    def _copy(self, shard: Shard, path: Path, ahead: bool) -> None:
        """Copy the shard aside and rename it; the caller holds the lock of copying. What is corrupt is fetched twice,
        since the first may have been so on its way here."""
        aside = self._folder / f".{shard.sha256}.aside"
        path.unlink(missing_ok=True)  # damaged: nobody should read it, whoever has it open
        aside.unlink(missing_ok=True)  # of a killed process
        for is_last in (False, True):
            sink = self._reserve(shard, aside, ahead)
            try:
                fetch(shard, self._open_file, partial(self._write, shard, sink), self._closed)
                aside.replace(path)
                found = os.fstat(sink)
                self._verified.add((str(path), found.st_ino, found.st_size))
                return
            except CorruptShard:
                if is_last:
                    raise
            finally:
                os.close(sink)
                aside.unlink(missing_ok=True)

    def _write(self, shard: Shard, sink: int, block: bytes) -> None:
        rest = memoryview(block)
        try:
            while rest:
                rest = rest[os.write(sink, rest) :]
        except OSError as error:
            raise self._unwritable(shard, error) from error

    # --- room -------------------------------------------------------------------------------------------------------

    def _reserve(self, shard: Shard, aside: Path, ahead: bool) -> int:
        """A handle of ``aside`` at the shard's full size, within the cache's bound. Raises :class:`NoSpace`.

        ``ahead`` never pushes out what was copied ahead, and never waits.
        """
        size, deadline, evicted = shard.size_bytes, time.monotonic() + _ROOM_SECONDS, False
        while True:
            self._require_open()
            lock = self._wait_for_lock("folder", fcntl.LOCK_EX)
            try:
                lacking = self._used_bytes() + size - self._max_bytes
                if size <= self._max_bytes and (lacking <= 0 or self._evict(lacking, ahead) >= lacking):
                    return _allocate(aside, size)
            except OSError as error:
                aside.unlink(missing_ok=True)
                # A limit on the size of a file (EFBIG) is not met by removing others
                helps = error.errno in _DISK_FULL - {errno.EFBIG}
                if evicted or not helps or not self._evict(size, ahead):
                    raise self._unwritable(shard, error) from error
                evicted = True
                continue
            finally:
                _unlock(lock)
            with self._changed:
                own = sum(use.size_bytes for use in self._uses.values())
            if ahead or own + size > self._max_bytes or time.monotonic() > deadline:
                raise NoSpace(
                    f"shard {shard.path}: {size:,} bytes do not fit training.shard_cache_bytes = {self._max_bytes:,}, "
                    f"of which {self._used_bytes():,} are in use; raise that setting"
                )
            self._closed.wait(_POLL_SECONDS)

    def _unwritable(self, shard: Shard, error: OSError) -> ShardError:
        if error.errno not in _DISK_FULL:
            return ShardError(f"shard {shard.path}: cannot be written to {self._folder}: {error}")
        return NoSpace(
            f"shard {shard.path}: {self._folder} needs {shard.size_bytes:,} bytes, "
            f"{shutil.disk_usage(self._folder).free:,} are free: {error.strerror}; make room there, or lower "
            "training.shard_cache_bytes"
        )

    def _files(self) -> Iterator[tuple[str, os.stat_result]]:
        """sha256 and facts of every file of the cache, locks and copies in the making included."""
        with os.scandir(self._folder) as entries:
            for entry in entries:
                name = _OURS.fullmatch(entry.name)
                if name is not None:
                    with contextlib.suppress(FileNotFoundError):
                        yield name[1], entry.stat(follow_symlinks=False)

    def _used_bytes(self) -> int:
        return sum(found.st_size for _, found in self._files())

    def _evict(self, need_bytes: int, ahead: bool) -> int:
        """Remove what is in nobody's use, the longest unused first, until ``need_bytes`` are free; the bytes freed."""
        with self._changed:
            awaited = set(self._ahead)
        newest: dict[str, int] = {}
        for sha256, found in self._files():
            if found.st_size:
                newest[sha256] = max(newest.get(sha256, 0), found.st_mtime_ns)
        freed = 0
        for sha256 in sorted(newest, key=lambda sha256: (sha256 in awaited, newest[sha256])):
            if freed >= need_bytes or (ahead and sha256 in awaited):
                break
            freed += self._remove(sha256)
        return freed

    def _remove(self, sha256: str) -> int:
        """Remove all files of a shard unless it is in use; the bytes freed."""
        lock = self._try_lock(sha256, fcntl.LOCK_EX)
        if lock is None:
            return 0
        freed = 0
        names = (sha256, f".{sha256}.aside", f".{sha256}.copy.lock", f".{sha256}.lock")
        for path in (self._folder / name for name in names):
            with contextlib.suppress(FileNotFoundError):
                freed += path.stat().st_size
                path.unlink()
        _unlock(lock)
        return freed

    def _sweep(self) -> None:
        """Make the folder; remove what killed processes left in it, once."""
        with self._changed:
            if self._is_swept:
                return
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ShardError(f"{self._folder}: cannot be made: {error}") from error
            for sha256 in {sha256 for sha256, _ in self._files()}:
                if not (self._folder / sha256).exists():
                    self._remove(sha256)
            self._is_swept = True

    # --- locks ------------------------------------------------------------------------------------------------------

    def _try_lock(self, name: str, operation: int) -> int | None:
        """A handle that holds the lock, None when somebody else does. Whoever removes a lock's file holds it; the
        check that the path still names the file that was locked makes the others see it."""
        path = self._folder / f".{name}.lock"
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise ShardError(f"{path}: cannot be opened: {error}") from error
        try:
            fcntl.flock(handle, operation | fcntl.LOCK_NB)
            if path.stat().st_ino == os.fstat(handle).st_ino:
                return handle
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(handle)
        return None

    def _wait_for_lock(self, name: str, operation: int) -> int:
        # Asked for again and again, not waited for in the kernel, so that `close` ends it
        while (lock := self._try_lock(name, operation)) is None:
            self._require_open()
            self._closed.wait(_POLL_SECONDS)
        return lock


def _unlock(lock: int | None) -> None:
    if lock is not None:
        os.close(lock)


def _allocate(path: Path, size_bytes: int) -> int:
    """A handle of a new file for which the disk is reserved."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        if size_bytes:
            os.posix_fallocate(handle, 0, size_bytes)
    except OSError:
        os.close(handle)
        raise
    return handle
