"""The ``lake`` format for Spark: read a pinned version of a table, replace one slice of it. No JVM jar is needed.

Read: ``spark.read.format("lake").option("root", ...).option("table", "documents").load()`` with the options
``version``, ``columns`` (comma-separated), ``partition_key``, ``up_to``, ``step``.

Write: ``df.write.format("lake").mode("overwrite")`` with ``root``, ``table``, ``partition_key``, ``fingerprint``,
``fence`` (the transaction version read when the job started) and, for side tables, ``step``. ``shards`` makes one file
per doc_id prefix range; the rows must then come sorted by doc_id within each Spark partition, and all rows of a shard
in one partition. Executors write Parquet files; only files that the driver commits become part of the table, so a
retried or speculative task adds no rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark import TaskContext
from pyspark.sql.datasource import (
    DataSource,
    DataSourceArrowWriter,
    DataSourceReader,
    InputPartition,
    WriterCommitMessage,
)
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructType

from forge.lake import DataFile, DataFileWriter, Fence, Lake, Slice, partition_filter, with_partition_columns
from forge.schema import TABLES

_BATCH_ROWS = 1000


def lake_options(lake: Lake) -> dict[str, str]:
    """The options that name a lake. Credentials are not among them: workers take them from their environment."""
    options = {"root": lake.root, "s3_region": lake.s3_region, "target_file_bytes": str(lake.target_file_bytes)}
    return options if lake.s3_endpoint is None else {**options, "s3_endpoint": lake.s3_endpoint}


def shard_of(doc_id: str, shards: int) -> int:
    """The shard of a document: the prefix of its id, scaled to ``shards`` equal ranges, in doc_id order."""
    return int(doc_id[:8], 16) * shards >> 32


def _lake_of(options: Mapping[str, str]) -> Lake:
    return Lake(
        root=options["root"],
        s3_endpoint=options.get("s3_endpoint"),
        s3_region=options.get("s3_region", "us-east-1"),
        target_file_bytes=int(options.get("target_file_bytes", 128 * 1024 * 1024)),
    )


class LakeDataSource(DataSource):
    """``format("lake")``."""

    @classmethod
    def name(cls) -> str:
        return "lake"

    def _columns(self) -> list[str]:
        chosen = self.options.get("columns")
        return chosen.split(",") if chosen else TABLES[self.options["table"]].names

    def schema(self) -> StructType:
        table = TABLES[self.options["table"]]
        return from_arrow_schema(pa.schema([table.field(name) for name in self._columns()]))

    def reader(self, schema: StructType) -> DataSourceReader:  # noqa: ARG002 - Spark's signature
        return _Reader(dict(self.options), self._columns())

    def writer(self, schema: StructType, overwrite: bool) -> DataSourceArrowWriter:
        missing = sorted(set(TABLES[self.options["table"]].names) - {"step", "partition_key"} - set(schema.names))
        if missing:
            raise ValueError(f"table {self.options['table']!r}: the rows lack column(s) {', '.join(missing)}")
        if not overwrite:
            raise ValueError("the lake replaces a slice as a whole: use .mode('overwrite')")
        return _Writer(dict(self.options))


@dataclass(frozen=True)
class _RowGroups(InputPartition):
    file: DataFile
    first: int
    stop: int


class _Reader(DataSourceReader):
    def __init__(self, options: Mapping[str, str], columns: Sequence[str]) -> None:
        self.options, self.columns = options, columns

    def partitions(self) -> Sequence[InputPartition]:
        lake, table = _lake_of(self.options), self.options["table"]
        version = self.options.get("version")
        where = partition_filter(self.options.get("partition_key"), self.options.get("up_to"), self.options.get("step"))
        filesystem = lake.filesystem(table)
        found: list[InputPartition] = []
        for file in lake.files(table, version=None if version is None else int(version), where=where):
            with filesystem.open_input_file(file.path) as source:
                groups = pq.ParquetFile(source).num_row_groups
            found.extend(_RowGroups(file, first, first + 1) for first in range(groups))
        return found or [InputPartition(None)]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        if not isinstance(partition, _RowGroups):
            return
        table = self.options["table"]
        stored = [name for name in self.columns if name not in partition.file.partition_values]
        with _lake_of(self.options).filesystem(table).open_input_file(partition.file.path) as source:
            parquet = pq.ParquetFile(source, pre_buffer=True)
            groups = list(range(partition.first, partition.stop))
            for batch in parquet.iter_batches(_BATCH_ROWS, row_groups=groups, columns=stored, use_threads=False):
                content = pa.Table.from_batches([batch])
                yield from (
                    with_partition_columns(table, content, partition.file.partition_values, self.columns)
                    .combine_chunks()
                    .to_batches()
                )


@dataclass(frozen=True)
class _Written(WriterCommitMessage):
    files: tuple[DataFile, ...]


class _Writer(DataSourceArrowWriter):
    def __init__(self, options: Mapping[str, str]) -> None:
        self.options = options
        self.slice = Slice(options["table"], options["partition_key"], options.get("step"))

    def write(self, iterator: Iterator[pa.RecordBatch]) -> WriterCommitMessage:
        context = TaskContext.get()
        task = context.partitionId() if context is not None else 0
        lake = _lake_of(self.options)
        shards = int(self.options.get("shards", "0"))
        files: list[DataFile] = []
        writer: DataFileWriter | None = None
        shard = -1
        try:
            for batch in iterator:
                for part_shard, part in _by_shard(batch, shards) if shards else [(task, batch)]:
                    if writer is None or part_shard != shard:
                        if writer is not None:
                            files.extend(writer.close())
                        name = f"{'shard' if shards else 'part'}-{part_shard:05d}"
                        writer, shard = DataFileWriter(lake, self.slice, name), part_shard
                    writer.write(part)
            if writer is not None:
                files.extend(writer.close())
        except BaseException:
            lake.discard(self.slice.table, files)
            if writer is not None:
                writer.discard()
            raise
        return _Written(tuple(files))

    def commit(self, messages: list[WriterCommitMessage | None]) -> None:
        lake, files = _lake_of(self.options), _files_of(messages)
        fence = Fence(self.slice, int(self.options["fence"]))
        if not lake.commit(fence, files, self.options["fingerprint"]).applied:
            lake.discard(self.slice.table, files)

    def abort(self, messages: list[WriterCommitMessage | None]) -> None:
        _lake_of(self.options).discard(self.slice.table, _files_of(messages))


def _files_of(messages: Sequence[WriterCommitMessage | None]) -> list[DataFile]:
    return [file for message in messages if isinstance(message, _Written) for file in message.files]


def _by_shard(batch: pa.RecordBatch, shards: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Cut a batch that is sorted by doc_id into runs of one shard."""
    owners = [shard_of(str(doc_id), shards) for doc_id in batch.column("doc_id").to_pylist()]
    start = 0
    for position in range(1, len(owners) + 1):
        if position == len(owners) or owners[position] != owners[start]:
            yield owners[start], batch.slice(start, position - start)
            start = position
