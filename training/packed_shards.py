"""Packed sequences on disk: Arrow IPC files, uncompressed, so that reading is mapping them into memory.

A stratum's sequences lie in shards of the same number of sequences (the last may hold fewer), one record batch each,
with the columns of table ``packed``.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forge.schema import TABLES
from training.files import file_sha256
from training.shard_cache import CorruptShard, MissingShard, Shard, ShardCache, ShardError

SHARD_BYTES = 64 * 1024 * 1024
"""Token ids in one shard, about."""
_OPEN_SHARDS = 64


class BadPackedShard(ShardError):
    """A packed shard is absent, or not what was packed."""


class PackedShardWriter:
    """Writes the shards of one stratum into ``folder``; at most one shard is held in memory.

    ``constants`` are the values of the columns that are the same for the whole stratum.
    """

    def __init__(
        self, folder: Path, stem: str, sequences_per_shard: int, first_id: int, constants: Mapping[str, str]
    ) -> None:
        self.folder, self.stem, self.sequences_per_shard = folder, stem, sequences_per_shard
        self.constants, self.first_id = constants, first_id
        self.shards: list[dict[str, Any]] = []
        """``path`` (relative), ``sha256``, ``size_bytes``, ``sequences`` of each."""
        self.sequences = 0
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_sequences = 0

    def add(self, sequences: Iterable[pa.RecordBatch]) -> None:
        """Batches of sequences with the columns :data:`training.packing.PACKED_COLUMNS`."""
        for batch in sequences:
            self._waiting.append(batch)
            self._waiting_sequences += batch.num_rows
            while self._waiting_sequences >= self.sequences_per_shard:
                self._write(self.sequences_per_shard)

    def close(self) -> None:
        """Write what waits, as the last shard."""
        if self._waiting_sequences:
            self._write(self._waiting_sequences)

    def _write(self, count: int) -> None:
        table = pa.Table.from_batches(self._waiting)
        rest = table.slice(count)
        self._waiting, self._waiting_sequences = rest.to_batches(), rest.num_rows
        content = table.slice(0, count).combine_chunks()
        columns: dict[str, Any] = {name: pa.repeat(value, count) for name, value in self.constants.items()}
        columns["sequence_id"] = pa.array(np.arange(count) + self.first_id + self.sequences)
        columns |= {name: content[name].combine_chunks() for name in content.column_names}
        schema = TABLES["packed"]
        path = self.folder / f"{self.stem}-{len(self.shards):05d}.arrow"
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            writer.write_batch(pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema))
        self.shards.append(
            {
                "path": path.name,
                "sha256": file_sha256(path),
                "size_bytes": path.stat().st_size,
                "sequences": count,
            }
        )
        self.sequences += count


class PackedShard:
    """One shard; arrays are views of the file. Ragged columns are values and where each sequence's begin (one more).

    ``input_ids`` int32 (sequences, sequence_tokens); ``offsets``/``offset_bounds`` where pieces and padding start;
    ``span_starts``, ``span_ends``/``span_bounds``; ``tokens`` without padding and ``target_tokens``, (sequences,).
    """

    def __init__(self, path: Path, sequence_tokens: int) -> None:
        batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
        columns: dict[str, Any] = {name: batch.column(name) for name in batch.schema.names}
        self.sequences = batch.num_rows
        self.input_ids: NDArray[np.int32] = _values(columns["input_ids"]).reshape(self.sequences, sequence_tokens)
        self.offsets, self.offset_bounds = _values(columns["document_offsets"]), _bounds(columns["document_offsets"])
        spans = columns["loss_spans"].values
        self.span_starts, self.span_ends = (spans.field(number).to_numpy() for number in (0, 1))
        self.span_bounds = _bounds(columns["loss_spans"])
        self._doc_ids, self._doc_bounds = columns["doc_ids"].values, _bounds(columns["doc_ids"])
        self.tokens: NDArray[np.int64] = self.offsets[self.offset_bounds[1:] - 1].astype(np.int64)
        summed = np.concatenate([[0], np.cumsum(self.span_ends - self.span_starts, dtype=np.int64)])
        self.target_tokens: NDArray[np.int64] = np.diff(summed[self.span_bounds])

    def doc_ids(self, row: int) -> list[str]:
        """Of the pieces of one sequence."""
        found: list[str] = self._doc_ids.slice(
            self._doc_bounds[row], self._doc_bounds[row + 1] - self._doc_bounds[row]
        ).to_pylist()
        return found

    def pieces(self) -> tuple[Any, NDArray[np.int64], NDArray[np.int64]]:
        """Of every piece of the shard: its doc_id, the row of its sequence, its tokens."""
        row, _, place = ragged(self.offset_bounds, np.arange(self.sequences))
        is_piece = np.diff(row, append=-1) == 0  # not the last entry of a sequence: that is where the padding starts
        place = place[is_piece]
        return self._doc_ids, row[is_piece], (self.offsets[place + 1] - self.offsets[place]).astype(np.int64)


def ragged(
    bounds: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The values of some rows of a ragged column: for each, which of ``rows`` (its number) it belongs to, its place in
    that row, its place in the column."""
    counts = bounds[rows + 1] - bounds[rows]
    owner = np.repeat(np.arange(len(rows)), counts)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    return owner, within, bounds[rows][owner] + within


class PackedShards:
    """The shards of a stage's strata, opened when they are needed, each verified once per process."""

    def __init__(self, folder: Path, strata: Mapping[str, Mapping[str, Any]], sequence_tokens: int) -> None:
        self._folder, self._sequence_tokens = folder, sequence_tokens
        self._cache = ShardCache(folder, lambda path: (folder / path).open("rb"), max_bytes=0, local_root=folder)
        self._shards: Mapping[str, Sequence[Mapping[str, Any]]] = {
            name: stratum["shards"] for name, stratum in strata.items()
        }
        self._open: OrderedDict[tuple[str, int], PackedShard] = OrderedDict()
        self._lock = threading.Lock()

    def shard(self, stratum: str, number: int) -> PackedShard:
        """Raises :class:`BadPackedShard`."""
        with self._lock:
            found = self._open.pop((stratum, number), None)
            if found is None:
                found = self._opened(_shard_of(self._shards[stratum][number]))
            self._open[stratum, number] = found
            if len(self._open) > _OPEN_SHARDS:
                (name, other), _ = self._open.popitem(last=False)
                self._cache.done(_shard_of(self._shards[name][other]))
            return found

    def _opened(self, shard: Shard) -> PackedShard:
        try:
            return PackedShard(self._cache.get(shard), self._sequence_tokens)
        except (CorruptShard, MissingShard):
            path = self._folder / shard.path
            found = f"{path.stat().st_size:,} bytes, sha256 {file_sha256(path)}" if path.is_file() else "no file"
            raise BadPackedShard(
                f"{path}: packed as {shard.size_bytes:,} bytes, sha256 {shard.sha256}; found {found}. "
                f"Remove {self._folder}, and it is packed again"
            ) from None


def _shard_of(entry: Mapping[str, Any]) -> Shard:
    return Shard(str(entry["path"]), str(entry["sha256"]), int(entry["size_bytes"]))


def _values(lists: Any) -> NDArray[Any]:
    found: NDArray[Any] = lists.values.to_numpy(zero_copy_only=True)
    return found


def _bounds(lists: Any) -> NDArray[np.int64]:
    found: NDArray[np.int64] = lists.offsets.to_numpy().astype(np.int64)
    return found
