"""Delta tables on any object store, with pinned reads and fenced commits (DESIGN D3).

A *slice* is what one job replaces as a whole: one night of one table; for the side tables that several steps write
(:data:`forge.schema.SIDE_TABLES`) one night of one step. A commit replaces exactly one slice, in one Delta transaction:

1. :meth:`Lake.fence` reads the slice's transaction version when the job starts;
2. workers write Parquet files with :class:`DataFileWriter`; nobody sees them yet;
3. :meth:`Lake.commit` reads the transaction version again. When it moved, somebody else committed meanwhile: with the
   same fingerprint the work is done (``Commit.applied`` is False), with another one the commit is refused.

delta-rs itself refuses only *concurrent* commits of one application id, so check 3 is ours, and the handle that checks
is the handle that commits. Readers follow the log only: no listing, no half-written data.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from forge.config import Settings
from forge.schema import SIDE_TABLES, TABLES

ROW_GROUP_ROWS = 4096
"""Rows of every row group but a file's last: exact, so that equal rows in equal order give equal bytes."""
_COMMIT_TRIES = 8


class CommitRefused(Exception):
    """Another writer replaced this slice, with other content, after this job had started."""


class UnknownTable(Exception):
    """The lake has no such table, or not yet."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """One Parquet file of a table version. ``path`` is relative to the table's folder."""

    path: str
    size_bytes: int
    rows: int
    partition_values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Slice:
    """One night of a table, or one night and step of a side table."""

    table: str
    partition_key: str
    step: str | None = None

    def __post_init__(self) -> None:
        if self.table not in TABLES:
            raise UnknownTable(f"{self.table!r} is no table of the lake; tables: {', '.join(TABLES)}")
        if (self.step is not None) != (self.table in SIDE_TABLES):
            raise ValueError(
                f"table {self.table!r}: a step is given for {', '.join(SIDE_TABLES)} and for no other table"
            )
        for value in (self.partition_key, self.step or "-"):
            if not value or not all(character.isalnum() or character in "-_.:" for character in value):
                raise ValueError(f"{value!r}: a partition key or step holds letters, digits, '-', '_', '.', ':' only")

    @property
    def values(self) -> dict[str, str]:
        values = {"partition_key": self.partition_key}
        return values if self.step is None else {"step": self.step, **values}

    @property
    def application_id(self) -> str:
        return "/".join([self.table, *self.values.values()])

    @property
    def folder(self) -> str:
        return "/".join(f"{name}={value}" for name, value in self.values.items())


@dataclass(frozen=True, slots=True)
class Fence:
    slice: Slice
    transaction_version: int


@dataclass(frozen=True, slots=True)
class Commit:
    """``applied`` is False when an equal commit (same fingerprint) was there already."""

    table: str
    version: int
    applied: bool
    rows: int


def partition_columns(table: str) -> list[str]:
    return ["step", "partition_key"] if table in SIDE_TABLES else ["partition_key"]


@dataclass(frozen=True)
class Lake:
    """A root folder or ``s3://bucket/prefix`` with one Delta table per folder. Cheap to make; holds no connection."""

    root: str
    s3_endpoint: str | None = None
    s3_region: str = "us-east-1"
    target_file_bytes: int = 128 * 1024 * 1024
    retention_hours: int = 168

    @classmethod
    def of(cls, settings: Settings) -> Lake:
        return cls(
            root=settings.lake_root,
            s3_endpoint=settings.lake.s3_endpoint,
            s3_region=settings.lake.s3_region,
            target_file_bytes=settings.lake.target_file_bytes,
            retention_hours=settings.lake.retention_hours,
        )

    # --- places -----------------------------------------------------------------------------------------------------

    @property
    def is_local(self) -> bool:
        return "://" not in self.root

    def table_uri(self, table: str) -> str:
        return f"{self.root.rstrip('/')}/{table}"

    def storage_options(self) -> dict[str, str]:
        """Options for delta-rs; the credentials come from the environment (AWS_*)."""
        if self.is_local:
            return {}
        options = {"AWS_REGION": self.s3_region, "aws_conditional_put": "etag"}
        if self.s3_endpoint:
            options["AWS_ENDPOINT_URL"] = self.s3_endpoint
            if self.s3_endpoint.startswith("http://"):
                options["AWS_ALLOW_HTTP"] = "true"
        return options

    def filesystem(self, table: str) -> pafs.FileSystem:
        """A file system whose root is the table's folder."""
        if self.is_local:
            return pafs.SubTreeFileSystem(self.table_uri(table), pafs.LocalFileSystem())
        scheme, _, host = (self.s3_endpoint or "").partition("://")
        s3 = pafs.S3FileSystem(
            endpoint_override=host or None,
            scheme="http" if scheme == "http" else "https",
            region=self.s3_region,
            allow_bucket_creation=False,
        )
        return pafs.SubTreeFileSystem(self.table_uri(table).removeprefix("s3://"), s3)

    # --- reading ----------------------------------------------------------------------------------------------------

    def _open(self, table: str, version: int | None = None) -> Any:
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        if table not in TABLES:
            raise UnknownTable(f"{table!r} is no table of the lake; tables: {', '.join(TABLES)}")
        try:
            return DeltaTable(self.table_uri(table), version=version, storage_options=self.storage_options())
        except TableNotFoundError:
            raise UnknownTable(f"table {table!r} does not exist yet in {self.root}") from None

    def version(self, table: str) -> int | None:
        """The newest version of a table; None when it does not exist yet."""
        try:
            return int(self._open(table).version())
        except UnknownTable:
            return None

    def versions(self) -> dict[str, int]:
        """The newest version of every table that exists."""
        found = {table: self.version(table) for table in TABLES}
        return {table: version for table, version in found.items() if version is not None}

    def files(
        self,
        table: str,
        *,
        version: int | None = None,
        where: Callable[[Mapping[str, str]], bool] | None = None,
    ) -> list[DataFile]:
        """The files of a table version, ordered by path. ``where`` chooses by partition values. A table that does not
        exist yet has no files, unless a version is named."""
        try:
            opened = self._open(table, version)
        except UnknownTable:
            if version is not None or table not in TABLES:
                raise
            return []
        actions = pa.table(opened.get_add_actions(flatten=True))
        names = partition_columns(table)
        found = []
        for row in actions.to_pylist():
            values = {name: str(row[f"partition.{name}"]) for name in names}
            if where is None or where(values):
                found.append(DataFile(unquote(row["path"]), int(row["size_bytes"]), int(row["num_records"]), values))
        return sorted(found, key=lambda file: file.path)

    def read(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        *,
        version: int | None = None,
        partition_key: str | None = None,
        up_to: str | None = None,
        step: str | None = None,
    ) -> pa.Table:
        """Rows of a table version (newest by default) as one Arrow table, in file order.

        ``partition_key`` chooses one night, ``up_to`` all nights up to and including one, ``step`` one step of a side
        table. A table that does not exist yet is empty.
        """
        chosen = self.files(table, version=version, where=partition_filter(partition_key, up_to, step))
        schema = TABLES[table] if columns is None else pa.schema([TABLES[table].field(name) for name in columns])
        tables = list(self.read_files(table, chosen, schema.names))
        return pa.concat_tables(tables) if tables else schema.empty_table()

    def read_files(self, table: str, files: Iterable[DataFile], columns: Sequence[str]) -> Iterator[pa.Table]:
        """One Arrow table per file, with the partition columns filled in."""
        filesystem = self.filesystem(table)
        for file in files:
            stored = [name for name in columns if name not in file.partition_values]
            with filesystem.open_input_file(file.path) as source:
                parquet = pq.ParquetFile(source, pre_buffer=True)
                content = parquet.read(columns=stored, use_threads=False)
            yield with_partition_columns(table, content, file.partition_values, columns)

    def read_file(self, table: str, path: str) -> bytes:
        """The bytes of one data file; ``path`` as in :class:`DataFile`."""
        with self.filesystem(table).open_input_file(path) as source:
            return bytes(source.read())

    # --- writing ----------------------------------------------------------------------------------------------------

    def ensure(self, table: str) -> Any:
        """Open the table, made when it does not exist yet; any number of processes may do so at the same time."""
        from deltalake import DeltaTable
        from deltalake.exceptions import CommitFailedError, DeltaError

        try:
            return self._open(table)
        except UnknownTable:
            if table not in TABLES:
                raise
        if self.is_local:
            Path(self.table_uri(table)).mkdir(parents=True, exist_ok=True)
        for attempt in range(_COMMIT_TRIES):
            try:
                DeltaTable.create(
                    self.table_uri(table),
                    schema=TABLES[table],
                    mode="ignore",
                    partition_by=partition_columns(table),
                    storage_options=self.storage_options(),
                    configuration={"delta.logRetentionDuration": "interval 3650 days"},
                )
                return self._open(table)
            except (CommitFailedError, DeltaError, UnknownTable):
                if attempt == _COMMIT_TRIES - 1:  # another process is creating it at this moment
                    raise
                time.sleep(0.05 * 2**attempt)
        raise AssertionError("unreachable")

    def fence(self, table: str, partition_key: str, step: str | None = None) -> Fence:
        """Read the slice's transaction version; call it when the job starts, before any input is read."""
        chosen = Slice(table, partition_key, step)
        try:
            opened = self._open(table)
        except UnknownTable:
            return Fence(chosen, 0)
        return Fence(chosen, opened.transaction_version(chosen.application_id) or 0)

    def fingerprints(self, table: str, *, up_to: str | None = None, before: str | None = None) -> dict[str, str]:
        """Fingerprint of the newest commit of every slice, by application id, for the nights chosen."""
        try:
            opened = self._open(table)
        except UnknownTable:
            return {}
        found: dict[str, str] = {}
        for entry in opened.history():  # newest first
            application_id, fingerprint = entry.get("forge.application"), entry.get("forge.fingerprint")
            if application_id is None or application_id in found:
                continue
            night = str(application_id).rsplit("/", 1)[-1]
            if (up_to is None or night <= up_to) and (before is None or night < before):
                found[application_id] = str(fingerprint)
        return found

    def is_applied(self, table: str, partition_key: str, fingerprint: str, step: str | None = None) -> bool:
        """Whether the newest commit of the slice carries this fingerprint."""
        return self.fingerprints(table).get(Slice(table, partition_key, step).application_id) == fingerprint

    def commit(self, fence: Fence, files: Sequence[DataFile], fingerprint: str) -> Commit:
        """Replace the slice by ``files`` in one transaction. Raises :class:`CommitRefused`."""
        from deltalake import CommitProperties, Transaction
        from deltalake.exceptions import CommitFailedError
        from deltalake.transaction import AddAction

        chosen, rows = fence.slice, sum(file.rows for file in files)
        now = int(time.time() * 1000)
        actions = [
            AddAction(
                file.path,
                file.size_bytes,
                dict(chosen.values),
                now,
                True,
                orjson.dumps({"numRecords": file.rows}).decode(),
            )
            for file in files
        ]
        for attempt in range(_COMMIT_TRIES):
            opened = self.ensure(chosen.table)
            found = opened.transaction_version(chosen.application_id) or 0
            if found != fence.transaction_version:
                if self.is_applied(chosen.table, chosen.partition_key, fingerprint, chosen.step):
                    return Commit(chosen.table, int(opened.version()), applied=False, rows=rows)
                raise CommitRefused(
                    f"{chosen.application_id}: transaction {found} was committed by another run since this one started "
                    f"(at {fence.transaction_version}), with other content"
                )
            try:
                opened.create_write_transaction(
                    actions,
                    "overwrite",
                    TABLES[chosen.table],
                    partition_by=partition_columns(chosen.table),
                    partition_filters=[(name, "=", value) for name, value in chosen.values.items()],
                    commit_properties=CommitProperties(
                        custom_metadata={
                            "forge.application": chosen.application_id,
                            "forge.fingerprint": fingerprint,
                            "forge.rows": str(rows),
                        },
                        app_transactions=[Transaction(chosen.application_id, found + 1)],
                        max_commit_retries=0,
                    ),
                )
            except CommitFailedError:
                # Somebody committed between our look and our write: to this slice (the next look tells) or to another
                # one of the same table, in which case trying again is right.
                if attempt == _COMMIT_TRIES - 1:
                    raise
                time.sleep(0.02 * 2**attempt)
                continue
            return Commit(chosen.table, int(self._open(chosen.table).version()), applied=True, rows=rows)
        raise AssertionError("unreachable")

    def write(
        self,
        table: str,
        data: pa.Table | Iterable[pa.RecordBatch],
        partition_key: str,
        fingerprint: str,
        *,
        step: str | None = None,
        fence: Fence | None = None,
    ) -> Commit:
        """Replace a slice from this process. An equal fingerprint that was committed already writes nothing."""
        fence = fence or self.fence(table, partition_key, step)
        if fence.transaction_version and self.is_applied(table, partition_key, fingerprint, step):
            return Commit(table, self.version(table) or 0, applied=False, rows=0)
        self.ensure(table)
        writer = DataFileWriter(self, fence.slice, name="part-00000")
        try:
            for batch in data.to_batches(max_chunksize=1000) if isinstance(data, pa.Table) else data:
                writer.write(batch)
            files = writer.close()
            commit = self.commit(fence, files, fingerprint)
        except BaseException:
            writer.discard()
            raise
        if not commit.applied:
            writer.discard()
        return commit

    def discard(self, table: str, files: Iterable[DataFile]) -> None:
        """Remove files that were written and not committed. What cannot be removed is left for vacuum."""
        filesystem = self.filesystem(table)
        for file in files:
            try:
                filesystem.delete_file(file.path)
            except OSError:
                continue

    def vacuum(self, table: str, keep_versions: Sequence[int], *, dry_run: bool = False) -> list[str]:
        """Remove files that no kept version names and that are older than the retention, orphans of killed jobs too."""
        opened = self._open(table)
        return list(
            opened.vacuum(
                retention_hours=self.retention_hours,
                dry_run=dry_run,
                enforce_retention_duration=False,
                full=True,
                keep_versions=sorted(set(keep_versions)),
            )
        )


def partition_filter(
    partition_key: str | None = None, up_to: str | None = None, step: str | None = None
) -> Callable[[Mapping[str, str]], bool]:
    """A predicate over partition values: one night, or all nights up to one, and one step of a side table."""

    def chosen(values: Mapping[str, str]) -> bool:
        night = values["partition_key"]
        return (
            (partition_key is None or night == partition_key)
            and (up_to is None or night <= up_to)
            and (step is None or values.get("step") == step)
        )

    return chosen


def with_partition_columns(
    table: str, content: pa.Table, partition_values: Mapping[str, str], columns: Sequence[str]
) -> pa.Table:
    """Fill the partition columns in, order the columns, and cast to the table's schema.

    A column that the table got after the file was written is null in its rows. The first commit after it writes the
    table's new schema into the log (delta-rs does so when it overwrites a slice), so other readers see the same.
    """
    arrays: list[Any] = []
    for name in columns:
        if name in partition_values:
            arrays.append(
                pa.chunked_array([pa.repeat(pa.scalar(partition_values[name], pa.string()), content.num_rows)])
            )
        elif name not in content.column_names:
            arrays.append(pa.chunked_array([pa.nulls(content.num_rows, TABLES[table].field(name).type)]))
        else:
            column = content.column(name)
            wanted = TABLES[table].field(name).type
            arrays.append(column if column.type == wanted else pc.cast(column, wanted))
    return pa.Table.from_arrays(arrays, schema=pa.schema([TABLES[table].field(name) for name in columns]))


@dataclass
class DataFileWriter:
    """Writes record batches of one slice into zstd Parquet files of about ``lake.target_file_bytes``.

    File names carry a random part: two attempts at one task never write to the same object, so a retry can neither
    corrupt nor delete what another attempt committed.
    """

    lake: Lake
    slice: Slice
    name: str
    files: list[DataFile] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._columns = [f for f in TABLES[self.slice.table] if f.name not in self.slice.values]
        self._schema = pa.schema(self._columns)
        self._filesystem = self.lake.filesystem(self.slice.table)
        self._parquet: pq.ParquetWriter | None = None
        self._sink: pa.NativeFile | None = None
        self._path = ""
        self._rows = 0
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Add a batch; its columns are matched by name and cast to the table's schema."""
        arrays = [
            column if (column := batch.column(f.name)).type == f.type else column.cast(f.type) for f in self._columns
        ]
        rest = pa.RecordBatch.from_arrays(arrays, schema=self._schema)
        while rest.num_rows:
            head = rest.slice(0, ROW_GROUP_ROWS - self._pending_rows)
            rest = rest.slice(head.num_rows)
            self._pending.append(head)
            self._pending_rows += head.num_rows
            if self._pending_rows == ROW_GROUP_ROWS:
                self._flush()

    def _flush(self) -> None:
        if not self._pending:
            return
        group = pa.Table.from_batches(self._pending, schema=self._schema).combine_chunks()
        if self._parquet is None:
            self._path = f"{self.slice.folder}/{self.name}-{len(self.files):03d}-{uuid.uuid4().hex[:12]}.parquet"
            if self.lake.is_local:
                self._filesystem.create_dir(str(Path(self._path).parent), recursive=True)
            self._sink = self._filesystem.open_output_stream(self._path, compression=None)
            self._parquet = pq.ParquetWriter(self._sink, self._schema, compression="zstd")
        self._parquet.write_table(group, row_group_size=ROW_GROUP_ROWS)
        self._rows += group.num_rows
        self._pending, self._pending_rows = [], 0
        assert self._sink is not None
        if self._sink.tell() >= self.lake.target_file_bytes:
            self.roll()

    def roll(self) -> None:
        """Finish the current file, if any; the next batch starts another one."""
        self._flush()
        if self._parquet is None:
            return
        self._parquet.close()
        assert self._sink is not None
        size_bytes = self._sink.tell()
        self._sink.close()
        self.files.append(DataFile(self._path, size_bytes, self._rows, self.slice.values))
        self._parquet, self._sink, self._rows = None, None, 0

    def close(self) -> list[DataFile]:
        """Finish and return the files that were written, in order."""
        self.roll()
        return self.files

    def discard(self) -> None:
        """Close what is open and remove everything that this writer wrote."""
        self._pending = []
        if self._parquet is not None:
            with contextlib.suppress(OSError, pa.ArrowException):
                self.roll()
        self.lake.discard(self.slice.table, self.files)
        self.files = []
