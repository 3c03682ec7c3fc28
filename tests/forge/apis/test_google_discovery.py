"""Google API discovery documents."""

from __future__ import annotations

import gzip
import json
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

from forge.apis.google_discovery import Origin, entities, list_items, read_item
from forge.artifacts import artifact_path
from forge.config import ConfigurationError, Settings, SourceSettings, load_settings
from forge.schema import ApiEntity, Decision, Item

GOLDEN = Path(__file__).parent / "golden" / "google_discovery"


def _read(document: Any, item_id: str = "things.v1.json") -> tuple[dict[str, ApiEntity], list[Decision]]:
    content = document if isinstance(document, bytes) else orjson.dumps(document)
    rows = list(entities(content, Origin("google", item_id, item_id, "")))
    return {row.name: row for row in rows if isinstance(row, ApiEntity)}, [r for r in rows if isinstance(r, Decision)]


def _document(method: Any, **more: Any) -> dict[str, Any]:
    return {"name": "things", "version": "v1", "methods": {"get": method}, **more}


def _method(method: dict[str, Any], **more: Any) -> ApiEntity:
    found, decisions = _read(_document({"id": "things.get", **method}, **more))
    assert decisions == []
    return found["things.get"]


def test_golden() -> None:
    name = "library.v1beta1.json"
    expected = yaml.safe_load((GOLDEN / name).with_suffix(".expected.yaml").read_text())
    found = []
    for row in entities((GOLDEN / name).read_bytes(), Origin("golden", name, f"pkg:x#{name}", "Apache-2.0")):
        assert isinstance(row, ApiEntity)
        fields = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(row).items()}
        stated = {key: value for key, value in fields.items() if value and key not in {"source", "item_id"}}
        found.append({"entity_key": row.entity_key, **stated})
    assert found == expected


def test_versions_share_a_key_and_a_repeated_file_is_a_mirror() -> None:
    document = _document({"id": "directory.users.get"}, name="admin", version="directory_v1")
    regular = _read(document, "documents/admin.directory_v1.json")[0]["directory.users.get"]
    repeated = _read(document, "documents/admin.directoryv1.json")[0]["directory.users.get"]
    newer = _read({**document, "version": "directory_v2"}, "admin.directory_v2.json")[0]["directory.users.get"]
    assert {entity.entity_key for entity in (regular, repeated, newer)} == {"google/admin/directory.users.get"}
    assert (regular.mirror, repeated.mirror, newer.mirror) == ("", "admin.directoryv1", "")
    assert (regular.version, newer.version) == ("directory_v1", "directory_v2")


def test_a_body_without_fields_is_one_parameter() -> None:
    method = {"request": {"$ref": "Names"}}
    schemas = {"Names": {"type": "array", "items": {"type": "string"}}}
    assert _method(method, schemas=schemas).parameters["properties"] == {
        "body": {"type": "array", "items": {"type": "string"}, "x-in": "body"}
    }


def test_what_only_the_server_sets_is_returned_and_not_given() -> None:
    inner = {"kept": {"type": "string"}, "made": {"type": "string", "description": "[Output Only] When."}}
    schemas = {
        "Outer": {"properties": {"list": {"type": "array", "items": {"$ref": "Inner/~%"}}, "ids": {"readOnly": True}}},
        "Inner/~%": {"properties": inner},
    }
    method = _method({"request": {"$ref": "Outer"}, "response": {"$ref": "Outer"}}, schemas=schemas)
    assert list(method.parameters["properties"]) == ["list"]
    assert list(method.parameters["properties"]["list"]["items"]["properties"]) == ["kept"]
    assert list(method.returns["properties"]) == ["list", "ids"]
    assert list(method.returns["properties"]["list"]["items"]["properties"]) == ["kept", "made"]


def test_one_bad_method_is_one_decision_and_the_others_go_on() -> None:
    methods = {
        "good": {"id": "things.good"},
        "no_id": {"httpMethod": "GET"},
        "text": "GET",
        "lost": {"id": "things.lost", "request": {"$ref": "Nowhere"}},
        "twice": {"id": "things.good"},
        "wrong": {"id": "things.wrong", "parameters": [1]},
        "last": {"id": "things.last"},
    }
    found, decisions = _read({"name": "things", "version": "v1", "resources": {"a": {"methods": methods}, "b": 3}})
    assert list(found) == ["things.good", "things.last"]
    assert {decision.reason for decision in decisions} == {"malformed_operation"}
    assert [decision.item_id for decision in decisions] == [
        f"things.v1.json#a.{name}" for name in ("no_id", "text", "lost", "twice", "wrong")
    ]
    assert "Nowhere" in decisions[2].detail
    assert decisions[2].detail.startswith("things.v1.json: a.lost:")


GOOD = orjson.dumps(_document({"id": "things.get"}))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "malformed_spec"),
        (b"[]", "malformed_spec"),
        (b"{}", "malformed_spec"),
        (GOOD[:-5], "malformed_spec"),
        (GOOD.replace(b'"v1"', b"NaN"), "malformed_spec"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "malformed_spec"),
        (b'\xff\xfe{\x00"', "malformed_spec"),
        (b'{"name": "things", "version": "\\ud800"}', "malformed_spec"),
        (b'{"name": "things", "version": "v1"}', "no_operations"),
        (b" " * (16 * 1024 * 1024) + GOOD, "oversized"),
        (orjson.dumps(_document({"id": "a", "description": "<p>" * 300_000})), "too_large"),
    ],
)
def test_what_is_no_discovery_document_is_one_decision(content: bytes, reason: str) -> None:
    found, decisions = _read(content)
    assert found == {}
    assert [(decision.item_id, decision.reason) for decision in decisions] == [("things.v1.json", reason)]
    assert decisions[0].detail.startswith("things.v1.json: ")


@pytest.mark.parametrize(
    "content", [b"\xef\xbb\xbf" + GOOD, GOOD.decode().encode("utf-16"), GOOD.decode().encode("utf-32")]
)
def test_byte_order_marks(content: bytes) -> None:
    found, decisions = _read(content)
    assert (list(found), decisions) == (["things.get"], [])


def test_duplicate_keys_are_told_and_the_last_one_counts() -> None:
    content = GOOD.replace(b'"id":"things.get"', b'"id":"things.old","id":"things.get"')
    found, decisions = _read(content)
    assert list(found) == ["things.get"]
    assert [(decision.item_id, decision.reason) for decision in decisions] == [
        ("things.v1.json#keys", "duplicate_keys")
    ]
    assert "'id'" in decisions[0].detail


def test_the_directory_of_documents_describes_nothing() -> None:
    assert _read({"kind": "discovery#directoryList", "items": [{"name": "a"}]}) == ({}, [])


def test_control_characters_stay_outside() -> None:
    dirty = "a\x00b\x1bc\u2028d\x85e"
    entity = _method(
        {
            "description": dirty,
            "path": dirty,
            "scopes": [dirty],
            "parameters": {dirty: {"description": dirty, "type": dirty, "enum": [dirty], "pattern": dirty}},
            "request": {"$ref": "Thing"},
            "mediaUpload": {"accept": [dirty], "maxSize": dirty, "protocols": {dirty: {"path": dirty}}},
        },
        schemas={"Thing": {"properties": {"x": {"description": dirty, "default": dirty, "type": "string"}}}},
    )
    written = json.dumps(entity.row("night"), ensure_ascii=False)
    # JSON escapes what a JSON column holds; its own text is checked after reading it again.
    written += str(entity.parameters)
    assert not any(character in written for character in "\x00\x1b\u2028\x85")
    assert "\\x1b" not in written
    assert "\\u0000" not in written


def test_huge_schemas_are_bounded() -> None:
    """A file of 0.5 MB whose methods would state 2 GB: all take the same thousand fields."""
    fields = {f"field{number}": {"type": "string", "description": "x" * 300} for number in range(1000)}
    methods = {f"m{number}": {"id": f"things.m{number}", "request": {"$ref": "Wide"}} for number in range(5000)}
    began = time.process_time()
    found, decisions = _read(
        {"name": "things", "version": "v1", "methods": methods, "schemas": {"Wide": {"properties": fields}}}
    )
    assert [decision.reason for decision in decisions] == ["too_large"]
    assert 200 < len(found) < 400
    assert time.process_time() - began < 10


KEYS = [
    "id", "$ref", "type", "enum", "enumDescriptions", "properties", "items", "default", "parameters", "request",
    "scopes", "response", "methods", "resources", "description", "annotations", "required", "mediaUpload", "protocols",
    "readOnly", "parameterOrder", "additionalProperties",
]  # fmt: skip
JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        st.sampled_from(["Book", "things.x", "#/schemas/Book"]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(JSON, JSON, JSON)
def test_any_json_gives_rows_and_never_an_exception(method: Any, parameter: Any, schema: Any) -> None:
    good = {"id": "things.good", "parameters": {"p": parameter}, "request": {"$ref": "Book"}}
    document = _document(method, resources={"r": {"methods": {"a": method, "b": good}}}, schemas={"Book": schema})
    found, decisions = _read(document)
    for entity in found.values():
        entity.row("night")
    assert len(found) + len(decisions) >= 1


@given(st.data())
def test_mutated_documents_never_raise(data: st.DataObject) -> None:
    content = bytearray((GOLDEN / "library.v1beta1.json").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        stop = min(len(content), start + data.draw(st.integers(0, 40)))
        content[start:stop] = data.draw(
            st.binary(max_size=6) | st.sampled_from([b"{", b"]", b'"$ref": 3', b"null", b"1e999"])
        )
    found, _ = _read(bytes(content))
    for entity in found.values():
        entity.row("night")


def test_files_are_listed_and_read(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "things.v1.json").write_bytes(GOOD)
    (tmp_path / "packed.v1.json.gz").write_bytes(gzip.compress(GOOD))
    (tmp_path / "torn.v1.json.gz").write_bytes(gzip.compress(GOOD)[:-20])
    source = SourceSettings(type="google_discovery", options={"paths": [f"{tmp_path}/*.*.json*"], "public_uri": "u#"})
    items = list(list_items("mine", source, settings))
    assert [item.item_id for item in items] == ["packed.v1.json.gz", "things.v1.json", "torn.v1.json.gz"]
    rows = {item.item_id: list(read_item(item, source, settings)) for item in items}
    (torn,) = rows["torn.v1.json.gz"]
    assert isinstance(torn, Decision)
    assert torn.reason == "truncated_container"
    for item_id in ("packed.v1.json.gz", "things.v1.json"):
        (entity,) = rows[item_id]
        assert isinstance(entity, ApiEntity)
        assert entity.source_uri == f"u#{item_id}/things.get"
        assert entity.mirror == ""
    with pytest.raises(ConfigurationError):
        list(list_items("mine", source.model_copy(update={"options": {"paths": ["a"], "path": "b"}}), settings))


# --- coverage of the real documents -------------------------------------------------------------------------------


def _real() -> tuple[Settings, SourceSettings]:
    settings = load_settings("full", environment={})
    try:
        artifact_path(settings, "google_discovery")
    except ConfigurationError:
        pytest.skip("the artifact google_discovery is not unpacked")
    return settings, settings.sources["google_apis"]


def _counted(holder: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The methods of raw JSON, by plain recursion."""
    yield from holder.get("methods", {}).values()
    for resource in holder.get("resources", {}).values():
        yield from _counted(resource)


def _sample(items: list[Item], share: int) -> list[Item]:
    return items[::share]


def test_every_method_of_a_sample_of_the_real_documents() -> None:
    settings, source = _real()
    items = list(list_items("google_apis", source, settings))
    assert len(items) == 610
    for item in _sample(items, 15):
        raw = json.loads(Path(item.locator["path"]).read_bytes())
        counted = list(_counted(raw))
        rows = list(read_item(item, source, settings))
        found = {row.name: row for row in rows if isinstance(row, ApiEntity)}
        assert sorted(found) == sorted(method["id"] for method in counted)
        assert not counted or len(rows) == len(counted)
        for method in counted:
            parameters = found[method["id"]].parameters
            stated = method.get("parameters", {})
            assert set(stated) <= set(parameters["properties"])
            required = {name for name, parameter in stated.items() if parameter.get("required")}
            assert required <= set(parameters.get("required", ()))
            body = raw["schemas"][method["request"]["$ref"]] if "request" in method else {}
            invented = set(parameters["properties"]) - set(stated) - set(body.get("properties", {})) - {"body"}
            assert invented == set()


@pytest.mark.slow
def test_every_method_of_all_real_documents() -> None:
    """28,137 methods with 16,957 ids; 9 of the ids stand in two services (webmasters in searchconsole)."""
    settings, source = _real()
    found: Counter[str] = Counter()
    counted: Counter[str] = Counter()
    without_methods = 0
    for item in list_items("google_apis", source, settings):
        counted.update(method["id"] for method in _counted(json.loads(Path(item.locator["path"]).read_bytes())))
        for row in read_item(item, source, settings):
            if isinstance(row, ApiEntity):
                found[row.name] += 1
            else:
                assert row.reason == "no_operations"
                without_methods += 1
    assert found == counted
    assert (found.total(), len(found), without_methods) == (28_137, 16_957, 4)
