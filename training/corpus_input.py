"""Documents of a release for one stage: which there are, in which order they are taken, and their texts.

Only narrow columns are read for all documents; texts are read for those that the stage takes, row group by row group.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from forge.schema import CHAT_FORM
from training.permutation import permutation_key, permuted

OpenFile = Callable[[str], Any]
"""Opens a release's file by its path, for reading, seekable."""

_CHUNK_BYTES = 4 * 1024 * 1024
_NARROW = ("doc_id", "kind", "form", "domain", "stages", "split", "tokens")


class ReleaseFile(Protocol):
    @property
    def path(self) -> str: ...
    @property
    def sha256(self) -> str: ...


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


@dataclass(frozen=True, slots=True)
class Stratum:
    """The documents of one domain (or of one kind, ``domain/kind``) in release order.

    ``file`` and ``row`` say where each lies; ``tokens`` is the release's own count by its reference tokenizer.
    """

    name: str
    doc_ids: tuple[str, ...]
    file: NDArray[np.int32]
    row: NDArray[np.int64]
    tokens: NDArray[np.int64]

    @property
    def domain(self) -> str:
        return self.name.partition("/")[0]


@dataclass(frozen=True, slots=True)
class CorpusText:
    doc_id: str
    kind: str
    text: str


class NotTheRelease(Exception):
    """A file differs from what the release pins."""


def verify(release: Release, open_file: OpenFile) -> None:
    """Read every file once and compare its sha256. Raises :class:`NotTheRelease`."""
    for file in release.files:
        digest = hashlib.sha256()
        with open_file(file.path) as source:
            while chunk := source.read(_CHUNK_BYTES):
                digest.update(chunk)
        if digest.hexdigest() != file.sha256:
            raise NotTheRelease(f"release {release.release_id}: {file.path} is not the file that was published")


def strata_of(
    release: Release, open_file: OpenFile, stage: str, *, split: str = "train", by_kind: bool = False
) -> dict[str, Stratum]:
    """The documents that a stage may take, by stratum, sorted by name. ``stage`` "" takes every stage."""
    columns: list[pa.Table] = []
    for number, file in enumerate(release.files):
        with open_file(file.path) as source:
            table = pq.ParquetFile(source).read(columns=list(_NARROW), use_threads=False)
        table = table.append_column("file", pa.array(np.full(table.num_rows, number, dtype=np.int32)))
        table = table.append_column("row", pa.array(np.arange(table.num_rows, dtype=np.int64)))
        columns.append(table.filter(pa.array(_eligible(table, stage, split))).drop_columns(["stages", "split"]))
    if not columns:
        return {}
    table = pa.concat_tables(columns)
    names = [str(domain) for domain in table["domain"].to_pylist()]
    if by_kind:
        names = [f"{domain}/{kind}" for domain, kind in zip(names, table["kind"].to_pylist(), strict=True)]
    found = {}
    for name in sorted(set(names)):
        part = table.filter(pa.array([other == name for other in names]))
        found[name] = Stratum(
            name,
            tuple(str(doc_id) for doc_id in part["doc_id"].to_pylist()),
            part["file"].to_numpy(),
            part["row"].to_numpy(),
            np.array([count or 0 for count in part["tokens"].to_pylist()], dtype=np.int64),
        )
    return found


def _eligible(table: pa.Table, stage: str, split: str) -> NDArray[np.bool_]:
    columns = (table[name].to_pylist() for name in ("form", "split", "stages"))
    return np.array(
        [
            (form == CHAT_FORM) == (stage == "III") and found == split and (not stage or stage in (stages or ()))
            for form, found, stages in zip(*columns, strict=True)
        ],
        dtype=np.bool_,
    )


def order_of(stratum: Stratum, seed: int) -> Iterator[int]:
    """Indices of the stratum's documents in the order in which they are taken: a permutation chosen by the seed."""
    key = permutation_key("documents", seed, stratum.name)
    size = len(stratum.doc_ids)
    return (permuted(index, size, key) for index in range(size))


def texts_of(release: Release, open_file: OpenFile, stratum: Stratum, chosen: Sequence[int]) -> list[CorpusText]:
    """The texts of the chosen documents, in the order given. Reads only the row groups in which they lie."""
    found: dict[int, CorpusText] = {}
    by_file: dict[int, list[int]] = {}
    for index in chosen:
        by_file.setdefault(int(stratum.file[index]), []).append(index)
    for number, indices in sorted(by_file.items()):
        with open_file(release.files[number].path) as source:
            parquet = pq.ParquetFile(source)
            first_row = 0
            for group in range(parquet.num_row_groups):
                rows = parquet.metadata.row_group(group).num_rows
                here = [index for index in indices if first_row <= stratum.row[index] < first_row + rows]
                if here:
                    content = parquet.read_row_group(group, columns=["doc_id", "kind", "text"], use_threads=False)
                    taken = content.take([int(stratum.row[index]) - first_row for index in here]).to_pylist()
                    for index, row in zip(here, taken, strict=True):
                        found[index] = CorpusText(row["doc_id"], row["kind"], row["text"])
                first_row += rows
    return [found[index] for index in chosen]
