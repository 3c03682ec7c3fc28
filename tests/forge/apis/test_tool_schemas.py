"""Tool lists: golden files of every format, broken JSON, the real collections against counts of their raw JSON."""

from __future__ import annotations

import codecs
import gzip
import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from forge.apis.tool_schemas import About, Format, entities, list_items, read_item
from forge.config import ConfigurationError, Settings, SourceSettings, checkout, load_settings
from forge.schema import ApiEntity, Decision

GOLDEN = Path(__file__).parent / "golden" / "tool_schemas"
SAMPLES = checkout().parent / "shared" / "samples"


def _rows(content: bytes, stated: Format = "auto", is_lines: bool = False) -> list[ApiEntity | Decision]:
    return list(entities(content, About("mine", "a.json", "a.json", "mine", "a"), stated, is_lines))


def _read(value: Any, stated: Format = "auto") -> tuple[list[ApiEntity], list[Decision]]:
    rows = _rows(value if isinstance(value, bytes) else orjson.dumps(value), stated)
    return [row for row in rows if isinstance(row, ApiEntity)], [row for row in rows if isinstance(row, Decision)]


def _stated(row: ApiEntity | Decision) -> dict[str, Any]:
    if isinstance(row, Decision):
        return {"decision": row.reason, "item_id": row.item_id, "detail": row.detail}
    fields = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(row).items()}
    told = {key: value for key, value in fields.items() if value and key not in {"source", "item_id"}}
    return {"entity_key": row.entity_key, **told}


@pytest.mark.parametrize("name", sorted(path.name for path in GOLDEN.glob("*.json")))
def test_golden(name: str) -> None:
    about = About("golden", name, name, "golden", Path(name).stem)
    found = [_stated(row) for row in entities((GOLDEN / name).read_bytes(), about)]
    assert found == yaml.safe_load((GOLDEN / name).with_suffix(".expected.yaml").read_text())


# --- formats ------------------------------------------------------------------------------------------------------

FUNCTION = {"name": "f", "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}}}


@pytest.mark.parametrize(
    "value",
    [
        FUNCTION,
        [FUNCTION],
        [[FUNCTION]],
        {"type": "function", "function": FUNCTION},
        {"type": "function", **FUNCTION},
        {"model": "m", "tools": [{"type": "function", "function": FUNCTION}]},
        {"functions": [FUNCTION], "messages": []},
        {"name": "f", "parameter": FUNCTION["parameters"]},
        {"name": "f", "inputSchema": FUNCTION["parameters"]},
        {"tools": [{"name": "f", "inputSchema": FUNCTION["parameters"]}]},
        {"name": "f", "input_schema": FUNCTION["parameters"]},
        {"name": "f", "parameters": [{"name": "x", "type": "int"}]},
        {"name": "f", "parameters": {"x": {"type": "int"}}},
    ],
)
def test_ways_to_describe_one_tool(value: Any) -> None:
    (tool,), decisions = _read(value)
    assert decisions == []
    assert (tool.name, tool.entity_type) == ("f", "tool")
    assert tool.parameters == {"type": "object", "properties": {"x": {"type": "integer"}}}


def test_what_is_no_tool_is_nothing_and_a_file_of_it_one_decision() -> None:
    found, decisions = _read([{"name": "n"}, {"title": "x"}, 3, None, "name"])
    assert found == []
    assert [(row.item_id, row.reason, row.detail) for row in decisions] == [
        ("a.json", "no_tools", "a.json: the file describes no tool")
    ]


def test_a_format_can_be_forced() -> None:
    assert _read({"name": "bare", "description": "Says nothing more."})[0] == []
    (tool,), _ = _read({"name": "bare", "description": "Says nothing more."}, "functions")
    assert tool.description == "Says nothing more."
    (tool,), _ = _read({"name": "f", "parameters": {"type": "object"}, "inputSchema": {}}, "functions")
    assert tool.parameters == {"type": "object", "properties": {}}


def test_of_two_tools_of_one_name_the_first_counts() -> None:
    found, decisions = _read([{**FUNCTION, "description": "One."}, {**FUNCTION, "description": "Two."}])
    assert [tool.description for tool in found] == ["One."]
    assert [(row.reason, row.detail) for row in decisions] == [
        ("duplicate_tools", "a.json: 1 entries describe a tool again: f")
    ]


def test_types_in_other_words_are_json_schema() -> None:
    stated = {
        "type": "dict",
        "properties": {
            "type": {"type": "str"},
            "list": {"type": "list", "items": {"type": "float"}},
            "inner": {"type": "dict", "properties": {"deep": {"type": "any"}, "of": {"type": "array of objects"}}},
            "either": {"anyOf": [{"type": "int"}, {"type": ["bool", "none"]}]},
        },
    }
    (tool,), _ = _read({"name": "f", "parameters": stated})
    assert tool.parameters["properties"] == {
        "type": {"type": "string"},
        "list": {"type": "array", "items": {"type": "number"}},
        "inner": {"type": "object", "properties": {"deep": {}, "of": {"type": "array"}}},
        "either": {"anyOf": [{"type": "integer"}, {"type": ["boolean", "null"]}]},
    }
    assert tool.parameters["x-order"] == ["type", "list", "inner", "either"]


def test_what_a_source_says_of_itself_counts_where_a_file_says_nothing(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "kitchen.jsonl.gz").write_bytes(gzip.compress(orjson.dumps(FUNCTION), mtime=0))
    (tmp_path / "record.json").write_bytes((GOLDEN / "mcp_record.json").read_bytes())
    options = {"paths": [f"{tmp_path}/*"], "provider": "house", "version": "3", "public_uri": "pkg:npm/house@3#"}
    source = SourceSettings(type="tool_schemas", license="CC0-1.0", options=options)
    rows = [row for item in list_items("tools", source, settings) for row in read_item(item, source, settings)]
    first, second, _ = (row for row in rows if isinstance(row, ApiEntity))
    assert first.entity_key == "house/kitchen/f"
    assert (first.version, first.license, first.source_uri) == ("3", "CC0-1.0", "pkg:npm/house@3#kitchen.jsonl.gz#f")
    assert (second.entity_key, second.license) == ("@sea/tide-tables/high_tide", "CC0-1.0")


def test_unknown_options_are_refused(tmp_path: Path, settings: Settings) -> None:
    source = SourceSettings(type="tool_schemas", options={"paths": [f"{tmp_path}/*"], "formats": "mcp"})
    with pytest.raises(ConfigurationError, match="formats"):
        list(list_items("tools", source, settings))


# --- bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "reasons", "read"),
    [
        (b'[{"name":"f","parameters":{},},]', ["malformed_json"], 1),
        (b'[{"name":"f","parameters":{}}\n{"name":"g","parameters":{}},{"name":"h]',
         ["malformed_json", "malformed_entry"], 2),
        (b'[{"name":"f","parameters":{}}', ["malformed_json"], 1),
        (b'{"name":"f","parameters":{}}\n{"name":\n{"name":"g","parameters":{}}', ["malformed_json"], 2),
        (b'{"name":"f","name":"g","parameters":{}}', ["duplicate_keys"], 1),
        (codecs.BOM_UTF8 + b'{"name":"f","parameters":{}}', [], 1),
        ('{"name":"f","parameters":{}}'.encode("utf-16"), [], 1),
        (b'{"name":"f","parameters":{"x":{"default":NaN}}}', ["malformed_json"], 0),
        (b'{"name":"f\\ud800","parameters":{}}', ["malformed_json"], 0),
        (b"", ["malformed_json"], 0),
        (b"[" * 10_000, ["malformed_json"], 0),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, ["malformed_json"], 0),
        (b"\x00\x01\x02" * 50, ["unknown_encoding"], 0),
        (b'{"name":3,"inputSchema":{}}', ["malformed_tool"], 0),
        (b'{"name":"f","inputSchema":[1,{"name":[]},{"name":"x","type":{}}]}', [], 1),
    ],
)  # fmt: skip
def test_broken_json_is_said_and_the_rest_read(content: bytes, reasons: list[str], read: int) -> None:
    found, decisions = _read(content)
    assert [row.reason for row in decisions] == reasons
    assert all(row.detail.startswith("a.json") and row.step == "parse_apis" for row in decisions)
    assert len(found) == read


def test_a_repair_says_where_and_what() -> None:
    _, (decision,) = _read(b'[\n{"name":"f",\n"parameters":{},}\n]')
    assert (
        decision.detail == "a.json: trailing comma is not allowed at line 3 column 16; read without 1 trailing commas"
    )


def test_texts_are_clean_and_names_bounded() -> None:
    (tool,), decisions = _read(
        [{"name": " f\x07\n", "parameters": {"x\x00": {"enum": ["\x1b"]}}}, {**FUNCTION, "name": "n" * 400}]
    )
    assert tool.name == "f"
    assert tool.parameters["properties"] == {"x ": {"enum": [" "]}}
    assert [row.reason for row in decisions] == ["malformed_tool"]


@pytest.mark.parametrize(
    "content",
    [
        b'{"name":"f","parameters":{"x":{"description":"' + b"a" * 15_000_000 + b'"}}}',
        b"[" + b'{"name":"f","parameters":{}},' * 130_000 + b"{}]",
        b"\n".join(b'{"name":"f%d","parameters":{}}' % n for n in range(60_000)),
        b'[{"a":1' + b",}" * 1_500_000,
        b'{"name":"f","parameters":{"properties":{' + b",".join(b'"x%d":{}' % n for n in range(200_000)) + b"}}}",
        b'{"name":"f","parameters":{"$ref":"#/$defs/a","$defs":{"a":{"properties":{"b":{"$ref":"#/$defs/a"}}}}}}',
    ],
)  # fmt: skip
def test_large_and_recursive_input_is_bounded(content: bytes) -> None:
    start = time.process_time()
    rows = _rows(content)
    assert time.process_time() - start < 10
    assert rows
    assert sum(len(str(row)) for row in rows if isinstance(row, ApiEntity)) < 20_000_000


KEYS = [
    "name", "parameters", "type", "properties", "required", "tools", "metadata", "api_name", "api_call",
    "api_arguments", "server_info_crawled", "inputSchema", "parameter", "result", "function", "enum",
    "description", "test_examples", "annotations", "example_code", "framework", "license", "author",
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=25,
)  # fmt: skip


@given(JSON, st.sampled_from(["auto", "functions", "tooluniverse", "mcp", "api_zoo"]))
def test_no_types_of_values_raise(value: Any, stated: Format) -> None:
    for row in _rows(json.dumps(value).encode(), stated):
        row.row("night")


@given(st.data())
def test_no_mutation_raises(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(path.name for path in GOLDEN.glob("*.json"))))
    content = (GOLDEN / name).read_bytes()
    start = data.draw(st.integers(0, len(content)))
    stop = data.draw(st.integers(start, min(len(content), start + 300)))
    inserted = data.draw(
        st.sampled_from([b"", content[start:stop] * 2, b"[" * 50, b"NaN", b"\x00", b'"', b"{}", b",", b"\n"])
    )
    for row in _rows(content[:start] + inserted + content[stop:], is_lines=data.draw(st.booleans())):
        row.row("night")


@given(st.binary(max_size=200))
def test_no_bytes_raise(content: bytes) -> None:
    assert all(isinstance(row, Decision) for row in _rows(content))


# --- real collections ---------------------------------------------------------------------------------------------


def _collection(source: SourceSettings, settings: Settings, every: int = 1) -> tuple[list[ApiEntity], list[Decision]]:
    items = list(list_items("tools", source, settings))[::every]
    rows = [row for item in items for row in read_item(item, source, settings)]
    found = [row for row in rows if isinstance(row, ApiEntity)]
    assert len({tool.entity_key for tool in found}) == len(found)
    return found, [row for row in rows if isinstance(row, Decision)]


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object of a document, at whatever depth, but for what tests of tools pass."""
    todo = [value]
    while todo:
        place = todo.pop()
        if isinstance(place, dict):
            yield place
            todo += [inner for key, inner in place.items() if key != "test_examples"]
        elif isinstance(place, list):
            todo += place


def test_every_tool_of_tooluniverse_is_found_and_none_invented() -> None:
    settings = load_settings("full", environment={})
    root = settings.home_path / "artifacts" / "tooluniverse" / "tooluniverse" / "data"
    if not root.is_dir():
        pytest.skip("the artifact tooluniverse is not unpacked")
    counted = [
        tool
        for path in root.rglob("*.json")
        if path.parent.name != "broken_apis"
        for tool in _objects(json.loads(path.read_text()))
        if isinstance(tool.get("name"), str) and isinstance(tool.get("parameter"), dict) and "type" in tool
    ]
    found, decisions = _collection(settings.sources["tooluniverse"], settings)
    assert {tool.name for tool in found} == {tool["name"] for tool in counted}
    assert len(found) > 3000
    assert {row.reason for row in decisions} == {"no_tools", "duplicate_keys"}
    named = {tool.name: tool for tool in found}
    for tool in counted:
        ours = named[tool["name"]]
        assert set(ours.parameters["properties"]) == set(tool["parameter"].get("properties", {}))
        assert sorted(ours.parameters.get("required", ())) == sorted(
            set(tool["parameter"].get("required", ())) & set(tool["parameter"]["properties"])
        )
        assert bool(ours.returns) == bool(tool.get("return_schema") or tool.get("return"))
    calls = sum(
        min(10, len({json.dumps(call, sort_keys=True) for call in tool.get("test_examples", ()) if call}))
        for tool in counted
    )
    assert sum(len(tool.examples) for tool in found) >= calls  # some tools state further `examples`


def test_every_tool_of_crawled_mcp_servers_is_found_and_none_invented(settings: Settings) -> None:
    folder = SAMPLES / "toucan" / "mcp_servers"
    if not folder.is_dir():
        pytest.skip("the sample toucan is not here")
    source = SourceSettings(type="tool_schemas", options={"paths": [f"{folder}/*.json"]})
    found, decisions = _collection(source, settings, every=5)
    ours = {(tool.item_id, tool.name) for tool in found}
    counted = {
        (path.name, " ".join(tool["name"].split()))
        for path in sorted(folder.glob("*.json"))[::5]
        for place in _objects(json.loads(path.read_text())["metadata"])
        for tool in place.get("tools") or ()
    }
    assert ours == counted
    assert len(ours) > 3000
    assert {row.reason for row in decisions} <= {"duplicate_tools"}


def test_every_entry_of_the_api_zoo_is_found_or_explained(settings: Settings) -> None:
    """Four of its 29 files are no JSON: 2 of the 381 entries in them are lost, the others read."""
    folder = SAMPLES / "gorilla" / "data" / "apizoo"
    if not folder.is_dir():
        pytest.skip("the sample gorilla is not here")
    source = SourceSettings(type="tool_schemas", license="Apache-2.0", options={"paths": [f"{folder}/*"]})
    found, decisions = _collection(source, settings)
    stated = Counter({path.name: path.read_text().count('"api_name"') for path in folder.iterdir()})
    explained: Counter[str] = Counter()
    for row in decisions:
        again = re.search(r"(\d+) entries describe a tool again", row.detail)
        explained[row.item_id.partition("#")[0]] += int(again[1]) if again else row.reason == "malformed_entry"
    assert Counter(tool.item_id for tool in found) + explained == stated
    assert len(found) >= 0.99 * stated.total()
    broken = {row.item_id: row.detail for row in decisions if row.reason == "malformed_json"}
    assert sorted(broken) == [
        "Gmail_API.json", "KubernetesAPI.JSON", "KubernetesPodPodTemplateAPI.json", "Salesforce API in REST Format.JSON"
    ]  # fmt: skip
    assert all(" at line " in detail and detail.startswith(name) for name, detail in broken.items())
    assert [row.item_id for row in decisions if row.reason == "malformed_entry"] == [
        "KubernetesAPI.JSON#entry 49", "KubernetesAPI.JSON#entry 121"
    ]  # fmt: skip
