"""Postman collections: golden files, every version and way to write an address, counts, hostile input."""

from __future__ import annotations

import codecs
import gzip
import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from forge.apis.postman import About, entities, list_items, read_item
from forge.config import Settings, SourceSettings
from forge.schema import ApiEntity, Decision

GOLDEN = Path(__file__).parent / "golden" / "postman"
ABOUT = About("mine", "a.json", "a.json")


def _read(document: Any) -> tuple[list[ApiEntity], list[Decision]]:
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    rows = list(entities(content, ABOUT))
    return [row for row in rows if isinstance(row, ApiEntity)], [row for row in rows if isinstance(row, Decision)]


def _collection(*items: Any, **more: Any) -> dict[str, Any]:
    return {"info": {"name": "C"}, "item": list(items), **more}


def _operation(request: Any, **more: Any) -> ApiEntity:
    (operation,), decisions = _read(_collection({"name": "r", "request": request}, **more))
    assert decisions == []
    return operation


def _stated(row: ApiEntity | Decision) -> dict[str, Any]:
    if isinstance(row, Decision):
        return {"decision": row.reason, "item_id": row.item_id, "detail": row.detail}
    fields = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(row).items()}
    told = {key: value for key, value in fields.items() if value and key not in {"source", "item_id"}}
    return {"entity_key": row.entity_key, **told}


@pytest.mark.parametrize("name", ["shop.json", "version_1.json"])
def test_golden(name: str) -> None:
    """shop.json: version 2.1 with folders, auth, saved responses, all kinds of bodies. version_1.json: the old one."""
    found = [_stated(row) for row in entities((GOLDEN / name).read_bytes(), About("golden", name, name))]
    assert found == yaml.safe_load((GOLDEN / name).with_suffix(".expected.yaml").read_text())


# --- addresses ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "provider", "name"),
    [
        ("https://api.example.com/a/b", "api.example.com", "GET /a/b"),
        ("https://api.example.com:8443/a/:id/b?x=1#top", "api.example.com", "GET /a/{id}/b"),
        ("https://api.example.com", "api.example.com", "GET /"),
        ("https://user:word@api.example.com/a", "api.example.com", "GET /a"),
        ("api.example.com/a/{{id}}", "api.example.com", "GET /a/{id}"),
        ("{{base}}/a", "vars.example.com", "GET /v9/a"),
        ("{{unknown}}/a//b", "C", "GET /a/b"),
        ("{{unknown}}a", "C", "GET /"),
        ("http://localhost:3000/a", "C", "GET /a"),
        ("http://127.0.0.1/a", "C", "GET /a"),
        ("http://[::1]/a", "C", "GET /a"),
        ("https://{{shop}}.example.com/a", "C", "GET /a"),
        ("/a/{id}", "C", "GET /a/{id}"),
        ("a/b", "C", "GET /a/b"),
        ({"raw": "https://api.example.com/raw"}, "api.example.com", "GET /raw"),
        ({"protocol": "https", "host": "api.example.com", "path": "a/:b"}, "api.example.com", "GET /a/{b}"),
        ({"host": ["{{base}}"], "path": ["a", {"type": "string", "value": ":b"}]}, "vars.example.com", "GET /v9/a/{b}"),
    ],
)  # fmt: skip
def test_provider_and_name_of_an_address(url: Any, provider: str, name: str) -> None:
    operation = _operation({"url": url}, variable=[{"key": "base", "value": "https://vars.example.com/v9/"}])
    assert (operation.provider, operation.service, operation.name) == (provider, "C", name)
    assert operation.declaration == (f"GET https://{provider}" if provider != "C" else "GET ") + name.removeprefix(
        "GET "
    )


def test_a_request_may_be_only_an_address() -> None:
    assert _operation("https://api.example.com/a?x=1&y=").parameters["properties"] == {"x": {"example": "1"}, "y": {}}


@pytest.mark.parametrize(
    "request_", ["", {"url": {}}, {"url": None}, {"url": " "}, 3, None, {"url": "/a", "method": "G T"}]
)
def test_a_request_without_an_address_is_a_decision(request_: Any) -> None:
    found, decisions = _read(_collection({"name": "r", "request": request_}, {"name": "s", "request": "/s"}))
    assert [operation.name for operation in found] == ["GET /s"]
    assert [(row.item_id, row.reason, row.detail) for row in decisions] == [
        ("a.json#/item/0", "malformed_operation", "a.json: /item/0: r has no address")
    ]


# --- what goes with a request -------------------------------------------------------------------------------------


def test_of_two_parameters_of_one_name_the_later_says_where_it_is() -> None:
    body = {"mode": "urlencoded", "urlencoded": [{"key": "id", "value": "3"}]}
    operation = _operation({"method": "POST", "url": "https://a.example/:id?id=2", "body": body})
    assert list(operation.parameters["x-order"]) == ["id", "query.id", "body.id"]
    assert operation.parameters["required"] == ["id"]


@pytest.mark.parametrize(
    ("raw", "properties"),
    [
        ('{"a": 1, "b": [true], "c": null}',
         {"a": {"type": "integer", "example": 1}, "b": {"type": "array", "items": {"type": "boolean", "example": True}},
          "c": {}}),
        ('{"a": {{a}}, "b": "{{b}}", "c": "<integer>"}', {"a": {}, "b": {"type": "string"}, "c": {"type": "integer"}}),
        ('[{"a": 1.5}]', {"body": {"type": "array", "items": {"type": "object", "properties": {
            "a": {"type": "number", "example": 1.5}}}}}),
        ("<xml/>", {"body": {"type": "string"}}),
        ("", {}),
    ],
)  # fmt: skip
def test_raw_bodies(raw: str, properties: dict[str, Any]) -> None:
    operation = _operation({"method": "POST", "url": "/a", "body": {"mode": "raw", "raw": raw}})
    assert operation.parameters["properties"] == properties


def test_only_a_request_that_says_all_it_passes_is_an_example() -> None:
    body = {"mode": "raw", "raw": '{"a": 1, "b": "{{b}}"}'}
    assert _operation({"method": "POST", "url": "/a", "body": body}).examples == ()
    body = {"mode": "raw", "raw": '{"a": 1, "b": "x"}'}
    (example,) = _operation({"method": "POST", "url": "/a?c={{c}}", "body": body}).examples
    assert (example.description, example.input, example.output) == ("r", '{"a":1,"b":"x"}', "")


@pytest.mark.parametrize(
    ("auth", "said"),
    [
        ({"type": "basic"}, "basic"),
        ({"type": "noauth"}, "none"),
        ({"type": "apikey", "apikey": [{"key": "key", "value": "k"}, {"key": "in", "value": "query"}]},
         "apikey in query k"),
        ({"type": "apikey", "apikey": {"key": "k"}}, "apikey in header k"),
        ({"type": 3}, ""),
        (None, "bearer"),
    ],
)  # fmt: skip
def test_auth_of_a_request_counts_before_that_of_its_collection(auth: Any, said: str) -> None:
    assert _operation({"url": "/a", "auth": auth}, auth={"type": "bearer"}).auth == said


def test_requests_of_one_method_and_path_are_one_operation() -> None:
    first = {
        "url": "/a/:x",
        "description": "Does it.",
        "header": [{"key": "X-One", "value": "1", "description": "(Required) Yes."}],
    }
    second = {"url": "/a/:other?two=2", "description": "Does it otherwise."}
    (operation,), _ = _read(_collection({"name": "r", "request": first}, {"name": "s", "request": second}))
    assert operation.name == "GET /a/{x}"
    assert operation.description == "Does it.\n\nDoes it otherwise."
    assert operation.parameters["x-order"] == ["x", "X-One", "two"]
    assert operation.parameters["required"] == ["x"]


# --- files --------------------------------------------------------------------------------------------------------


def test_files_become_items(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "a.json.gz").write_bytes(
        gzip.compress(orjson.dumps(_collection({"name": "r", "request": "/a"})), mtime=0)
    )
    (tmp_path / "b.json.gz").write_bytes(gzip.compress((GOLDEN / "shop.json").read_bytes(), mtime=0)[:-50])
    options = {"paths": [f"{tmp_path}/*"], "provider": "shop.example", "public_uri": "https://shop.example/"}
    source = SourceSettings(type="postman", license="MIT", options=options)
    operation, cut = (row for item in list_items("shop", source, settings) for row in read_item(item, source, settings))
    assert isinstance(operation, ApiEntity)
    assert (operation.entity_key, operation.license) == ("shop.example/C/GET /a", "MIT")
    assert operation.source_uri == "https://shop.example/a.json.gz#GET /a"
    assert isinstance(cut, Decision)
    assert cut.reason == "truncated_container"


@pytest.mark.parametrize(
    ("content", "reason", "said"),
    [
        (b"{", "malformed_spec", "line 1 column"),
        (b"[]", "malformed_spec", "an object is expected"),
        (b"{}", "malformed_spec", "neither item nor requests"),
        (b'{"info":{"name":"x"},"item":[]}', "no_operations", ""),
        (b'{"collection":{"item":[{"name":"folder","item":[3,[],{}]}]}}', "no_operations", ""),
        (b'{"item":' * 10_000, "malformed_spec", "no JSON"),
        (b'{"item":[NaN]}', "malformed_spec", "line 1 column"),
        (b"", "malformed_spec", "no JSON"),
    ],
)  # fmt: skip
def test_what_is_no_collection_is_one_decision(content: bytes, reason: str, said: str) -> None:
    found, decisions = _read(content)
    assert found == []
    assert [(row.item_id, row.step, row.reason) for row in decisions] == [("a.json", "parse_apis", reason)]
    assert decisions[0].detail.startswith("a.json: ")
    assert said in decisions[0].detail


def test_byte_order_marks_utf16_and_repeated_keys() -> None:
    text = '{"item":[{"request":"/a"}]}'
    for content in (codecs.BOM_UTF8 + text.encode(), text.encode("utf-16")):
        assert [operation.name for operation in _read(content)[0]] == ["GET /a"]
    found, decisions = _read(b'{"item":[{"request":"/a","request":"/b"}]}')
    assert [operation.name for operation in found] == ["GET /b"]
    assert [row.reason for row in decisions] == ["duplicate_keys"]


@pytest.mark.parametrize(
    "document",
    [
        _collection(*({"request": f"/a/{n}"} for n in range(60_000))),
        _collection(*({"request": "/a", "name": "n" * 100} for _ in range(60_000))),
        _collection({"request": {"url": "/a", "body": {"mode": "raw", "raw": "{{" * 400_000}}}),
        _collection({"request": {"url": "/a", "body": {"mode": "raw", "raw": "[" * 900 + "]" * 900}}}),
        _collection({"request": {"url": "{{a" * 1000}}, variable=[{"key": "a", "value": "{{a}}{{a}}"}] * 1000),
        _collection({"request": {"url": "/a", "body": {"mode": "graphql", "graphql": {"query": "{a" * 100_000}}}}),
    ],
)  # fmt: skip
def test_large_and_deep_input_takes_bounded_time(document: dict[str, Any]) -> None:
    start = time.process_time()
    found, decisions = _read(document)
    assert time.process_time() - start < 10
    assert found or decisions
    for operation in found[:3]:
        operation.row("night")


KEYS = ["item", "request", "url", "raw", "host", "path", "query", "variable", "header", "body", "mode", "urlencoded",
        "key", "value", "description", "content", "auth", "type", "response", "code", "originalRequest", "info", "name",
        "graphql", "variables", "method", "requests", "data", "dataMode", "responses", "version", "formdata",
        "apikey"]  # fmt: skip
WORDS = st.sampled_from(
    ["raw", "graphql", "formdata", "urlencoded", "{{a}}", "https://a.example/:b?c=d", "<integer>", "[1,{}]", "\x00"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=25,
)


@given(JSON)
def test_no_types_of_values_raise(value: Any) -> None:
    request = value if isinstance(value, dict) else {"body": value, "url": value, "header": value, "auth": value}
    documents = (
        value,
        {"item": value},
        {"requests": [value]},
        _collection({"request": {"url": "/a", **request}, "response": [value]}),
    )
    for document in documents:
        for row in entities(json.dumps(document).encode(), ABOUT):
            row.row("night")


@given(st.data())
def test_no_mutation_raises(data: st.DataObject) -> None:
    content = (GOLDEN / data.draw(st.sampled_from(["shop.json", "version_1.json"]))).read_bytes()
    start = data.draw(st.integers(0, len(content)))
    stop = data.draw(st.integers(start, min(len(content), start + 300)))
    inserted = data.draw(
        st.sampled_from([b"", content[start:stop] * 2, b"[" * 50, b"NaN", b"\x00", b'"', b"{}", b"null", b"\xff"])
    )
    for row in entities(content[:start] + inserted + content[stop:], ABOUT):
        row.row("night")


@given(st.binary(max_size=200))
def test_no_bytes_raise(content: bytes) -> None:
    assert all(isinstance(row, Decision) for row in entities(content, ABOUT))


# --- counts -------------------------------------------------------------------------------------------------------

METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH"])
REQUESTS = st.builds(
    lambda method, path: {"name": "r", "request": {"method": method, "url": f"https://api.example.com/{path}"}},
    METHODS, st.integers(0, 50),
)  # fmt: skip
FOLDERS = st.recursive(
    REQUESTS,
    lambda inner: st.builds(lambda items: {"name": "f", "item": items}, st.lists(inner, max_size=5)),
    max_leaves=40,
)


def _requests(value: Any) -> Iterator[tuple[str, str]]:
    """Method and path of every request, by a walk over the raw JSON."""
    if isinstance(value, dict):
        if "method" in value:
            yield value["method"], value["url"].removeprefix("https://api.example.com")
        for inner in value.values():
            yield from _requests(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _requests(inner)


@given(st.lists(FOLDERS, max_size=8))
def test_every_request_is_found_once_in_order(items: list[Any]) -> None:
    found, decisions = _read(_collection(*items))
    assert [operation.name for operation in found] == list(
        dict.fromkeys(f"{method} {path}" for method, path in _requests(items))
    )
    assert [row.reason for row in decisions] == ([] if found else ["no_operations"])
