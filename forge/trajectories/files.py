"""Trajectories out of a user's own files: JSON Lines, JSON, Parquet, notebooks and text logs, plain or compressed, in
any of the formats of :mod:`forge.trajectories.formats.registry` or through a mapping of fields (an item is one file).

The format of each record is told by its keys unless the source names one. Records that are none give decisions.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from forge.config import Settings, SourceSettings, source_options
from forge.rows import DEFAULT_ROW_BYTES, Row, RowFormat, values
from forge.schema import Decision, Item, Outcome, Trajectory, content_hash
from forge.stored_files import Problem, Size, StoredFile, StoredFilesOptions, list_stored_files
from forge.text.licenses import spdx_of
from forge.trajectories.checks import check
from forge.trajectories.evaluation_sets import denied_by_name, denied_episode, evaluation_sets_version
from forge.trajectories.formats import registry
from forge.trajectories.formats.fields import Found, UnusableRecordError
from forge.trajectories.mapping import RecordMapping, mapped

Container = Literal["jsonl", "json", "parquet", "text"]

EVALUATION_SET = "evaluation_set"
"""Why an episode that measures models is refused, in the table `decisions`."""
HEAD_BYTES = 64 * 1024
"""Of a text: what tells its format."""
MAX_RECORDS_OF_ONE_EPISODE = 10_000
_STEP = "parse_trajectories"
_WIDE_MARK = "\N{REPLACEMENT CHARACTER}" * 2
"""What the first two bytes of UTF-16 become."""
_CONTAINER_OF_SUFFIX: Mapping[str, Container] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".traj": "json",
    ".ipynb": "json",
    ".parquet": "parquet",
    ".txt": "text",
    ".log": "text",
    ".md": "text",
}


class TrajectoryFilesOptions(StoredFilesOptions):
    """Options of a source of type ``trajectory_files``. What a record states goes before what is stated here."""

    container: Literal["auto", "jsonl", "json", "parquet", "text"] = Field("auto", description="auto: by the suffix")
    format: str = Field("auto", description="of the records; auto: told by their keys")
    mapping: RecordMapping | None = Field(None, description="JSONPath to each field, for layouts that no format knows")
    environment: str = Field("", description="of episodes that name none")
    generator: str = Field("", description="who acted, in episodes that do not say")
    outcome: Outcome | None = Field(None, description="of episodes that state none, as in sets of successes only")
    max_row_bytes: Size = Field(DEFAULT_ROW_BYTES, description="of one record")

    @field_validator("format")
    @classmethod
    def _known(cls, name: str) -> str:
        known = ("auto", *registry.NAMES)
        if name not in known:
            raise ValueError(f"no format {name!r}; allowed: {', '.join(known)}")
        return name

    @model_validator(mode="after")
    def _one_way(self) -> TrajectoryFilesOptions:
        if self.mapping is not None and self.format != "auto":
            raise ValueError("format and mapping: name one of the two")
        if self.container == "text" and self.wants_records:
            raise ValueError("container: a text has no records, which format or mapping would read")
        if self.container not in {"auto", "text"} and self.format in registry.TEXT_FORMATS:
            raise ValueError(f"container: format {self.format!r} reads texts")
        return self

    @property
    def wants_records(self) -> bool:
        """Whether only records can be read in the way that is stated."""
        return self.mapping is not None or self.format not in {"auto", *registry.TEXT_FORMATS}


def list_items(name: str, source: SourceSettings, settings: Settings) -> Iterator[Item]:
    """The files that the source's globs match."""
    version = evaluation_sets_version()
    for item in list_stored_files(name, source, settings, source_options(TrajectoryFilesOptions, name, source)):
        yield replace(item, content_hash=content_hash(item.content_hash, version))


def read_item(item: Item, source: SourceSettings, settings: Settings) -> Iterator[Trajectory | Decision]:
    """Every episode of a file, and a decision for every record that is none. One record is in memory at a time."""
    file = opened(item, source, settings)
    problem = file.problem()
    denied = denied_by_name(item, source)
    if problem is None and denied is not None:
        problem = Problem("", EVALUATION_SET, denied)
    if problem is not None:
        yield problem.decision(item, _STEP)
        return
    episodes_at: Counter[str] = Counter()
    for place, found in file.episodes():
        if isinstance(found, Problem):
            part = "#".join(part for part in (place, found.part) if part)
            yield _storable(replace(found, part=part)).decision(item, _STEP)
            continue
        episodes_at[place] += 1
        name = found.episode or _numbered(place, episodes_at[place])
        trajectory = _placed(found, name, item, file.options, source)
        problem = _judged(trajectory)
        yield trajectory if problem is None else _storable(replace(problem, part=place or name)).decision(item, _STEP)


def _numbered(place: str, number: int) -> str:
    """The name of an episode without an id: its record's place; of a record that holds several, also its number."""
    return place if place and number == 1 else f"{place}.{number}" if place else str(number)


def _storable(problem: Problem) -> Problem:
    """A problem may quote what no table can hold: half a surrogate pair, which is escaped."""
    part, detail = (text.encode("utf-8", "backslashreplace").decode() for text in (problem.part, problem.detail))
    return replace(problem, part=part, detail=detail)


def _judged(trajectory: Trajectory) -> Problem | None:
    """Why an episode cannot be used, if it cannot."""
    try:
        denied = denied_episode(trajectory)
        if denied is not None:
            return Problem("", EVALUATION_SET, denied)
        decision = check(trajectory)
    except Exception as error:  # noqa: BLE001  one episode must not cost the file its others
        return Problem("", "reader_failed", f"{type(error).__name__}: {error}"[:300])
    return None if decision is None else Problem("", decision.reason, decision.detail)


def opened(item: Item, source: SourceSettings, settings: Settings) -> TrajectoryFile:
    """The item's file."""
    return TrajectoryFile(item, source_options(TrajectoryFilesOptions, item.source, source), settings)


def _placed(
    found: Trajectory, episode: str, item: Item, options: TrajectoryFilesOptions, source: SourceSettings
) -> Trajectory:
    outcome = options.outcome if found.outcome == "unknown" and options.outcome is not None else found.outcome
    return replace(
        found,
        source=item.source,
        item_id=item.item_id,
        license=source.license if source.license is not None else spdx_of(found.license),
        environment=found.environment or options.environment,
        generator=found.generator or options.generator,
        outcome=outcome,
        episode=episode,
    )


@dataclass(frozen=True)
class TrajectoryFile(StoredFile):
    """One file of trajectories, to be read as what it is."""

    options: TrajectoryFilesOptions

    @property
    def container(self) -> Container:
        if self.options.container != "auto":
            return self.options.container
        if self.options.format in registry.TEXT_FORMATS:
            return "text"
        found = _CONTAINER_OF_SUFFIX.get(self.path.suffix.lower(), "jsonl")
        return "jsonl" if found == "text" and self.options.wants_records else found

    def episodes(self) -> Iterator[tuple[str, Found]]:
        """(place in the file, episode or problem)."""
        container = self.container
        if container == "text":
            yield from (("", found) for found in self._of_text())
        else:
            yield from self._of_values(container)

    def _of_values(self, container: RowFormat) -> Iterator[tuple[str, Found]]:
        read = self._record_reader()
        found = values(self, container, self.options.max_row_bytes)
        first = next(found, None)
        if first is None:
            yield "", Problem("", "empty_file")
            return
        whole = self._whole_file_format(first)
        if whole is not None:
            yield from _as_one(whole, chain((first,), found))
            return
        for value in chain((first,), found):
            yield from _of_value(value, read)

    def _whole_file_format(self, first: Row | Problem) -> str | None:
        """The format in which all records of the file are one episode, if it is in such a one."""
        forced = self.options.format
        if forced in registry.FILE_FORMATS and forced not in registry.RECORD_FORMATS:
            return forced
        if self.options.mapping is not None or isinstance(first, Problem) or not isinstance(first[1], dict):
            return None
        known = registry.format_of_file(first[1])
        return known if forced in {"auto", known} else None

    def _record_reader(self) -> Callable[[Any], Iterator[Found]]:
        if self.options.mapping is not None:
            mapping = self.options.mapping
            return lambda record: mapped(record, mapping)
        return lambda record: _read_record(record, self.options.format)

    def _of_text(self) -> Iterator[Found]:
        stream = _Text(self.chunks())
        text = io.TextIOWrapper(io.BufferedReader(stream, HEAD_BYTES), encoding="utf-8-sig", errors="replace")
        head = text.read(HEAD_BYTES)
        if not head.strip():
            yield stream.problem or Problem("", "empty_file")
            return
        if head.startswith(_WIDE_MARK):
            yield Problem("", "unknown_encoding", "UTF-16; a text is UTF-8")
            return
        name = self.options.format if self.options.format != "auto" else registry.format_of_text(head)
        if name is None:
            yield stream.problem or Problem(
                "", "unknown_format", f"a text in none of: {', '.join(registry.TEXT_FORMATS)}"
            )
            return
        yield from _guarded(registry.module_of(name).read_text(_lines(head, text, self.options.max_row_bytes)))
        if stream.problem is not None:
            yield stream.problem


class _Text(io.RawIOBase):
    """The unpacked bytes as a stream; it ends at a problem, which is kept."""

    def __init__(self, chunks: Iterator[bytes | Problem]) -> None:
        self._chunks = chunks
        self._rest = b""
        self.problem: Problem | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            found = next(self._chunks, b"")
            if isinstance(found, Problem):
                self.problem, found = found, b""
            self._rest = found
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


def _lines(head: str, text: io.TextIOWrapper, limit: int) -> Iterator[str]:
    """The lines of a text whose head has been read; a line beyond the limit comes in pieces."""
    yield from io.StringIO(head + text.readline(limit))
    yield from iter(lambda: text.readline(limit), "")


def _as_one(name: str, values_of_file: Iterator[Row | Problem]) -> Iterator[tuple[str, Found]]:
    """A file whose records are together one episode. It ends at the first that cannot be read: an episode with a hole
    never happened."""
    records: list[Mapping[str, Any]] = []
    for value in islice(values_of_file, MAX_RECORDS_OF_ONE_EPISODE):
        if isinstance(value, Problem):
            problem = value
        elif not isinstance(value[1], dict):
            problem = Problem(value[0], "not_an_object", f"a record is a {type(value[1]).__name__}")
        else:
            records.append(value[1])
            continue
        yield "", replace(problem, detail=f"{problem.detail}; the episode ends before it".removeprefix("; "))
        break
    else:
        if next(values_of_file, None) is not None:
            yield "", Problem("", "oversized", f"more than {MAX_RECORDS_OF_ONE_EPISODE:,} records in one episode")
            return
    for found in _guarded(registry.module_of(name).read_file(records)):
        yield "", found


def _of_value(value: Row | Problem, read: Callable[[Any], Iterator[Found]]) -> Iterator[tuple[str, Found]]:
    if isinstance(value, Problem):
        yield "", value
        return
    place, record = value
    for found in _guarded(read(record)):
        yield place, found


def _guarded(found: Iterator[Found]) -> Iterator[Found]:
    """What a format gives; what it raises is the problem that ends one record, never the file. Nothing is one too."""
    is_empty = True
    try:
        for one in found:
            is_empty = False
            yield one
    except UnusableRecordError as error:
        yield Problem("", error.reason, str(error))
    except Exception as error:  # noqa: BLE001  see above
        yield Problem("", "reader_failed", f"{type(error).__name__}: {error}"[:300])
    else:
        if is_empty:
            yield Problem("", "no_steps", "there is no episode in it")


def _read_record(record: Any, forced: str) -> Iterator[Found]:
    """The episodes of one record; of an object of records (id -> record), of each of them."""
    name = _format_of(record, forced)
    if name is not None:
        yield from registry.read_record(record, name)
        return
    if not isinstance(record, dict):
        raise UnusableRecordError("not_an_object", f"a record is a {type(record).__name__}")
    entries = [(str(key), entry, _format_of(entry, forced)) for key, entry in record.items()]
    if any(known is not None for _, _, known in entries):
        yield from _entries(entries)
    elif forced != "auto":
        yield from registry.read_record(record, forced)
    else:
        raise UnusableRecordError("unknown_format", f"keys: {', '.join(sorted(map(str, record))[:20])}"[:500])


def _format_of(record: Any, forced: str) -> str | None:
    """The format that a record is in: the forced one or none, else any."""
    if forced == "auto":
        return registry.format_of_record(record)
    module = registry.module_of(forced)
    if isinstance(record, list):
        return forced if forced in registry.ARRAY_FORMATS and module.matches_array(record) else None
    return forced if isinstance(record, dict) and module.matches(record) else None


def _entries(entries: Sequence[tuple[str, Any, str | None]]) -> Iterator[Found]:
    for key, entry, name in entries:
        if name is None:
            yield Problem(key, "unknown_format", "an entry in no format that is known")
            continue
        for found in _guarded(registry.read_record(entry, name)):
            if isinstance(found, Problem):
                yield replace(found, part="#".join(part for part in (key, found.part) if part))
            else:
                yield found if found.episode else replace(found, episode=key)
