"""Checkpoints that are whole or absent.

A checkpoint is a folder written aside, synced, listed in ``manifest.json`` with the sha256 of each file, renamed, and
marked by ``_COMPLETE``, which holds the manifest's own hash. Only then are older ones pruned. Loading verifies every
byte. Tensors are safetensors; nothing is pickled.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from forge.schema import canonical_json, content_hash
from training.files import file_sha256, sync_folder, write_atomically

_MANIFEST = "manifest.json"
_MARKER = "_COMPLETE"


class BadCheckpoint(Exception):
    """A checkpoint is incomplete or differs from its manifest."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """``state`` is what the writer stated: step, stage, release_id, order_hash and more, all JSON."""

    folder: Path
    state: Mapping[str, Any]


def write_checkpoint(folder: Path, state: Mapping[str, Any], write_files: Callable[[Path], None]) -> Checkpoint:
    """Write a checkpoint; ``write_files`` fills the folder it is given. An incomplete ``folder`` is replaced."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left_over in folder.parent.glob(f".{folder.name}-*"):  # of a killed run: one process writes a run at a time
        shutil.rmtree(left_over, ignore_errors=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        write_files(aside)
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
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    write_atomically(folder / _MARKER, content_hash((folder / _MANIFEST).read_bytes()).encode())
    return Checkpoint(folder, state)


def is_complete(folder: Path) -> bool:
    """Whether the checkpoint was finished; :func:`load_checkpoint` tells whether its bytes still hold."""
    return (folder / _MARKER).is_file()


def read_state(folder: Path) -> dict[str, Any]:
    """What the writer stated. Raises :class:`BadCheckpoint` when it is incomplete or the manifest changed."""
    try:
        manifest, marker = (folder / _MANIFEST).read_bytes(), (folder / _MARKER).read_text()
    except OSError:
        raise BadCheckpoint(f"{folder}: incomplete") from None
    if content_hash(manifest) != marker:
        raise BadCheckpoint(f"{folder}: {_MANIFEST} differs from {_MARKER}")
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
    for folder in sorted(parent.glob(f"{prefix}[0-9]*"), reverse=True):
        try:
            return load_checkpoint(folder)
        except BadCheckpoint:
            continue
    return None


def prune_checkpoints(parent: Path, prefix: str, keep: int) -> None:
    """Remove all but the ``keep`` newest complete checkpoints of a prefix, and incomplete ones."""
    complete = [folder for folder in sorted(parent.glob(f"{prefix}[0-9]*")) if is_complete(folder)]
    kept = set(complete[-keep:]) if keep else set()
    for folder in parent.glob(f"{prefix}[0-9]*"):
        if folder not in kept:
            shutil.rmtree(folder, ignore_errors=True)
