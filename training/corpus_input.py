"""Documents of a release for one stage: how many there are of each kind, and the texts of those that a stage takes.

The survey reads a few narrow columns of every file where it lies. Texts come from whole, verified files: a stage takes
the files in an order chosen by the seed, and of each file what it still needs. A release is sorted by doc_id, a hash,
so the documents of any file are a uniform sample.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from forge.schema import CHAT_FORM, DOMAIN_OF_KIND, KINDS, canonical_json, content_hash
from training.files import write_atomically
from training.permutation import permutation_key
from training.shard import CorruptShard, MissingShard, OpenFile, Shard
from training.waiting import awaited, no_beat

SURVEY_VERSION = "1"
STAGES = ("I", "II", "III")
_COLUMNS = ("kind", "form", "stages", "split", "tokens", "weight")
_GROUPS = (len(KINDS), 2, 1 << len(STAGES), 2)  # kind, is chat, set of stages, is taken
_OPEN_FILES = 8
_WHOLE = 1.0 - 1e-9  # weights are rounded to six digits before they come here


class ReleaseFile(Protocol):
    @property
    def path(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def size_bytes(self) -> int: ...


class Release(Protocol):
    """What training needs of a release: its id, its ordered Parquet files of table ``corpus``, its recipe."""

    @property
    def release_id(self) -> str: ...
    @property
    def partition_key(self) -> str: ...
    @property
    def files(self) -> Sequence[ReleaseFile]: ...
    @property
    def recipe(self) -> Mapping[str, Any]: ...


class NotTheRelease(Exception):
    """A file is not what the release, or the survey of it, says."""


@dataclass(frozen=True, slots=True)
class CorpusText:
    doc_id: str
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Stratum:
    """Documents of one kind that a stage gives one share to. ``stage`` "" takes documents of any stage (replay)."""

    name: str
    kind: str
    stage: str

    @property
    def is_chat(self) -> bool:
        return self.stage == "III"

    def chooses(self, kind: Any, is_chat: Any, stages: Any) -> Any:
        """Whether documents belong to it: numbers or arrays of the same shape, as :class:`Documents` has them."""
        of_stage = (stages >> STAGES.index(self.stage)) & 1 == 1 if self.stage else stages >= 0
        return (kind == KINDS.index(self.kind)) & (is_chat == self.is_chat) & of_stage


@dataclass(frozen=True, slots=True)
class Selection:
    """What decides, beside their strata, which documents are taken, and how many tokens each counts for.

    A document in the mix is taken with probability ``weight / domain_weight``, the weight of its outcome (see
    ``spark_jobs/mix.py``), by a hash of seed and doc_id. ``max_document_tokens`` crops.
    """

    seed: int
    max_document_tokens: int | None
    domain_weights: Mapping[str, float]

    @property
    def key(self) -> str:
        return content_hash(str(self.seed), str(self.max_document_tokens), str(sorted(self.domain_weights.items())))

    def takes(self, doc_id: str, probability: float) -> bool:
        digest = hashlib.blake2b(doc_id.encode(), digest_size=8, key=permutation_key("weight", self.seed)).digest()
        return int.from_bytes(digest, "little") < probability * 2.0**64


@dataclass(frozen=True, slots=True)
class Documents:
    """The training documents of one file, arrays of shape (documents,). ``row`` is the place in the file; ``kind`` an
    index of :data:`forge.schema.KINDS`; ``stages`` a set of bits; ``tokens`` by the reference tokenizer, cropped."""

    row: NDArray[np.int64]
    kind: NDArray[np.int64]
    is_chat: NDArray[np.bool_]
    stages: NDArray[np.int64]
    is_taken: NDArray[np.bool_]
    tokens: NDArray[np.int64]

    def counts(self) -> NDArray[np.int64]:
        """Documents and their tokens by :data:`_GROUPS`, shape (2, *_GROUPS)."""
        place = (self.kind, self.is_chat.astype(np.int64), self.stages, self.is_taken.astype(np.int64))
        counts = np.zeros((2, *_GROUPS), dtype=np.int64)
        np.add.at(counts[0], place, 1)
        np.add.at(counts[1], place, self.tokens)
        return counts

    def rows_of(self, stratum: Stratum) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of the documents that are taken, and their tokens."""
        chosen = stratum.chooses(self.kind, self.is_chat, self.stages) & self.is_taken
        return self.row[chosen], self.tokens[chosen]


def shard_of(file: ReleaseFile) -> Shard:
    """A file of a release, as it is fetched and verified."""
    return Shard(file.path, file.sha256, file.size_bytes)


@contextmanager
def opened(file: ReleaseFile, open_file: OpenFile) -> Iterator[pq.ParquetFile]:
    """A file of the release where it lies, for narrow columns: its sha256 is not compared.

    Raises :class:`training.shard.MissingShard` and :class:`training.shard.CorruptShard`.
    """
    try:
        with open_file(file.path) as source, pq.ParquetFile(source, pre_buffer=True) as parquet:
            yield parquet
    except FileNotFoundError:
        raise MissingShard(shard_of(file), "the lake") from None
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise CorruptShard(shard_of(file), f"no Parquet: {error}") from None


def documents_in(parquet: pq.ParquetFile, path: str, selection: Selection) -> Documents:
    """Read the narrow columns of an open file. Raises :class:`NotTheRelease` on a kind that does not exist."""
    table: Any = parquet.read(columns=list(_COLUMNS), use_threads=False)
    table = table.append_column("row", pa.array(np.arange(table.num_rows)))
    table = table.filter(pc.equal(table["split"], pa.scalar("train"))).combine_chunks()
    kind = _index_in(table["kind"], KINDS)
    if (kind < 0).any():
        unknown = sorted({str(name) for name in table["kind"].unique().to_pylist()} - set(KINDS))
        raise NotTheRelease(f"{path}: kind {', '.join(unknown)}: not one of {', '.join(KINDS)}")
    tokens = pc.fill_null(table["tokens"], 0).to_numpy()
    if selection.max_document_tokens:
        tokens = np.minimum(tokens, selection.max_document_tokens)
    stages, row = _stage_bits(table["stages"]), table["row"].to_numpy()
    weight = pc.fill_null(table["weight"], 0.0).to_numpy()
    weight_of = np.array([float(selection.domain_weights.get(DOMAIN_OF_KIND[name], 1.0)) or 1.0 for name in KINDS])
    # `mix` gives weights to the documents of stage I only
    probability = np.where(stages & 1, weight / weight_of[kind], 1.0)
    is_taken = probability >= _WHOLE
    unsure = np.flatnonzero((probability > 0.0) & ~is_taken)
    if len(unsure):
        doc_ids = parquet.read(columns=["doc_id"], use_threads=False)["doc_id"].take(pa.array(row[unsure])).to_pylist()
        pairs = zip(doc_ids, probability[unsure].tolist(), strict=True)
        is_taken[unsure] = [selection.takes(str(doc_id), share) for doc_id, share in pairs]
    is_chat = pc.equal(pc.fill_null(table["form"], ""), pa.scalar(CHAT_FORM)).to_numpy()
    return Documents(row, kind, is_chat, stages, is_taken, tokens)


def texts_at(parquet: pq.ParquetFile, rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], pa.Table]]:
    """``doc_id`` and ``text`` of the given rows (sorted), one row group at a time; others are not read."""
    first = 0
    for group in range(parquet.num_row_groups):
        end = first + parquet.metadata.row_group(group).num_rows
        low, high = np.searchsorted(rows, (first, end))
        if high > low:
            table = parquet.read_row_group(group, columns=["doc_id", "text"], use_threads=False)
            yield rows[low:high], table.take(rows[low:high] - first)
        first = end


class Survey:
    """How many training documents and tokens a release has, by file and stratum."""

    def __init__(self, counts: NDArray[np.int64]) -> None:
        """``counts`` int64, shape (files, 2, *_GROUPS): documents and tokens."""
        self._counts = counts
        self._kind, self._chat, self._stages, self._taken = np.indices(_GROUPS)

    def _by_file(self, stratum: Stratum, taken: int, what: int) -> NDArray[np.int64]:
        chosen = stratum.chooses(self._kind, self._chat == 1, self._stages) & (self._taken == taken)
        found: NDArray[np.int64] = self._counts[:, what][:, chosen].sum(axis=1)
        return found

    def documents(self, stratum: Stratum) -> NDArray[np.int64]:
        """Documents that may be taken, shape (files,)."""
        return self._by_file(stratum, 1, 0)

    def tokens(self, stratum: Stratum) -> int:
        return int(self._by_file(stratum, 1, 1).sum())

    def left_out(self, stratum: Stratum) -> int:
        """Documents that their weight leaves out."""
        return int(self._by_file(stratum, 0, 0).sum())

    def check(self, number: int, path: str, documents: Documents) -> None:
        """Raises :class:`NotTheRelease` when the whole, verified file differs from what was surveyed."""
        if not np.array_equal(self._counts[number], documents.counts()):
            raise NotTheRelease(f"{path}: is not the file that was surveyed; it was replaced meanwhile. Start again")


def survey_of(
    release: Release, open_file: OpenFile, selection: Selection, path: Path, beat: Callable[[], None] = no_beat
) -> Survey:
    """Read the narrow columns of every file of the release, or what an earlier call found and kept at ``path``.

    ``beat`` is called at least every second; when it raises, no further file is opened.
    """
    key = content_hash(
        SURVEY_VERSION, release.release_id, selection.key, canonical_json([KINDS, STAGES, _GROUPS, len(release.files)])
    )
    shape = (len(release.files), 2, *_GROUPS)
    counts = _kept_counts(path, key, shape)
    if counts is not None:
        return Survey(counts)

    def counts_of(file: ReleaseFile) -> NDArray[np.int64]:
        with opened(file, open_file) as parquet:
            return documents_in(parquet, file.path, selection).counts()

    with ThreadPoolExecutor(_OPEN_FILES) as pool:
        waiting = [pool.submit(counts_of, file) for file in release.files]
        try:
            counts = np.array([awaited(future, beat) for future in waiting], dtype=np.int64).reshape(shape)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    content = io.BytesIO()
    np.savez_compressed(content, counts=counts, key=np.array(key))
    write_atomically(path, content.getvalue())
    return Survey(counts)


def _kept_counts(path: Path, key: str, shape: tuple[int, ...]) -> NDArray[np.int64] | None:
    """The counts of a survey kept under ``key``; None where there is none, or none that can be read."""
    try:
        with np.load(path, allow_pickle=False) as found:
            if str(found["key"]) != key:
                return None
            counts: NDArray[np.int64] = found["counts"]
    except Exception:  # noqa: BLE001  whatever is wrong with the archive, it can be made again
        return None
    return counts if counts.shape == shape and counts.dtype == np.int64 else None


def _index_in(values: Any, names: Sequence[str]) -> NDArray[np.int64]:
    """Places in ``names``, -1 for what is not there."""
    found: Any = pc.fill_null(pc.index_in(values, value_set=pa.array(names, pa.string())), -1)
    places: NDArray[np.int64] = found.to_numpy().astype(np.int64)
    return places


def _stage_bits(stages: Any) -> NDArray[np.int64]:
    bits = np.zeros(len(stages), dtype=np.int64)
    parents = pc.list_parent_indices(stages).to_numpy()
    found = _index_in(pc.list_flatten(stages), STAGES)
    for number in range(len(STAGES)):
        bits[parents[found == number]] |= 1 << number
    return bits
