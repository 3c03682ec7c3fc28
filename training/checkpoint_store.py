"""Finished checkpoints copied to S3 in the background, and back.

A name is complete there when its ``_COMPLETE`` lies beside its files. The marker is uploaded last and deleted first, so
whatever cuts an upload or a removal leaves nothing that looks whole. What is queued is hard-linked aside at once: the
run may prune its own folder without waiting for a slow store, and the bytes that were asked for are what arrives.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from forge.config import ConfigurationError
from training.checkpoint import MARKER, BadCheckpoint, load_checkpoint
from training.files import sync_folder

_TRIES = 8
_ASKED_TRIES = 4  # of what somebody waits for
_REQUEST_TRIES = 3  # boto3's own, of each part
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0  # all pauses together: two minutes
_CONNECT_SECONDS, _READ_SECONDS, _CLOSE_SECONDS = 10.0, 60.0, 30.0
_PART_BYTES = 16 * 1024 * 1024
_PARALLEL_PARTS = 4
_LONGEST_QUEUE = 4  # of one kind: a store slower than the run must not fill the disk with what waits for it
_REFUSED = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "NoSuchBucket", "403", "ExpiredToken"}

Result = TypeVar("Result")


class StoreError(Exception):
    """The store cannot be reached, refuses, or lacks what was asked for."""


class _Closed(Exception):
    """The store was closed meanwhile."""


@dataclass(frozen=True, slots=True)
class _Task:
    name: str
    act: Callable[[], None]
    staged: Path | None = None

    @property
    def kind(self) -> str:
        return self.name.rpartition("/")[0]


class CheckpointStore:
    """Folders below ``uri`` (s3://bucket/prefix) by name, such as ``checkpoints/I-000100``; a process has one writer.

    The credentials come from the environment (AWS_*).
    """

    def __init__(self, uri: str, *, endpoint: str | None, region: str) -> None:
        import boto3
        from boto3.s3.transfer import TransferConfig
        from botocore.config import Config

        place = re.fullmatch(r"s3://([a-z0-9][a-z0-9.-]+[a-z0-9])((?:/[\w.=-]+)*)/?", uri, re.ASCII)
        if place is None:
            raise ConfigurationError(f"training.checkpoint_store: {uri!r} is not of the form s3://bucket/prefix")
        self.uri = uri.rstrip("/")
        self._bucket, self._base = place[1], place[2].removeprefix("/") + "/" if place[2] else ""
        self._client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name=region,
            config=Config(
                connect_timeout=_CONNECT_SECONDS,
                read_timeout=_READ_SECONDS,
                retries={"mode": "standard", "max_attempts": _REQUEST_TRIES},
            ),
        )
        self._transfer = TransferConfig(
            multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES, max_concurrency=_PARALLEL_PARTS
        )
        self._closed = threading.Event()
        self._changed = threading.Condition()  # guards all below
        self._tasks: deque[_Task] = deque()  # the first is being worked on
        self._problems: dict[str, str] = {}
        self._swept: set[Path] = set()
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    # --- the queue --------------------------------------------------------------------------------------------------

    def upload(self, folder: Path, name: str) -> None:
        """Copy a complete checkpoint in the background. Never raises for what is wrong with folder or store: a run goes
        on without its copy, and :meth:`problems` says so."""
        _require_name(name)
        try:
            staged = self._stage(folder)
        except OSError as error:
            with self._changed:
                self._problems[name] = f"{self.uri}/{name}: not uploaded: {folder}: {error}"
            return
        self._enqueue(_Task(name, partial(self._upload, staged, name), staged))

    def prune(self, prefix: str, keep: int) -> None:
        """In the background, after what was queued before: remove all but the ``keep`` newest complete checkpoints of a
        prefix, and older incomplete ones. The newest complete one always stays, also with ``keep`` 0."""
        self._enqueue(_Task(prefix, partial(self._prune, prefix, max(1, keep))))

    def problems(self) -> list[str]:
        """What was given up, or was late for :meth:`drain`: one line each."""
        with self._changed:
            return list(self._problems.values())

    def drain(self, timeout_seconds: float) -> None:
        """Wait for what is queued; what is not done by then is named in :meth:`problems` until it is."""
        with self._changed:
            if not self._changed.wait_for(lambda: not self._tasks, timeout_seconds):
                for task in self._tasks:
                    self._problems[task.name] = f"{self.uri}/{task.name}: not done after {timeout_seconds:g} s"

    def close(self) -> None:
        """Give up what is not done yet; :meth:`drain` before, to wait for it."""
        self._closed.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(_CLOSE_SECONDS)
        with self._changed:
            for task in self._tasks:
                self._give_up(task, "the run ended before")
            self._tasks.clear()
        self._client.close()

    def _enqueue(self, task: _Task) -> None:
        with self._changed:
            if self._closed.is_set():
                self._give_up(task, "the store is closed")
                return
            waiting = [other for other in list(self._tasks)[1:] if other.staged and other.kind == task.kind]
            if task.staged and len(waiting) >= _LONGEST_QUEUE:
                self._tasks.remove(waiting[0])
                self._give_up(waiting[0], f"{len(waiting)} newer ones were waiting")
            self._tasks.append(task)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="checkpoint store", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._tasks or self._closed.is_set())
                if self._closed.is_set():
                    return
                task = self._tasks[0]
            try:
                self._retried(task.act, _TRIES)
                problem = ""
            except _Closed:
                return
            except Exception as error:  # noqa: BLE001  whatever it is, the next checkpoint may do better
                problem = f"{type(error).__name__}: {error}"
            with self._changed:
                if self._closed.is_set():  # which has given it up
                    return
                self._tasks.popleft()
                self._problems.pop(task.name, None)
                if problem:
                    self._give_up(task, problem)
                elif task.staged is not None:
                    shutil.rmtree(task.staged, ignore_errors=True)
                self._changed.notify_all()

    def _give_up(self, task: _Task, why: str) -> None:
        if task.staged is not None:
            shutil.rmtree(task.staged, ignore_errors=True)
        act = "pruned" if task.staged is None else "uploaded"
        self._problems[task.name] = f"{self.uri}/{task.name}: not {act}: {why}"

    def _retried(self, act: Callable[[], Result], tries: int) -> Result:
        """The result of ``act``, tried again after what may pass: all that the store or the network fail with, save a
        refusal."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

        for number in range(tries):
            try:
                return act()
            except NoCredentialsError as error:
                raise StoreError(f"{error}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") from error
            except (Boto3Error, BotoCoreError, ClientError, _Unequal) as error:
                cause = error if isinstance(error, ClientError) else error.__context__  # upload_file hides it there
                if _code(cause) in _REFUSED:
                    raise StoreError(f"the store refuses: {error}") from error
                if number == tries - 1:
                    raise StoreError(f"failed {tries} times, at last: {error}") from error
            if self._closed.wait(min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**number)):
                raise _Closed
        raise AssertionError("unreachable")

    # --- uploading --------------------------------------------------------------------------------------------------

    def _stage(self, folder: Path) -> Path:
        """A folder beside ``folder`` with hard links to its files."""
        with self._changed:
            if folder.parent not in self._swept:
                for left_over in folder.parent.glob(".*.upload-*"):  # of a killed process: a run has one writer
                    shutil.rmtree(left_over, ignore_errors=True)
                self._swept.add(folder.parent)
            staged = folder.parent / f".{folder.name}.upload-{next(self._numbers)}"
        try:
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    link = staged / path.relative_to(folder)
                    link.parent.mkdir(parents=True, exist_ok=True)
                    try:
                        os.link(path, link)
                    except FileNotFoundError:
                        raise
                    except OSError:  # a file system without hard links
                        shutil.copyfile(path, link)
            if not (staged / MARKER).is_file():
                raise FileNotFoundError(f"no {MARKER}: incomplete")
        except OSError:
            shutil.rmtree(staged, ignore_errors=True)
            raise
        return staged

    def _upload(self, staged: Path, name: str) -> None:
        """Bring the remote files to what ``staged`` holds, then mark them. Files that an earlier try, or a process that
        was killed, uploaded whole are not uploaded again."""
        before = _facts(staged)
        load_checkpoint(staged)
        marker = (staged / MARKER).read_text()
        if self._marker(name) == marker:
            return
        wanted = {self._key(name, path): size for path, (size, *_) in before.items() if path != MARKER}
        there = self._list(f"{name}/")
        self._delete([self._key(name, MARKER)])
        self._delete(there.keys() - wanted.keys())
        self._abort_parts(name)
        for path in before.keys() - {MARKER}:
            key = self._key(name, path)
            if there.get(key) == wanted[key] and self._checkpoint_of(key) == marker:
                continue
            self._client.upload_file(
                str(staged / path),
                self._bucket,
                key,
                ExtraArgs={"Metadata": {"checkpoint": marker}},
                Config=self._transfer,
                Callback=self._require_open,
            )
        if self._list(f"{name}/") != wanted:
            raise _Unequal(f"{self.uri}/{name}: the store lists other files than were uploaded")
        if _facts(staged) != before:
            raise BadCheckpoint("its files changed while they were uploaded")
        self._client.put_object(Bucket=self._bucket, Key=self._key(name, MARKER), Body=marker.encode())

    def _require_open(self, *_: object) -> None:
        if self._closed.is_set():
            raise _Closed

    def _prune(self, prefix: str, keep: int) -> None:
        keys = self._list(prefix)
        complete = self._complete(keys, prefix)
        if not complete:
            return
        depth = prefix.count("/") + 1
        names = {"/".join(key.removeprefix(self._base).split("/")[:depth]) for key in keys}
        removed = {name for name in names if _order(name) < _order(complete[-1])} - set(complete[-keep:])
        self._delete([self._key(name, MARKER) for name in complete if name in removed])
        self._delete([key for key in keys if "/".join(key.removeprefix(self._base).split("/")[:depth]) in removed])
        for name in removed:
            self._abort_parts(name)

    # --- reading ----------------------------------------------------------------------------------------------------

    def names(self, prefix: str) -> list[str]:
        """The complete checkpoints whose names are ``prefix`` and a rest without "/", by number. Raises
        :class:`StoreError`."""
        return self._complete(self._asked(prefix, lambda: self._list(prefix)), prefix)

    def download(self, name: str, folder: Path) -> None:
        """Copy a checkpoint to ``folder``, which is replaced if it is there; verified before anybody sees it.

        Raises :class:`BadCheckpoint` when it is absent, incomplete or damaged there, :class:`StoreError` when it cannot
        be had.
        """
        _require_name(name)
        aside = folder.parent / f".{folder.name}.download"
        for left_over in folder.parent.glob(".*.download"):  # of a killed process: a run has one writer at a time
            shutil.rmtree(left_over, ignore_errors=True)
        try:
            aside.mkdir(parents=True)
            self._asked(name, lambda: self._fetch(name, aside))
            load_checkpoint(aside)
            sync_folder(aside)
            if folder.exists():
                shutil.rmtree(folder)
            aside.rename(folder)
        except BadCheckpoint as error:
            raise BadCheckpoint(f"{self.uri}/{name}: {str(error).removeprefix(f'{aside}: ')}") from error
        except OSError as error:
            raise StoreError(f"{self.uri}/{name}: cannot be written to {folder}: {error}") from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _fetch(self, name: str, aside: Path) -> None:
        keys = self._list(f"{name}/")
        if self._key(name, MARKER) not in keys:
            raise BadCheckpoint("absent or incomplete in the store")
        free, total = shutil.disk_usage(aside).free, sum(keys.values())
        if free < total:
            raise OSError(f"{total:,} bytes are needed, {free:,} are free")
        for key, size in sorted(keys.items()):
            path = PurePosixPath(key.removeprefix(self._key(name, "")))
            if ".." in path.parts or path.is_absolute():
                raise BadCheckpoint(f"{key!r} names a file outside of it")
            target = aside / path
            if not target.is_file() or target.stat().st_size != size:  # else whole: an earlier try renamed it so
                target.parent.mkdir(parents=True, exist_ok=True)
                self._client.download_file(
                    self._bucket, key, str(target), Config=self._transfer, Callback=self._require_open
                )

    def _asked(self, what: str, act: Callable[[], Result]) -> Result:
        try:
            return self._retried(act, _ASKED_TRIES)
        except (StoreError, _Closed) as error:
            raise StoreError(f"{self.uri}/{what}: {error or 'closed'}") from error

    # --- the store's own words --------------------------------------------------------------------------------------

    def _key(self, name: str, path: str) -> str:
        return f"{self._base}{name}/{path}"

    def _list(self, prefix: str) -> dict[str, int]:
        """Size in bytes of every object of a prefix, by key."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._base + prefix)
        return {entry["Key"]: int(entry["Size"]) for page in pages for entry in page.get("Contents", ())}

    def _complete(self, keys: Iterable[str], prefix: str) -> list[str]:
        ends = f"/{MARKER}"
        names = [key.removeprefix(self._base).removesuffix(ends) for key in keys if key.endswith(ends)]
        return sorted((name for name in names if "/" not in name.removeprefix(prefix)), key=_order)

    def _marker(self, name: str) -> str:
        """What marks a name as complete; "" when it is not."""
        from botocore.exceptions import ClientError

        try:
            reply = self._client.get_object(Bucket=self._bucket, Key=self._key(name, MARKER))
        except ClientError as error:
            if _code(error) == "NoSuchKey":
                return ""
            raise
        return str(reply["Body"].read(1000).decode("utf-8", "replace"))

    def _checkpoint_of(self, key: str) -> str:
        """The marker of the checkpoint of which an object was uploaded as a part."""
        metadata: Mapping[str, Any] = self._client.head_object(Bucket=self._bucket, Key=key)["Metadata"]
        return str(metadata.get("checkpoint", ""))

    def _delete(self, keys: Iterable[str]) -> None:
        ordered = sorted(keys)
        for first in range(0, len(ordered), 1000):
            objects = [{"Key": key} for key in ordered[first : first + 1000]]
            reply = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True})
            for problem in reply.get("Errors", ()):
                raise _Unequal(f"{problem.get('Key')} cannot be deleted: {problem.get('Message')}")

    def _abort_parts(self, name: str) -> None:
        """Remove the parts of uploads that were cut. Where that is not allowed, they are left to the bucket's rules."""
        from botocore.exceptions import ClientError

        with contextlib.suppress(ClientError):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self._bucket, Prefix=self._key(name, "")
            )
            for upload in [upload for page in pages for upload in page.get("Uploads", ())]:
                self._client.abort_multipart_upload(Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"])


class _Unequal(Exception):
    """The store holds something else than it was told to; worth another try."""


def _require_name(name: str) -> None:
    if not re.fullmatch(r"[\w=-][\w.=-]*(?:/[\w=-][\w.=-]*)*", name, re.ASCII):
        raise ValueError(f"{name!r}: a name has parts of letters, digits and '._=-', with '/' between them")


def _order(name: str) -> tuple[int, str]:
    return len(name), name  # I-1000000 comes after I-999999


def _code(error: object) -> str:
    response = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def _facts(folder: Path) -> dict[str, tuple[int, int, int]]:
    """(size_bytes, time of change in ns, inode) of every file below ``folder``, by relative path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            facts = path.stat()
            found[path.relative_to(folder).as_posix()] = (facts.st_size, facts.st_mtime_ns, facts.st_ino)
    return found
