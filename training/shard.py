"""A shard of a release: what it must be, and its bytes as they come from the store, verified on the way."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import threading
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

OpenFile = Callable[[str], Any]
"""Opens a remote path for reading: a seekable binary file. One with ``read_at`` (pyarrow) is read in parallel."""

_BLOCK_BYTES = 8 * 1024 * 1024  # one request: 4 MiB cost 15 % against a store on loopback, 1 MiB three quarters
_PARALLEL_BLOCKS = 4  # 3.6 times one connection where each is held to 30 MB/s
_TRIES = 8  # with all pauses some 40 seconds; pyarrow's own tries come on top
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 20.0
_REFUSED = re.compile(r"ACCESS_DENIED|INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH|HTTP Status Code: 403", re.I)
_ABSENT = re.compile(r"NO_SUCH_KEY|NO_SUCH_BUCKET|HTTP Status Code: 404", re.I)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ADVICE = "Restore the file, or train on another release"


class ShardError(Exception):
    """A shard cannot be had; the subclass says why, the message what to do."""


class MissingShard(ShardError):
    """The store has no such file."""

    def __init__(self, shard: Shard, place: str) -> None:
        super().__init__(f"shard {shard.path}: pinned by the release, and not in {place}. {_ADVICE}")


class CorruptShard(ShardError):
    """The file differs from what the release pins; ``found`` says how."""

    def __init__(self, shard: Shard, found: str) -> None:
        pinned = f"{shard.size_bytes:,} bytes, sha256 {shard.sha256}"
        super().__init__(f"shard {shard.path}: the release pins {pinned}; found {found}. {_ADVICE}")


class UnreadableShard(ShardError):
    """The store refuses, or failed too often in a row."""


class NoSpace(ShardError):
    """Neither the bound of the cache nor the disk leaves room for the shard."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A file of a release: where it lies in the store and what it must be."""

    path: str
    sha256: str
    size_bytes: int

    def __post_init__(self) -> None:
        if not _SHA256.fullmatch(self.sha256) or self.size_bytes < 0:
            raise ValueError(f"shard {self.path}: not a sha256 and a size: {self.sha256!r}, {self.size_bytes}")


def fetch(shard: Shard, open_file: OpenFile, write: Callable[[bytes], None], stop: threading.Event) -> None:
    """Give the shard's bytes to ``write``, in order, and verify them. Raises a :class:`ShardError`; when it does, or
    ``stop`` is set, what was written is of no use.

    A failed read goes on where it stopped; only failures without progress count as tries.
    """
    digest, offset, tries = hashlib.sha256(), 0, 0
    while True:
        before = offset
        try:
            with open_file(shard.path) as source:
                size = source.seek(0, os.SEEK_END)
                if size != shard.size_bytes:
                    raise CorruptShard(shard, f"{size:,} bytes")
                with contextlib.closing(_blocks(source, offset, size)) as blocks:
                    for block in blocks:
                        if stop.is_set():
                            raise ShardError(f"shard {shard.path}: stopped at byte {offset:,}")
                        write(block)
                        digest.update(block)
                        offset += len(block)
            break
        except OSError as error:
            if isinstance(error, FileNotFoundError) or _ABSENT.search(str(error)):
                raise MissingShard(shard, "the store") from error
            if isinstance(error, PermissionError) or _REFUSED.search(str(error)):
                advice = "check the AWS_* credentials"
                raise UnreadableShard(f"shard {shard.path}: the store refuses, {advice}: {error}") from error
            tries = 1 if offset > before else tries + 1
            if tries == _TRIES:
                where = f"{tries} failures in a row at byte {offset:,} of {shard.size_bytes:,}"
                raise UnreadableShard(f"shard {shard.path}: {where}: {error}") from error
        longest = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** (tries - 1))
        if stop.wait(longest * (0.5 + random.random() / 2)):  # ranks that failed together do not return together
            raise ShardError(f"shard {shard.path}: stopped at byte {offset:,}")
    if digest.hexdigest() != shard.sha256:
        raise CorruptShard(shard, f"sha256 {digest.hexdigest()}")


def _blocks(source: Any, start: int, end: int) -> Generator[bytes, None, None]:
    """The bytes from ``start`` to ``end``, block by block, in order. Raises OSError when the file is shorter."""
    ranges = [(min(_BLOCK_BYTES, end - offset), offset) for offset in range(start, end, _BLOCK_BYTES)]
    if not hasattr(source, "read_at"):
        source.seek(start)
        for size, offset in ranges:
            yield _of_size(source.read(size), size, offset)
        return
    pool = ThreadPoolExecutor(_PARALLEL_BLOCKS, thread_name_prefix="shard copy")
    pending: deque[tuple[Future[bytes], int, int]] = deque()
    try:
        for size, offset in ranges:
            pending.append((pool.submit(source.read_at, size, offset), size, offset))
            if len(pending) == _PARALLEL_BLOCKS:
                block, *asked = pending.popleft()
                yield _of_size(block.result(), *asked)
        for block, *asked in pending:
            yield _of_size(block.result(), *asked)
    finally:
        pool.shutdown(cancel_futures=True)


def _of_size(block: bytes, size: int, offset: int) -> bytes:
    if len(block) != size:
        raise OSError(f"{len(block):,} bytes instead of {size:,} at byte {offset:,}")
    return block
