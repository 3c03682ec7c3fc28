"""A release as a folder that anybody can read: plain Parquet shards, a dataset card, provenance and a manifest.

::

    README.md                       dataset card: licences, sources, counts, recipe, gates, how to load
    data/corpus-00000-of-00003.parquet ...      the release's shards, byte for byte
    provenance/document_sources.parquet         every place that each document came from (attribution)
    manifest.json                   what the folder holds: release, sha256 and sizes of all files

The folder is written aside and renamed when it is whole; an export that was killed goes on with the shards that it has.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from forge.dataset_card import dataset_card
from forge.lake import Lake
from forge.release import Release
from forge.schema import TABLES

MANIFEST = "manifest.json"
PROVENANCE = "provenance/document_sources.parquet"
_CHUNK_BYTES = 4 * 1024 * 1024
_NARROW = ("doc_id", "kind", "domain", "split", "source", "license", "tokens")


class ExportError(Exception):
    """The release cannot be exported to that place, or its bytes are not those that were published."""


def export_release(lake: Lake, release: Release, target: Path, *, force: bool = False) -> dict[str, Any]:
    """Write a release to the new folder ``target`` and return its manifest. ``force`` replaces an earlier export.

    Raises :class:`ExportError` when ``target`` exists, and when a shard's sha256 is not the published one.
    """
    target = target.absolute()
    if target.exists():
        _check_replaceable(target, force)
    aside = target.with_name(f".{target.name}.partial-{release.release_id}")
    (aside / "data").mkdir(parents=True, exist_ok=True)
    (aside / "provenance").mkdir(exist_ok=True)
    files = []
    for number, file in enumerate(release.files):
        name = f"data/corpus-{number:05d}-of-{len(release.files):05d}.parquet"
        _copy_shard(lake, file.path, aside / name, file.sha256)
        files.append(
            {
                "path": name,
                "sha256": file.sha256,
                "size_bytes": file.size_bytes,
                "rows": file.rows,
                "tokens": file.tokens,
            }
        )
    counts = _counts(aside, [str(file["path"]) for file in files])
    _write_provenance(lake, release, counts.pop("doc_ids"), aside / PROVENANCE)
    (aside / "README.md").write_text(
        dataset_card(release, counts, provenance=PROVENANCE, manifest=MANIFEST), encoding="utf-8"
    )
    for name in (PROVENANCE, "README.md"):
        path = aside / name
        files.append({"path": name, "sha256": _sha256(path), "size_bytes": path.stat().st_size})
    manifest = {
        "release_id": release.release_id,
        "created_at": release.created_at,
        "night": release.partition_key,
        "recipe": dict(release.recipe),
        "gates": [dict(gate) for gate in release.gates],
        "tables": dict(release.versions),
        "counts": counts,
        "files": files,
    }
    (aside / MANIFEST).write_bytes(orjson.dumps(manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n")
    _put_in_place(aside, target)
    return manifest


def verify_export(folder: Path) -> dict[str, Any]:
    """Check every file of an export against its manifest. Raises :class:`ExportError`, which names the first that
    differs; returns the manifest."""
    try:
        manifest: dict[str, Any] = orjson.loads((folder / MANIFEST).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        raise ExportError(f"{folder}: no export of a release (no readable {MANIFEST})") from None
    for file in manifest["files"]:
        path = folder / file["path"]
        if not path.is_file() or _sha256(path) != file["sha256"]:
            raise ExportError(f"{path}: missing or not the bytes that {MANIFEST} names")
    return manifest


def _check_replaceable(target: Path, force: bool) -> None:
    if not force:
        raise ExportError(f"{target} exists; --force replaces an earlier export")
    if not (target / MANIFEST).is_file():
        raise ExportError(f"{target} exists and is no export of a release; it is not replaced")


def _copy_shard(lake: Lake, path: str, target: Path, sha256: str) -> None:
    if target.is_file() and _sha256(target) == sha256:
        return  # an earlier attempt got this far
    digest = hashlib.sha256()
    with lake.filesystem("corpus").open_input_file(path) as source, target.open("wb") as sink:
        while chunk := source.read(_CHUNK_BYTES):
            digest.update(chunk)
            sink.write(chunk)
        sink.flush()
        os.fsync(sink.fileno())
    if digest.hexdigest() != sha256:
        target.unlink()
        raise ExportError(f"shard {path} has sha256 {digest.hexdigest()}, published was {sha256}")


def _sha256(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _counts(folder: Path, shards: list[str]) -> dict[str, Any]:
    """Documents and tokens by kind, split, source and licence, counted from the exported shards."""
    documents: dict[str, Counter[str]] = {name: Counter() for name in ("kind", "domain", "split", "source", "license")}
    tokens: dict[str, Counter[str]] = {name: Counter() for name in documents}
    doc_ids: list[str] = []
    for shard in shards:
        rows = pq.read_table(folder / shard, columns=list(_NARROW)).to_pydict()
        doc_ids += rows["doc_id"]
        for name, counter in documents.items():
            for value, count in zip(rows[name], rows["tokens"], strict=True):
                counter[value or ""] += 1
                tokens[name][value or ""] += count or 0
    return {
        "doc_ids": doc_ids,
        "total_documents": len(doc_ids),
        "total_tokens": sum(tokens["kind"].values()),
        "documents": {name: dict(sorted(counter.items())) for name, counter in documents.items()},
        "tokens": {name: dict(sorted(counter.items())) for name, counter in tokens.items()},
    }


def _write_provenance(lake: Lake, release: Release, doc_ids: list[str], path: Path) -> None:
    columns = ["doc_id", "source", "item_id", "uri", "license"]
    schema = pa.schema([TABLES["document_sources"].field(name) for name in columns])
    rows: Any = schema.empty_table()
    if "document_sources" in release.versions:
        places: Any = lake.read(
            "document_sources",
            columns,
            version=release.versions["document_sources"],
            up_to=release.partition_key,
        )
        rows = places.filter(pc.is_in(places["doc_id"], value_set=pa.array(doc_ids, pa.string())))
        rows = rows.group_by(columns).aggregate([]).sort_by([(name, "ascending") for name in columns])
    pq.write_table(rows.select(columns).cast(schema), path, compression="zstd")


def _put_in_place(aside: Path, target: Path) -> None:
    if not target.exists():
        aside.rename(target)
        return
    old = target.with_name(f".{target.name}.replaced-{os.getpid()}")
    target.rename(old)
    aside.rename(target)
    shutil.rmtree(old)
