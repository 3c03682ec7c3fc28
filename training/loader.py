"""Batch k as a pure function of (release, recipe, seed, k): resuming at k needs no state and skips nothing.

The stratum of each draw follows the stage's shares exactly (:func:`training.schedule.interleave`). The draws of a
stratum go through its shards in an order of their own for each epoch, and through each shard in another one, both
Feistel permutations: every sequence comes once an epoch, and one shard a stratum is hot. Ranks take every world_size-th
sequence of the batch, so the global order is the same for any number of ranks. The loader is not given to
``Accelerator.prepare``: rank 0 would read for all, and resuming would not be exact.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forge.schema import canonical_json, content_hash
from training.packed_shards import PackedShard, ragged
from training.permutation import permutation, permutation_key
from training.schedule import interleave
from training.stage_data import StageData

LOADER_VERSION = "2"
NO_TARGET = -100
"""Label of a position that predicts nothing: torch's ``ignore_index``."""
_AHEAD = 3
_HOT_PERMUTATIONS = 32


@dataclass(frozen=True)
class Batch:
    """One rank's part of a step: n sequences of L tokens. Shapes are the same for every step of a stage.

    ``position_ids`` restart at every piece, the padding being one. ``labels``: the token that a position predicts, or
    :data:`NO_TARGET` at the end of a piece, in padding and outside the loss spans. ``cu_seqlens``: where the pieces of
    each sequence start, then L up to the width max_pieces + 1.
    """

    step: int
    sequence_ids: NDArray[np.int64]  # (n,)
    input_ids: NDArray[np.int64]  # (n, L)
    position_ids: NDArray[np.int64]  # (n, L)
    labels: NDArray[np.int64]  # (n, L)
    cu_seqlens: NDArray[np.int32]  # (n, max_pieces + 1)
    kinds: tuple[str, ...]  # (n,)

    def micro_batches(self, sequences: int) -> Iterator[Batch]:
        """The batch in parts of so many sequences; the last may hold fewer."""
        names = [field.name for field in fields(self) if field.name != "step"]
        for start in range(0, len(self.kinds), sequences):
            yield Batch(self.step, **{name: getattr(self, name)[start : start + sequences] for name in names})


class _Stratum:
    """Where the draws of one stratum lie."""

    def __init__(self, data: StageData, name: str, seed: int) -> None:
        entry = data.plan["strata"][name]
        self.name, self.kind = name, str(entry["kind"])
        self.first, self.sequences = int(entry["first"]), int(entry["sequences"])
        self.sizes = np.array([shard["sequences"] for shard in entry["shards"]], dtype=np.int64)
        self.firsts = self.first + np.cumsum(self.sizes) - self.sizes
        self._key = ("sequences", seed, str(data.plan["stage"]), name)
        self.shard_order = lru_cache(_HOT_PERMUTATIONS)(self._shard_order)
        self.row_order = lru_cache(_HOT_PERMUTATIONS)(self._row_order)

    def _shard_order(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The shards in the order of an epoch, and the draws of the epoch at which each begins."""
        order = permutation(len(self.sizes), permutation_key(*self._key, epoch))
        return order, np.cumsum(self.sizes[order]) - self.sizes[order]

    def _row_order(self, epoch: int, shard: int) -> NDArray[np.int64]:
        return permutation(int(self.sizes[shard]), permutation_key(*self._key, epoch, shard))

    def runs(self, ordinals: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], int, NDArray[np.int64]]]:
        """Draws by ordinal, grouped by the shard in which they lie: their places in ``ordinals`` (which is sorted), the
        shard's number, their rows there."""
        start = 0
        while start < len(ordinals):
            epoch, draw = divmod(int(ordinals[start]), self.sequences)
            order, begins = self.shard_order(epoch)
            slot = int(np.searchsorted(begins, draw, side="right")) - 1
            shard = int(order[slot])
            begin = epoch * self.sequences + int(begins[slot])
            end = int(np.searchsorted(ordinals, begin + self.sizes[shard]))
            yield np.arange(start, end), shard, self.row_order(epoch, shard)[ordinals[start:end] - begin]
            start = end


class StageLoader:
    """Batches 1 to :attr:`steps` of a stage, for one rank.

    Raises ValueError when a batch cannot be split evenly over the ranks: each must do the same number of sequences.
    """

    def __init__(self, data: StageData, *, batch_tokens: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        self.data, self.seed = data, seed
        self.rank, self.world_size = rank, world_size
        self.sequence_tokens = data.sequence_tokens
        self.batch_sequences = max(1, batch_tokens // data.sequence_tokens)
        if self.batch_sequences % world_size:
            raise ValueError(
                f"a batch of {self.batch_sequences} sequences of {self.sequence_tokens} tokens cannot be split over "
                f"{world_size} ranks; it must be a multiple of {world_size * self.sequence_tokens} tokens"
            )
        self._draws = interleave({name: stratum["draws"] for name, stratum in data.plan["strata"].items()})
        self._strata = [_Stratum(data, name, seed) for name in self._draws.names]
        self.steps = len(self._draws.stratum) // self.batch_sequences
        self.wait_seconds = 0.0
        """How long the consumer of :meth:`batches` has waited for them, in total."""

    def _range(self, step: int) -> tuple[int, int]:
        if not 1 <= step <= self.steps:
            raise ValueError(f"step {step} is outside 1..{self.steps}")
        return (step - 1) * self.batch_sequences, step * self.batch_sequences

    def _runs(
        self, first: int, end: int, *, own: bool = False
    ) -> Iterator[tuple[_Stratum, NDArray[np.int64], int, NDArray[np.int64]]]:
        """The draws from ``first`` to ``end`` by stratum and shard: stratum, places within the range (or, ``own``,
        within this rank's part of it), the shard's number, rows there."""
        part = slice(first + self.rank, end, self.world_size) if own else slice(first, end)
        strata, ordinals = self._draws.stratum[part], self._draws.ordinal[part]
        for number, stratum in enumerate(self._strata):
            places = np.flatnonzero(strata == number)
            for found, shard, rows in stratum.runs(ordinals[places].astype(np.int64)):
                yield stratum, places[found], shard, rows

    def sequence_ids(self, step: int) -> NDArray[np.int64]:
        """The sequences of the whole batch of a step (from 1), in global order."""
        first, end = self._range(step)
        ids = np.empty(end - first, dtype=np.int64)
        for stratum, places, shard, rows in self._runs(first, end):
            ids[places] = stratum.firsts[shard] + rows
        return ids

    def counts(self, step: int) -> tuple[int, int]:
        """(tokens without padding, target tokens) of the whole batch of a step, over all ranks."""
        tokens = target_tokens = 0
        for stratum, _, number, rows in self._runs(*self._range(step)):
            shard = self.data.shard(stratum.name, number)
            tokens += int(shard.tokens[rows].sum())
            target_tokens += int(shard.target_tokens[rows].sum())
        return tokens, target_tokens

    def doc_ids(self, step: int) -> list[str]:
        """The documents of the whole batch of a step, in global order; one that was split may come twice."""
        found: list[tuple[int, list[str]]] = []
        for stratum, places, number, rows in self._runs(*self._range(step)):
            shard = self.data.shard(stratum.name, number)
            found += [(place, shard.doc_ids(row)) for place, row in zip(places.tolist(), rows.tolist(), strict=True)]
        return [doc_id for _, doc_ids in sorted(found) for doc_id in doc_ids]

    def batch(self, step: int) -> Batch:
        """This rank's part of a step."""
        first, end = self._range(step)
        count, length = (end - first) // self.world_size, self.sequence_tokens
        ids = np.empty(count, dtype=np.int64)
        input_ids = np.empty((count, length), dtype=np.int64)
        cu_seqlens = np.full((count, self.data.max_pieces + 1), length, dtype=np.int32)
        is_target = np.zeros(count * length + 1, dtype=np.int8)
        kinds = [""] * count
        for stratum, places, number, rows in self._runs(first, end, own=True):
            shard = self.data.shard(stratum.name, number)
            ids[places] = stratum.firsts[number] + rows
            input_ids[places] = shard.input_ids[rows]
            _mark_pieces(shard, rows, places, cu_seqlens)
            _mark_targets(shard, rows, places, is_target, length)
            for place in places.tolist():
                kinds[place] = stratum.kind
        return Batch(
            step,
            ids,
            input_ids,
            _position_ids(cu_seqlens, length),
            _labels(input_ids, is_target),
            cu_seqlens,
            tuple(kinds),
        )

    def batches(self, first_step: int) -> Iterator[Batch]:
        """The batches from ``first_step`` to the last, read a few ahead by a thread of its own.

        What fails there is raised here. The thread ends with the iterator.
        """
        ready: queue.Queue[Batch | BaseException | None] = queue.Queue(_AHEAD)
        stopped = threading.Event()

        def put(item: Batch | BaseException | None) -> None:
            while not stopped.is_set():
                try:
                    ready.put(item, timeout=0.1)
                    return
                except queue.Full:
                    continue

        def read() -> None:
            try:
                for step in range(first_step, self.steps + 1):
                    if stopped.is_set():
                        return
                    put(self.batch(step))
                put(None)
            except BaseException as error:  # noqa: BLE001  raised in the consumer
                put(error)

        reader = threading.Thread(target=read, name="batches", daemon=True)
        reader.start()
        try:
            while True:
                started = time.monotonic()
                found = ready.get()
                self.wait_seconds += time.monotonic() - started
                if found is None:
                    return
                if isinstance(found, BaseException):
                    raise found
                yield found
        finally:
            stopped.set()
            reader.join()

    def seen(self, up_to_step: int) -> pa.Table:
        """The documents in the steps up to and including ``up_to_step``: ``doc_id``, ``tokens`` (repeats counted),
        ``first_step``; sorted by doc_id."""
        end = min(up_to_step, self.steps) * self.batch_sequences
        found = [_SEEN.empty_table()]
        by_shard: dict[tuple[str, int], tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
        for stratum, places, number, rows in self._runs(0, end):
            sizes = int(stratum.sizes[number])
            times, first = by_shard.setdefault(
                (stratum.name, number), (np.zeros(sizes, np.int64), np.full(sizes, self.steps + 1, np.int64))
            )
            times[rows] += 1  # a row comes once in a run: runs end with the epoch
            first[rows] = np.minimum(first[rows], places // self.batch_sequences + 1)
        for (name, number), (times, first) in by_shard.items():
            doc_ids, row, tokens = self.data.shard(name, number).pieces()
            table = pa.table([doc_ids, tokens * times[row], first[row]], schema=_SEEN)
            found.append(_by_document(table.filter(pa.array(times[row] > 0))))
        return _by_document(pa.concat_tables(found)).sort_by("doc_id").combine_chunks()

    def order_hash(self) -> str:
        """Hash of what decides every step: the plan with the hashes of its shards, seed, batch. No token is read."""
        return content_hash(
            LOADER_VERSION, str(self.seed), str(self.batch_sequences), canonical_json(dict(self.data.plan))
        )


_SEEN = pa.schema(dict[str, Any](doc_id=pa.string(), tokens=pa.int64(), first_step=pa.int64()))


def _by_document(table: pa.Table) -> pa.Table:
    grouped = table.group_by("doc_id", use_threads=False).aggregate([("tokens", "sum"), ("first_step", "min")])
    return grouped.rename_columns([name.removesuffix("_sum").removesuffix("_min") for name in grouped.column_names])


def _mark_pieces(
    shard: PackedShard, rows: NDArray[np.int64], places: NDArray[np.int64], cu_seqlens: NDArray[np.int32]
) -> None:
    """Write where the pieces of ``rows``, and their padding, start into the rows ``places``."""
    owner, within, place = ragged(shard.offset_bounds, rows)
    cu_seqlens[places[owner], within] = shard.offsets[place]


def _mark_targets(
    shard: PackedShard,
    rows: NDArray[np.int64],
    places: NDArray[np.int64],
    is_target: NDArray[np.int8],
    length: int,
) -> None:
    """Add 1 where a run of positions with a target begins in the flattened batch, -1 where one ends."""
    owner, _, place = ragged(shard.span_bounds, rows)
    base = places[owner] * length - 1  # the position before a token predicts it
    is_target[base + shard.span_starts[place]] += 1
    is_target[base + shard.span_ends[place]] -= 1


def _position_ids(cu_seqlens: NDArray[np.int32], length: int) -> NDArray[np.int64]:
    starts = np.zeros((len(cu_seqlens), length + 1), dtype=np.int32)  # narrow: memory is what this waits for
    np.put_along_axis(starts, cu_seqlens.astype(np.int64), cu_seqlens, axis=1)
    np.maximum.accumulate(starts, axis=1, out=starts)
    return np.subtract(np.arange(length, dtype=np.int32), starts[:, :length], dtype=np.int64)


def _labels(input_ids: NDArray[np.int64], is_target: NDArray[np.int8]) -> NDArray[np.int64]:
    np.cumsum(is_target, dtype=np.int8, out=is_target)
    chosen = is_target[:-1].view(np.bool_).reshape(input_ids.shape)
    labels = np.full(input_ids.shape, NO_TARGET, dtype=np.int64)
    np.copyto(labels[:, :-1], input_ids[:, 1:], where=chosen[:, :-1])
    return labels
