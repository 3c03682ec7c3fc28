"""Releases: what a published corpus is, how it is identified, how it is found (DESIGN D4).

``release_id`` is a hash of the ordered shards' sha256 and of the recipe: equal content is the same release, whatever
the night, the table versions or the machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from forge.lake import Lake
from forge.schema import canonical_json, content_hash


class NoRelease(Exception):
    """There is no such release, or none at all yet."""


@dataclass(frozen=True, slots=True)
class ReleaseFile:
    """One shard of the corpus. ``path`` is relative to the table ``corpus``; ``tokens`` by the reference tokenizer."""

    path: str
    sha256: str
    size_bytes: int
    rows: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Release:
    release_id: str
    parent: str | None
    created_at: str
    partition_key: str
    run_id: str
    versions: Mapping[str, int]
    files: Sequence[ReleaseFile]
    recipe: Mapping[str, Any]
    configuration_hash: str
    code_hash: str
    gates: Sequence[Mapping[str, Any]]
    report: Mapping[str, Any]

    def row(self) -> dict[str, Any]:
        return {
            "release_id": self.release_id,
            "parent": self.parent,
            "created_at": self.created_at,
            "partition_key": self.partition_key,
            "run_id": self.run_id,
            "versions": canonical_json(dict(self.versions)),
            "files": [
                {"path": f.path, "sha256": f.sha256, "size_bytes": f.size_bytes, "rows": f.rows, "tokens": f.tokens}
                for f in self.files
            ],
            "recipe": canonical_json(dict(self.recipe)),
            "configuration_hash": self.configuration_hash,
            "code_hash": self.code_hash,
            "gates": canonical_json([dict(gate) for gate in self.gates]),
            "report": canonical_json(dict(self.report)),
        }


def release_from_row(row: Mapping[str, Any]) -> Release:
    """The inverse of :meth:`Release.row`."""
    return Release(
        release_id=row["release_id"],
        parent=row["parent"],
        created_at=row["created_at"],
        partition_key=row["partition_key"],
        run_id=row["run_id"],
        versions=orjson.loads(row["versions"]),
        files=tuple(ReleaseFile(**file) for file in row["files"]),
        recipe=orjson.loads(row["recipe"]),
        configuration_hash=row["configuration_hash"],
        code_hash=row["code_hash"],
        gates=orjson.loads(row["gates"]),
        report=orjson.loads(row["report"]),
    )


def releases(lake: Lake) -> list[Release]:
    """All releases, oldest first."""
    found = [release_from_row(row) for row in lake.read("releases").to_pylist()]
    return sorted(found, key=lambda release: (release.created_at, release.release_id))


def release_of(lake: Lake, release_id: str | None = None) -> Release:
    """A release by its id or an unambiguous prefix of it; the current (newest) one for None or "current".

    Raises :class:`NoRelease`, whose message lists what there is.
    """
    found = releases(lake)
    if not found:
        raise NoRelease(f"nothing has been published yet in {lake.root}")
    if release_id is None or release_id == "current":
        return found[-1]
    matching = [release for release in found if release.release_id.startswith(release_id)]
    if len({release.release_id for release in matching}) != 1:
        known = ", ".join(release.release_id for release in found)
        raise NoRelease(f"release {release_id!r}: {len(matching)} releases match; known: {known}")
    return matching[-1]


def release_id_of(files: Sequence[ReleaseFile], recipe: Mapping[str, Any]) -> str:
    """32 hex digits: the hash of the ordered shards (sha256, rows) and the recipe."""
    return content_hash(canonical_json([[[file.sha256, file.rows] for file in files], dict(recipe)]))


def corpus_files(lake: Lake, version: int, partition_key: str) -> tuple[ReleaseFile, ...]:
    """The ordered shards of a night's corpus at a version, read once to hash the bytes that lie in the store."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    found = []
    for file in lake.files("corpus", version=version, where=lambda values: values["partition_key"] == partition_key):
        content = lake.read_file("corpus", file.path)
        tokens = pc.sum(pq.read_table(pa.BufferReader(content), columns=["tokens"])["tokens"]).as_py() or 0
        found.append(ReleaseFile(file.path, hashlib.sha256(content).hexdigest(), len(content), file.rows, int(tokens)))
    return tuple(found)
