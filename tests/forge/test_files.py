"""A user's own files: listing, all formats, and every kind of bad input as a decision."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import forge.apis.files
import forge.text.files
from forge.config import ConfigurationError, Settings, SourceSettings, load_settings
from forge.files import FileOptions, OpenedFile, file_options
from forge.schema import ApiEntity, Decision, Item, Text
from forge.stored_files import Problem

READERS: dict[str, ModuleType] = {
    "api_doc": forge.apis.files,
    "text": forge.text.files,
    "code": forge.text.files,
}


def source_of(path: Path | str, kind: str, spdx: str | None = "MIT", **options: Any) -> SourceSettings:
    return SourceSettings(type="files", license=spdx, options={"paths": [str(path)], "kind": kind, **options})


def outcomes(path: Path | str, kind: str, settings: Settings, spdx: str | None = "MIT", **options: Any) -> list[Any]:
    source = source_of(path, kind, spdx, **options)
    reader = READERS[kind]
    return [
        outcome
        for item in reader.list_items("mine", source, settings)
        for outcome in reader.read_item(item, source, settings)
    ]


def reasons(found: list[Any]) -> list[tuple[str, str]]:
    return [(one.item_id.partition("#")[2], one.reason) for one in found if isinstance(one, Decision)]


def lines(*rows: object) -> bytes:
    return b"".join(orjson.dumps(row) + b"\n" for row in rows)


# --- options and listing -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "text"}, "sources.mine.options.paths: this key is required"),
        ({"paths": ["x"], "kind": "poem"}, "sources.mine.options.kind: Input should be 'api_doc', 'text'"),
        (
            {"paths": ["x"], "kind": "text", "txt_field": "a"},
            "unknown key; allowed here: paths, ",
        ),
        ({"paths": [], "kind": "text"}, "sources.mine.options.paths"),
    ],
)
def test_bad_options_name_the_key_and_what_is_allowed(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=r"sources\.yaml") as caught:
        file_options("mine", SourceSettings(type="files", options=options))
    assert message in str(caught.value)


def test_an_item_is_a_file_and_its_hash_is_the_sha256_of_its_bytes(tmp_path: Path, settings: Settings) -> None:
    for name in ("b.txt", "a.txt", "deep/c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"text of {name}")
    source = source_of(tmp_path / "**/*.txt", "text")
    items = list(forge.text.files.list_items("mine", source, settings))
    assert [item.item_id for item in items] == ["a.txt", "b.txt", "deep/c.txt"], "not where this machine keeps them"
    assert items[0].content_hash == hashlib.sha256(b"text of a.txt").hexdigest()
    assert list(forge.apis.files.list_items("mine", source, settings)) == []


def test_files_of_several_patterns_have_names_of_their_own(tmp_path: Path, settings: Settings) -> None:
    for name in ("x/a.txt", "y/a.txt", "y/b.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)

    def listed(*patterns: str) -> list[str]:
        options = {"paths": [str(tmp_path / pattern) for pattern in patterns], "kind": "text"}
        source = SourceSettings(type="files", options=options)
        return [item.item_id for item in forge.text.files.list_items("mine", source, settings)]

    assert listed("*/a.txt") == ["x/a.txt", "y/a.txt"]
    assert listed("x/*.txt", "y/b.txt", "x/a.*") == ["a.txt", "b.txt"], "a file that two patterns find is one item"
    with pytest.raises(ConfigurationError, match=r"two files are called 'a\.txt'"):
        listed("x/*.txt", "y/*.txt")


def test_a_changed_file_has_another_hash(tmp_path: Path, settings: Settings) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one")
    source = source_of(path, "text")
    before = next(iter(forge.text.files.list_items("mine", source, settings)))
    path.write_text("two words")
    after = next(iter(forge.text.files.list_items("mine", source, settings)))
    assert before.item_id == after.item_id
    assert before.content_hash != after.content_hash


def test_paths_that_match_nothing_and_too_many_files_are_refused(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="no file matches"):
        outcomes(tmp_path / "*.txt", "text", settings)
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text("x")
    with pytest.raises(ConfigurationError, match="max_files = 2"):
        outcomes(tmp_path / "*.txt", "text", settings, max_files=2)


def test_a_file_that_is_too_large_is_one_decision(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "large.txt").write_text("x" * 100)
    (tmp_path / "small.txt").write_text("small text")
    found = outcomes(tmp_path / "*.txt", "text", settings, max_file_bytes=50)
    assert reasons(found) == [("", "oversized")]
    assert [one.text for one in found if isinstance(one, Text)] == ["small text"]


# --- texts and code ------------------------------------------------------------------------------------------------


def test_rows_of_json_lines_become_texts_with_their_own_columns(tmp_path: Path, settings: Settings) -> None:
    rows = [
        {"body": "First text.", "name": "One", "key": 7, "terms": "apache 2.0", "where": "https://example.org/1"},
        {"body": "Second text."},
    ]
    (tmp_path / "a.jsonl").write_bytes(lines(*rows))
    first, second = outcomes(
        tmp_path / "a.jsonl", "text", settings, text_field="body", title_field="name", id_field="key",
        license_field="terms", uri_field="where",
    )  # fmt: skip
    assert (first.text, first.title, first.license, first.uri) == (
        "First text.", "One", "Apache-2.0", "https://example.org/1",
    )  # fmt: skip
    assert (second.license, second.title, second.uri) == ("MIT", "", "a.jsonl#2")


def test_a_row_without_a_licence_is_kept(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "a.jsonl").write_bytes(
        lines({"text": "a"}, {"text": "b", "license": "MIT"}, {"text": "c", "license": "?"})
    )
    found = outcomes(tmp_path / "a.jsonl", "text", settings, spdx=None)
    assert [one.license for one in found] == ["", "MIT", ""]


def test_bad_lines_are_decisions_with_their_numbers_and_the_others_are_kept(tmp_path: Path, settings: Settings) -> None:
    content = b"".join([
        *(lines({"text": "good one"}), b"{broken\n", b"\n", b'"a string"\n', b'{"text": ""}\n', b'{"other": 1}\n'),
        *(b'{"text": "caf\xe9"}\n', b'{"text": 5}\n', b'{"text": "' + b"x" * 500 + b'"}\n'),
        *(b'{"text": ' + b"[" * 80 + b"]" * 80 + b"}\n", lines({"text": "good two"})),
    ])  # fmt: skip
    (tmp_path / "a.jsonl").write_bytes(content)
    found = outcomes(tmp_path / "a.jsonl", "text", settings, max_row_bytes=300)
    assert [one.text for one in found if isinstance(one, Text)] == ["good one", "good two"]
    assert reasons(found) == [
        ("2", "invalid_json"), ("4", "not_an_object"), ("5", "no_text"), ("6", "no_text"), ("7", "unknown_encoding"),
        ("8", "no_text"), ("9", "oversized"), ("10", "too_deeply_nested"),
    ]  # fmt: skip
    assert "line 2: " in next(one.detail for one in found if isinstance(one, Decision))


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_compressed_rows_are_recognised_by_their_bytes(
    tmp_path: Path, settings: Settings, compress: Any, suffix: str
) -> None:
    rows = [{"text": f"text {number}"} for number in range(1000)]
    (tmp_path / f"a.jsonl{suffix}").write_bytes(compress(lines(*rows)))
    found = outcomes(tmp_path / "a.jsonl*", "text", settings)
    assert [one.text for one in found] == [row["text"] for row in rows]


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_a_truncated_container_keeps_what_came_before(tmp_path: Path, settings: Settings, compress: Any) -> None:
    rows = [{"text": hashlib.sha256(str(number).encode()).hexdigest() * 20} for number in range(6000)]
    whole = compress(lines(*rows))
    (tmp_path / "a.jsonl.gz").write_bytes(whole[: len(whole) * 2 // 3])
    found = outcomes(tmp_path / "a.jsonl.gz", "text", settings)
    assert [reason for _, reason in reasons(found)] == ["truncated_container"]
    assert len(found) > 100


def test_a_corrupt_container_and_a_bomb_are_decisions(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(b"\x1f\x8b\x08\x00garbage that is no deflate stream at all")
    assert reasons(outcomes(tmp_path / "a.jsonl.gz", "text", settings)) == [("", "corrupt_container")]
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b" " * 50_000_000))
    found = outcomes(tmp_path / "b.jsonl.gz", "text", settings, max_unpacked_bytes=4_000_000, max_row_bytes=1_000_000)
    assert [reason for _, reason in reasons(found)] == ["oversized", "oversized"]


@pytest.mark.parametrize("content", [b"", b"\n\n  \n"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.txt", "a.parquet"])
def test_an_empty_file_is_a_decision(tmp_path: Path, settings: Settings, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    [decision] = outcomes(tmp_path / name, "text", settings)
    expected = "empty_file"
    if content and name == "a.parquet":
        expected = "malformed_parquet"
    assert (decision.reason, decision.step) == (expected, "read_texts")


def test_a_utf16_file_of_rows_is_one_decision_and_a_utf16_text_is_read(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n' * 50, encoding="utf-16")
    assert reasons(outcomes(tmp_path / "a.jsonl", "text", settings)) == [("", "unknown_encoding")]
    (tmp_path / "a.txt").write_text("Text in UTF-16, as some editors write it.", encoding="utf-16")
    [text] = outcomes(tmp_path / "a.txt", "text", settings)
    assert text.text == "Text in UTF-16, as some editors write it."


def test_bytes_that_are_no_text_are_a_decision(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "a.txt").write_bytes(bytes(range(256)) * 40)
    assert reasons(outcomes(tmp_path / "a.txt", "text", settings)) == [("", "unknown_encoding")]


def test_parquet_rows_and_broken_parquet(tmp_path: Path, settings: Settings) -> None:
    pq.write_table(pa.table({"text": ["one", None, "three"], "n": [1, 2, 3]}), tmp_path / "a.parquet")
    found = outcomes(tmp_path / "a.parquet", "text", settings)
    assert [one.text for one in found if isinstance(one, Text)] == ["one", "three"]
    assert reasons(found) == [("2", "no_text")]
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "b.parquet").write_bytes(whole[: len(whole) // 2])
    assert reasons(outcomes(tmp_path / "b.parquet", "text", settings)) == [("", "malformed_parquet")]


def test_code_files_keep_their_text_exactly_and_name_their_language(tmp_path: Path, settings: Settings) -> None:
    code = "def f():\n\treturn 1\n\n"
    (tmp_path / "f.py").write_text(code)
    [text] = outcomes(tmp_path / "*.py", "code", settings)
    assert (text.kind, text.text, text.language) == ("code", code, "python")


# --- API documentation ---------------------------------------------------------------------------------------------


def test_rows_of_api_documentation_become_entities(tmp_path: Path, settings: Settings) -> None:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    rows = [
        {"name": "get_weather", "description": "Weather of a city.", "parameters": parameters, "service": "weather"},
        {"name": "", "description": "x"},
        {"description": "nameless"},
        {"name": "silent"},
        {"name": "odd", "description": "x", "parameters": {"properties": []}},
        {"name": "odd", "description": "x", "parameters": "none"},
    ]
    (tmp_path / "a.jsonl").write_bytes(lines(*rows))
    found = outcomes(tmp_path / "a.jsonl", "api_doc", settings)
    [entity] = [one for one in found if isinstance(one, ApiEntity)]
    assert entity.entity_key == "mine/weather/get_weather"
    assert (entity.license, entity.source_uri) == ("MIT", "a.jsonl#1")
    assert entity.row("2026-11-21")["parameters"].startswith('{"properties":{"city"')
    assert reasons(found) == [
        ("2", "invalid_entity"), ("3", "invalid_entity"), ("4", "no_description"), ("5", "invalid_entity"),
        ("6", "invalid_entity"),
    ]  # fmt: skip


SPECIFICATION = {
    "openapi": "3.0.0",
    "info": {"title": "Weather", "version": "1"},
    "paths": {"/now": {"get": {"summary": "The weather now.", "responses": {"200": {"description": "ok"}}}}},
}


@pytest.mark.parametrize("name", ["api.json", "api.yaml", "api.json.gz"])
def test_specifications_become_entities(tmp_path: Path, settings: Settings, name: str) -> None:
    content = orjson.dumps(SPECIFICATION)  # JSON is YAML too
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    [entity] = outcomes(tmp_path / name, "api_doc", settings)
    assert entity.name == "GET /now"
    assert entity.license == "MIT"
    assert entity.source_uri.startswith(name)


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b"just words", b"a: [1", b"\xff\xfe\x00", b"openapi: 3.0.0\npaths: 5\n"]
)
def test_a_malformed_specification_is_a_decision(tmp_path: Path, settings: Settings, content: bytes) -> None:
    (tmp_path / "api.yaml").write_bytes(content)
    assert reasons(outcomes(tmp_path / "api.yaml", "api_doc", settings)) == [("", "malformed_spec")]


def test_an_empty_or_truncated_specification_is_a_decision(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "a.json").write_bytes(b"")
    (tmp_path / "b.json.gz").write_bytes(gzip.compress(orjson.dumps(SPECIFICATION))[:-20])
    found = outcomes(tmp_path / "*.json*", "api_doc", settings)
    assert reasons(found) == [("", "empty_file"), ("", "truncated_container")]


# --- properties ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("properties")


_PIECES = [b'{"text": "a"}', b'{"name": "f", "summary": "s"}', b"{", b"\x1f\x8b", b"\xff\xfe", b"\n", b"[", b"PAR1"]
_CUT = st.tuples(st.binary(max_size=200).map(zstandard.compress), st.integers(0, 200))
_CONTENT = st.one_of(
    st.binary(max_size=400),
    st.lists(st.sampled_from(_PIECES)).map(b"\n".join),
    st.binary(max_size=200).map(gzip.compress),
    _CUT.map(lambda pair: pair[0][: pair[1]]),
)
_KINDS = st.sampled_from(["api_doc", "text", "code"])
_FORMATS = st.sampled_from(["jsonl", "parquet", "auto"])
_SUFFIXES = st.sampled_from([".jsonl", ".json", ".txt"])


@hypothesis_settings(max_examples=150, deadline=None)
@given(content=_CONTENT, kind=_KINDS, form=_FORMATS, suffix=_SUFFIXES)
def test_reading_never_raises(scratch: Path, content: bytes, kind: str, form: str, suffix: str) -> None:
    settings = load_settings("demo", environment={})
    path = scratch / f"file{suffix}"
    path.write_bytes(content)
    for outcome in outcomes(path, kind, settings, format=form, max_unpacked_bytes=10_000, max_row_bytes=5_000):
        row = outcome.row("2026-11-21")
        assert row["source"] == "mine"
        if isinstance(outcome, Decision):
            assert outcome.reason.isidentifier()


@hypothesis_settings(max_examples=100, deadline=None)
@given(texts=st.lists(st.text(min_size=1, max_size=50).filter(str.strip), max_size=20), cut=st.integers(1, 60))
def test_good_lines_all_come_back_whatever_lies_between(scratch: Path, texts: list[str], cut: int) -> None:
    settings = load_settings("demo", environment={})
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    parts = [orjson.dumps({"text": text}) + b"\n" + b"{" * cut + b"\n" for text in texts]
    path = scratch / "rows.jsonl"
    path.write_bytes(b"".join(parts) or b"{}")
    found = outcomes(path, "text", settings)
    assert [one.text for one in found if isinstance(one, Text)] == texts
    assert [part for part, _ in reasons(found)] == ([str(2 * n) for n in range(1, len(texts) + 1)] or ["1"])


def test_lines_longer_than_a_chunk_are_skipped_in_bounded_memory(tmp_path: Path, settings: Settings) -> None:
    path = tmp_path / "a.jsonl"
    with path.open("wb") as sink:
        sink.write(lines({"text": "before"}))
        for _ in range(40):
            sink.write(b"x" * 1_000_000)
        sink.write(b"\n" + lines({"text": "after"}))
    item = Item("mine", "a.jsonl", "", {"store": "local", "path": str(path)})
    options = FileOptions(paths=("a",), kind="text", max_row_bytes=100_000)
    found = list(OpenedFile(item, options, settings).lines())
    assert [one if isinstance(one, Problem) else one[0] for one in found] == [
        1,
        Problem("2", "oversized", "a line of more than 100,000 bytes"),
        3,
    ]
