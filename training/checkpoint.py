"""Checkpoints that are whole or absent.

A checkpoint is a folder written aside, synced, listed in ``manifest.json`` with the sha256 of each file, renamed, and
marked by ``_COMPLETE``, which holds the manifest's own hash. Only then are older ones pruned. Loading verifies every
byte. Several ranks may fill the folder together; it is a checkpoint when all of them succeeded.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from forge.schema import canonical_json, content_hash
from training.files import file_sha256, sync_entry, sync_folder, write_atomically

_MANIFEST = "manifest.json"
MARKER = "_COMPLETE"


class BadCheckpoint(Exception):
    """A checkpoint is incomplete or differs from its manifest."""


class CheckpointNotWritten(Exception):
    """A checkpoint could not be written; the ones before it are as they were."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """``state`` is what the writer stated: step, stage, release_id, order_hash and more, all JSON."""

    folder: Path
    state: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Writers:
    """The ranks that write one checkpoint together. ``gather`` gives every rank the texts of all: it waits for them."""

    is_main: bool
    gather: Callable[[str], Sequence[str]]


ALONE = Writers(True, lambda text: [text])


def write_checkpoint(
    folder: Path,
    state: Mapping[str, Any],
    write_files: Callable[[Path], None],
    *,
    expected_bytes: int = 0,
    writers: Writers = ALONE,
) -> Checkpoint:
    """Write a checkpoint; ``write_files`` fills the folder it is given, on every rank. An incomplete ``folder`` is
    replaced. Raises :class:`CheckpointNotWritten` on every rank when one of them could not do its part.
    """
    aside = folder.parent / f".{folder.name}.aside"

    def prepare() -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for left_over in folder.parent.glob(".*.aside"):  # of a killed process: a run has one writer at a time
            shutil.rmtree(left_over, ignore_errors=True)
        free = shutil.disk_usage(folder.parent).free
        if free < expected_bytes:
            raise OSError(f"{expected_bytes:,} bytes are needed, {free:,} are free")
        aside.mkdir()

    def seal() -> None:
        files = {
            str(path.relative_to(aside)): {"sha256": file_sha256(path), "size_bytes": path.stat().st_size}
            for path in sorted(aside.rglob("*"))
            if path.is_file()
        }
        (aside / _MANIFEST).write_text(canonical_json({"state": dict(state), "files": files}))
        sync_folder(aside)
        if folder.exists():
            shutil.rmtree(folder)
        aside.rename(folder)
        sync_entry(folder)
        write_atomically(folder / MARKER, content_hash((folder / _MANIFEST).read_bytes()).encode())

    try:
        _together(writers, folder, prepare if writers.is_main else None)
        _together(writers, folder, lambda: write_files(aside))
        _together(writers, folder, seal if writers.is_main else None)
    finally:
        if writers.is_main:
            shutil.rmtree(aside, ignore_errors=True)
    return Checkpoint(folder, state)


def _together(writers: Writers, folder: Path, act: Callable[[], None] | None) -> None:
    """Act, wait for the other ranks, and fail when one of them failed: none may go on alone."""
    problem = ""
    try:
        if act is not None:
            act()
    except Exception as error:  # noqa: BLE001  a full disk shows as OSError, SafetensorError, ValueError ...
        problem = f"{type(error).__name__}: {error}"
    problems = [text for text in writers.gather(problem) if text]
    if problems:
        raise CheckpointNotWritten(f"{folder}: {problems[0]}; the checkpoints before it are as they were")


def is_complete(folder: Path) -> bool:
    """Whether the checkpoint was finished; :func:`load_checkpoint` tells whether its bytes still hold."""
    return (folder / MARKER).is_file()


def read_state(folder: Path) -> dict[str, Any]:
    """What the writer stated. Raises :class:`BadCheckpoint` when it is incomplete or the manifest changed."""
    try:
        manifest, marker = (folder / _MANIFEST).read_bytes(), (folder / MARKER).read_text()
    except OSError:
        raise BadCheckpoint(f"{folder}: incomplete") from None
    if content_hash(manifest) != marker:
        raise BadCheckpoint(f"{folder}: {_MANIFEST} differs from {MARKER}")
    state: dict[str, Any] = orjson.loads(manifest)["state"]
    return state


def load_checkpoint(folder: Path) -> Checkpoint:
    """Verify every file against the manifest. Raises :class:`BadCheckpoint`, naming the first that differs."""
    state = read_state(folder)
    for name, expected in orjson.loads((folder / _MANIFEST).read_bytes())["files"].items():
        path = folder / name
        if (
            not path.is_file()
            or path.stat().st_size != expected["size_bytes"]
            or file_sha256(path) != expected["sha256"]
        ):
            raise BadCheckpoint(f"{folder}: {name} is missing or differs from the manifest")
    return Checkpoint(folder, state)


def newest_checkpoint(parent: Path, prefix: str) -> Checkpoint | None:
    """The complete checkpoint ``<prefix>NNNNNN`` with the greatest number that verifies; None when there is none."""
    for folder in reversed(_by_number(parent, prefix)):
        try:
            return load_checkpoint(folder)
        except BadCheckpoint:
            continue
    return None


def prune_checkpoints(parent: Path, prefix: str, keep: int) -> None:
    """Remove all but the ``keep`` newest complete checkpoints of a prefix, and incomplete ones."""
    complete = [folder for folder in _by_number(parent, prefix) if is_complete(folder)]
    kept = set(complete[-keep:]) if keep else set()
    for folder in parent.glob(f"{prefix}[0-9]*"):
        if folder not in kept:
            shutil.rmtree(folder, ignore_errors=True)


def _by_number(parent: Path, prefix: str) -> list[Path]:
    return sorted(parent.glob(f"{prefix}[0-9]*"), key=lambda folder: (len(folder.name), folder.name))
