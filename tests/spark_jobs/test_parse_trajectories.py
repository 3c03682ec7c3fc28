"""parse_trajectories over every format of trajectories in every container, good files beside hostile ones.

No file ends the job, no record is lost without a reason that names its file and line, and the good ones are all there.
"""

from __future__ import annotations

import gzip
import io
import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import chain, product
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from pyspark.sql import SparkSession

from forge.config import SourceSettings, load_settings
from forge.lake import Lake
from forge.schema import trajectory_from_row
from forge.trajectories.formats import registry
from forge.trajectories.links import offered_keys
from forge.trajectories.render import render
from spark_jobs.job import Context, execute
from spark_jobs.parse_trajectories import JOB
from tests.spark_jobs.good_trajectories import EPISODES, FILES, MAPPING, RECORDS, TEXTS
from tests.spark_jobs.wrong_values import deleted, replaced

pytestmark = pytest.mark.spark
NIGHT = "2026-11-21"
SECONDS = 120.0
"""Of the job, on two cores that others use, too."""
_BOTH = {"atif", "react_notebook", "react_prompts", "toolbench"}
"""Formats of which one record may give episodes and problems."""


def _nested(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


_WRONG: dict[str, bytes] = {
    "null": b"null",
    "number": b"7",
    "list": b'[1,"x",null,{"a":[]}]',
    "nested": _nested(40),
    "json": orjson.dumps("[" * 1_000),
    "deep": _nested(10_000),
    "surrogate": b'"a\\ud800"',
    "not_a_number": b"NaN",
    "infinity": b"1e400",
    "unsigned": str(2**63).encode(),
    "huge": b"1" + b"0" * 400,
}
"""What stands in place of each field, as JSON writes it."""
_STREAMED = ("null", "list", "surrogate")
"""What a parser of streams reads, too, so that what stands behind it can be read."""
_SHALLOW = tuple(name for name in _WRONG if name != "deep")
_IN_PARQUET: tuple[Any, ...] = (None, b"\xff\x00", float("nan"), Decimal("1.5"), datetime(2026, 1, 1, tzinfo=UTC), [{}])
_JUNK: dict[str, bytes] = {
    "empty": b"",
    "blank": b" \n\n",
    "binary": bytes(range(256)) * 64,
    "wide": json.dumps(RECORDS["openai_messages"][0]).encode("utf-16"),
    "gzip": b"\x1f\x8bnothing of the kind",
    "zstd": b"\x28\xb5\x2f\xfdnothing of the kind",
    "parquet": b"PAR1" + b"\x00" * 64 + b"PAR1",
    "word": b"word",
    "true": b"true",
    "surrogates": b'{"a\\ud800": NaN}',
    "deep_lists": b"[" * 2_000,
}
_JUNK_SUFFIXES = ("jsonl", "ndjson", "json", "traj", "ipynb", "parquet", "txt", "log", "md", "unknown")
_LARGE_BYTES = 200_000_000


def _json(value: object) -> bytes:
    data = orjson.dumps(value)
    for name, token in _WRONG.items():
        data = data.replace(b'"@%s@"' % name.encode(), token)
    return data


def _damaged(good: object, wrong: Iterable[str] = tuple(_WRONG)) -> list[bytes]:
    """A good record or file without one of its fields, or with another value in it, as JSON."""
    return [_json(value) for value in chain(deleted(good), replaced(good, [f"@{name}@" for name in wrong]))]


def _cut(data: bytes) -> list[bytes]:
    return [data[: len(data) * eighth // 8] for eighth in range(1, 8)]


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


_PACKS: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": lambda data: gzip.compress(data, 1), ".zst": _zstd}


def _lines(values: Iterable[object]) -> bytes:
    return b"".join(orjson.dumps(value) + b"\n" for value in values)


def _records(goods: list[Any]) -> dict[str, bytes]:
    """Files of one format of records: name -> bytes."""
    files: dict[str, bytes] = {}
    for suffix, pack in _PACKS.items():
        files[f"good.jsonl{suffix}"] = pack(_lines(goods))
        files[f"array.json{suffix}"] = pack(orjson.dumps(goods))
        files[f"named.json{suffix}"] = pack(orjson.dumps({f"k{place}": good for place, good in enumerate(goods)}))
        files |= {f"cut{n}.jsonl{suffix}": cut for n, cut in enumerate(_cut(pack(_lines(goods * 9))))}
    for name in ("array", "named"):
        files |= {f"cut_{name}{n}.json": cut for n, cut in enumerate(_cut(files[f"{name}.json"]))}
    files |= {f"alone{n}.ipynb": orjson.dumps(good) for n, good in enumerate(goods) if isinstance(good, dict)}
    files["mixed.jsonl"] = b"".join(orjson.dumps(good) + b'\n{"a": \n\n"text"\n' for good in goods)
    files["damaged.jsonl"] = b"\n".join(line for good in goods for line in _damaged(good))
    files["streamed.json"] = b"[" + b",".join(line for good in goods for line in _damaged(good, _STREAMED))
    for n, good in enumerate(goods):
        if isinstance(good, dict) and (row := _parquet(good)):
            files[f"row{n}.parquet"] = row
            files |= {f"cut{n}_{part}.parquet": cut for part, cut in enumerate(_cut(row))}
            for key, (kind, value) in product(good, enumerate(_IN_PARQUET)):
                files[f"row{n}_{key}{kind}.parquet"] = _parquet({**good, key: value})
    return files


def _parquet(row: dict[str, Any]) -> bytes:
    """A file of one row; nothing when a column cannot hold what the row has in it, now a text and now a list."""
    sink = io.BytesIO()
    try:
        table = pa.Table.from_pylist([_without_empty(row)])
    except pa.ArrowInvalid:
        return b""
    pq.write_table(table, sink)
    return sink.getvalue()


def _without_empty(value: Any) -> Any:
    """Parquet has no empty objects; they are null."""
    if isinstance(value, dict):
        return {key: _without_empty(part) for key, part in value.items()} or None
    return [_without_empty(part) for part in value] if isinstance(value, list) else value


def _one_episode(records: list[Any]) -> dict[str, bytes]:
    """Files of a format whose records are one episode together."""
    files = {f"good.jsonl{suffix}": pack(_lines(records)) for suffix, pack in _PACKS.items()}
    files["array.json"] = orjson.dumps(records)
    files |= {f"cut{n}.jsonl": cut for n, cut in enumerate(_cut(files["good.jsonl"]))}
    files |= {f"damaged{n}.json": data for n, data in enumerate(_damaged(records, _SHALLOW))}
    files |= {f"hole{n}.jsonl": _lines(records[:n]) + b"{\n" + _lines(records[n:]) for n in range(len(records))}
    return files


def _texts(texts: list[str]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for n, text in enumerate(texts):
        lines = text.encode().splitlines(keepends=True)
        files |= {f"good{n}.log{suffix}": pack(text.encode()) for suffix, pack in _PACKS.items()}
        files |= {f"cut{n}_{part}.txt": cut for part, cut in enumerate(_cut(text.encode()))}
        files[f"doubled{n}.md"] = text.encode() * 20
        files[f"wide{n}.txt"] = text.encode("utf-16")
        for place in range(len(lines)):
            for part, other in enumerate((b"", b"\xff\x00\x1b\n", b"(" * 5_000 + b"\n", lines[place] * 2)):
                files[f"line{n}_{place}_{part}.txt"] = b"".join((*lines[:place], other, *lines[place + 1 :]))
    return files


def _large() -> dict[str, bytes]:
    """Cheap on disk, and far larger than a record may be."""
    endless, good = b"x" * _LARGE_BYTES, orjson.dumps(RECORDS["openai_messages"][0])
    return {
        "string.jsonl.zst": _zstd(good + b'\n{"messages": "' + endless + b'"}\n' + good),
        "string.json.zst": _zstd(b"[" + good + b',{"messages": "' + endless + b'"},' + good + b"]"),
        "alone.json.zst": _zstd(b'{"messages": "' + endless + b'"}'),
        "line.log.zst": _zstd(TEXTS["react_text"][1].encode() + b"Observation 3: " + endless),
        "scene.txt.zst": _zstd(TEXTS["api_bank_scenes"][0].encode() + endless),
        "word.txt.zst": _zstd(endless),
    }


@dataclass(frozen=True)
class Folder:
    """Files of one kind; ``format`` is theirs, if they have one."""

    name: str
    format: str
    files: Mapping[str, bytes]


def _folders() -> Iterator[Folder]:
    # Numbered: names of formats are names of evaluation sets, too.
    for number, (name, goods) in enumerate(RECORDS.items()):
        yield Folder(f"record{number}", name, _records(goods))
    for number, (name, records) in enumerate(FILES.items()):
        yield Folder(f"file{number}", name, _one_episode(records))
    for number, (name, texts) in enumerate(TEXTS.items()):
        yield Folder(f"text{number}", name, _texts(texts))
    yield Folder("large", "", _large())
    yield Folder("junk", "", {f"{name}.{end}": data for name, data in _JUNK.items() for end in _JUNK_SUFFIXES})


@dataclass(frozen=True)
class Outcome:
    """What the job made of the files: by source and item, how many episodes, and the decisions."""

    folders: Mapping[str, Folder]
    rows: list[dict[str, Any]]
    listed: set[tuple[str, str]]
    episodes: Counter[tuple[str, str]]
    decisions: Mapping[tuple[str, str], list[dict[str, Any]]]
    seconds: float

    def of(self, folder: Folder, file: str) -> Iterator[tuple[int, list[str]]]:
        """Twice, as told by the keys of records and as read by the named format: how many episodes a file gave, and
        the lines of the records that are none."""
        for key in (("any", f"{folder.name}/{file}"), (folder.name, file)):
            found = self.decisions.get(key, [])
            yield self.episodes[key], [row["item_id"].split("#")[1] for row in found if "#" in row["item_id"]]

    def reasons(self, source: str, item: str) -> list[str]:
        return [row["reason"] for row in self.decisions.get((source, item), [])]


@pytest.fixture(scope="module")
def outcome(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    root = tmp_path_factory.mktemp("hostile")
    folders = {folder.name: folder for folder in _folders()}
    for folder in folders.values():
        (root / "files" / folder.name).mkdir(parents=True)
        for name, data in folder.files.items():
            (root / "files" / folder.name / name).write_bytes(data)
    (root / "bombs").mkdir()
    for suffix, (end, pack) in product(("jsonl", "json", "log"), _PACKS.items()):
        (root / "bombs" / f"bomb.{suffix}{end}").write_bytes(pack(b"[" + b'"%s",' % (b"a" * 99_000) * 40))
    options: dict[str, dict[str, Any]] = {
        "any": {"paths": [f"{root}/files/*/*"]},
        "bombs": {"paths": [f"{root}/bombs/*"], "max_unpacked_bytes": 1_000_000},
        "mapped": {
            "paths": [f"{root}/files/junk/*", f"{root}/files/{_named('openai_messages')}/*"],
            "mapping": MAPPING,
        },
    }
    for folder in folders.values():
        if folder.format:
            options[folder.name] = {"paths": [f"{root}/files/{folder.name}/*"], "format": folder.format}
    sources = {
        name: SourceSettings.model_validate({"type": "trajectory_files", "license": "MIT", "options": stated})
        for name, stated in options.items()
    }
    settings = load_settings("demo", environment={})
    settings = settings.model_copy(
        update={
            "home": str(root / "home"),
            "lake": settings.lake.model_copy(update={"root": str(root / "lake")}),
            "sources": sources,
        }
    )
    lake = Lake.of(settings)
    started = time.monotonic()
    assert execute(JOB, Context(lake, settings, NIGHT, "test", lambda: spark))
    seconds = time.monotonic() - started
    rows = lake.read("trajectories").to_pylist()
    decisions: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in lake.read("decisions").to_pylist():
        decisions[row["source"], row["item_id"].partition("#")[0]].append(row)
    return Outcome(
        folders,
        rows,
        {(row["source"], row["item_id"]) for row in lake.read("source_items").to_pylist()},
        Counter((row["source"], row["item_id"]) for row in rows),
        decisions,
        seconds,
    )


def _is_json(data: bytes) -> bool:
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return True


def _named(name: str) -> str:
    return f"record{list(RECORDS).index(name)}"


def test_every_format_is_here() -> None:
    assert set(RECORDS) == set(registry.RECORD_FORMATS)
    assert set(FILES) == set(registry.FILE_FORMATS)
    assert set(TEXTS) == set(registry.TEXT_FORMATS)


def test_every_file_gives_episodes_or_a_reason_and_no_reader_fails(outcome: Outcome) -> None:
    assert outcome.listed == outcome.episodes.keys() | outcome.decisions.keys()
    assert sum(source == "any" for source, _ in outcome.listed) == sum(
        len(folder.files) for folder in outcome.folders.values()
    )
    failed = [row for rows in outcome.decisions.values() for row in rows if row["reason"] == "reader_failed"]
    assert failed == []
    for row in (row for rows in outcome.decisions.values() for row in rows if "#" in row["item_id"]):
        assert row["detail"].startswith(("line ", "record "))
    assert outcome.seconds < SECONDS


def test_each_stored_row_is_an_episode_that_can_be_rendered_and_linked(outcome: Outcome) -> None:
    for row in outcome.rows[::50]:
        episode = trajectory_from_row(row)
        assert episode.trajectory_id == row["trajectory_id"]
        assert list(render(episode, 0.1, 60_000))
        offered_keys(episode)


@pytest.mark.parametrize("name", RECORDS)
def test_records(outcome: Outcome, name: str) -> None:
    folder, each = outcome.folders[_named(name)], EPISODES.get(name, 1)
    goods = RECORDS[name]
    for file, suffix in product(("good.jsonl", "array.json", "named.json"), _PACKS):
        assert {episodes for episodes, _ in outcome.of(folder, file + suffix)} == {each * len(goods)}, file
    for number, good in enumerate(goods):
        file = f"row{number}.parquet"
        if folder.files.get(file):
            assert {episodes for episodes, _ in outcome.of(folder, file)} == {each}, good
    for episodes, lines in outcome.of(folder, "mixed.jsonl"):
        assert episodes == each * len(goods)
        assert {str(4 * place + line) for place in range(len(goods)) for line in (2, 4)} <= set(lines)
    for file in (file for file in folder.files if file.startswith("cut") and file.endswith(".jsonl")):
        whole, rest = folder.files[file].count(b"\n"), folder.files[file].rpartition(b"\n")[2]
        if _is_json(rest):
            continue
        for episodes, lines in outcome.of(folder, file):
            assert episodes == each * whole
            assert lines[-1] == str(whole + 1)


@pytest.mark.parametrize("name", RECORDS)
def test_damaged_records(outcome: Outcome, name: str) -> None:
    folder = outcome.folders[_named(name)]
    for file, given in (
        ("damaged.jsonl", folder.files["damaged.jsonl"].count(b"\n") + 1),
        ("streamed.json", sum(len(_damaged(good, _STREAMED)) for good in RECORDS[name]) + 1),  # and that it is cut
    ):
        for episodes, lines in outcome.of(folder, file):
            assert set(lines) <= set(map(str, range(1, given + 1)))
            accounted = episodes + len(set(lines))
            assert accounted >= given if name in _BOTH else accounted == given


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_one_episode(outcome: Outcome, name: str) -> None:
    folder = next(one for one in outcome.folders.values() if one.format == name and one.name.startswith("file"))
    for file in (*(f"good.jsonl{suffix}" for suffix in _PACKS), "array.json"):
        assert [episodes for episodes, _ in outcome.of(folder, file)] == [1, 1]
    for number in range(len(FILES[name])):
        for episodes, lines in outcome.of(folder, f"hole{number}.jsonl"):
            assert lines[0] == str(number + 1)
            assert episodes <= 1


@pytest.mark.parametrize("name", TEXTS)
def test_texts(outcome: Outcome, name: str) -> None:
    folder = next(one for one in outcome.folders.values() if one.format == name)
    for number in range(len(TEXTS[name])):
        counts = [episodes for suffix in _PACKS for episodes, _ in outcome.of(folder, f"good{number}.log{suffix}")]
        assert len(set(counts)) == 1
        assert counts[0] > 0
        for source, item in (("any", f"{folder.name}/wide{number}.txt"), (folder.name, f"wide{number}.txt")):
            assert outcome.reasons(source, item) == ["unknown_encoding"]


def test_what_is_too_large_is_left_out_and_what_stands_before_it_is_not(outcome: Outcome) -> None:
    given = {name: (outcome.episodes["any", f"large/{name}"], outcome.reasons("any", f"large/{name}"))
             for name in outcome.folders["large"].files}  # fmt: skip
    assert given == {
        "string.jsonl.zst": (2, ["oversized"]),
        "string.json.zst": (1, ["oversized"]),
        "alone.json.zst": (0, ["oversized"]),
        "line.log.zst": (1, ["oversized"]),
        "scene.txt.zst": (0, ["oversized"]),
        "word.txt.zst": (0, ["unknown_format"]),
    }
    bombs = {item: outcome.reasons("bombs", item) for source, item in outcome.listed if source == "bombs"}
    assert len(bombs) == 9
    for item, reasons in bombs.items():
        assert reasons[-1] == "oversized" or (".log" in item and reasons == ["unknown_format"]), item


def test_junk(outcome: Outcome) -> None:
    for name, end in product(_JUNK, _JUNK_SUFFIXES):
        for key in (("any", f"junk/{name}.{end}"), ("mapped", f"{name}.{end}")):
            assert not outcome.episodes[key], key
            assert outcome.reasons(*key), key
    assert outcome.reasons("any", "junk/empty.parquet") == ["empty_file"]
    assert outcome.reasons("any", "junk/wide.json") == ["unknown_encoding"]
    assert outcome.reasons("any", "junk/gzip.log") == ["corrupt_container"]
    assert outcome.reasons("any", "junk/parquet.parquet") == ["malformed_parquet"]


def test_a_mapping(outcome: Outcome) -> None:
    goods = RECORDS["openai_messages"]
    for file in ("good.jsonl", "array.json"):
        assert outcome.episodes["mapped", file] == 1
        assert len(outcome.reasons("mapped", file)) == len(goods) - 1
    given = outcome.folders[_named("openai_messages")].files["damaged.jsonl"].count(b"\n") + 1
    lines = {row["item_id"] for row in outcome.decisions["mapped", "damaged.jsonl"]}
    assert outcome.episodes["mapped", "damaged.jsonl"] + len(lines) == given
