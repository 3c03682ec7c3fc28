"""OpenAPI and Swagger documents."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from forge.apis.openapi import Origin, read_openapi
from forge.schema import ApiEntity, Decision

GOLDEN = Path(__file__).parent / "golden" / "openapi"


def _rows(data: bytes, **origin: Any) -> list[ApiEntity | Decision]:
    return list(read_openapi(data, Origin("mine", "pets.yaml", **origin)))


def _read(document: Any, **origin: Any) -> tuple[dict[str, ApiEntity], list[Decision]]:
    data = document if isinstance(document, bytes) else orjson.dumps(document)
    rows = _rows(data, **origin)
    entities = {row.name: row for row in rows if isinstance(row, ApiEntity)}
    return entities, [row for row in rows if isinstance(row, Decision)]


def _specification(operation: Any, path: str = "/a", **more: Any) -> dict[str, Any]:
    return {"openapi": "3.0.0", "info": {"title": "t", "version": "1"}, "paths": {path: {"get": operation}}, **more}


def _operation(operation: Any, **more: Any) -> ApiEntity:
    entities, decisions = _read(_specification(operation, **more))
    assert decisions == []
    return entities["GET /a"]


@pytest.mark.parametrize("name", ["library.yaml", "orders.json"])
def test_golden(name: str) -> None:
    """library.yaml: OpenAPI 3.1 with references, examples, security. orders.json: Swagger 2.0."""
    expected = yaml.safe_load((GOLDEN / name).with_suffix(".expected.yaml").read_text())
    rows = list(read_openapi((GOLDEN / name).read_bytes(), Origin("golden", name)))
    found = []
    for row in rows:
        assert isinstance(row, ApiEntity)
        found.append({"entity_key": row.entity_key, **_stated(row)})
    assert found == expected


def _stated(row: ApiEntity) -> dict[str, Any]:
    fields = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(row).items()}
    return {key: value for key, value in fields.items() if value and key not in {"source", "item_id"}}


# --- interface ----------------------------------------------------------------------------------------------------


def test_parameters_of_an_operation_replace_those_of_its_path() -> None:
    paths = {
        "/a/{x}": {
            "parameters": [
                {"name": "x", "in": "path", "schema": {"type": "string"}},
                {"name": "y", "in": "query", "description": "Of the path."},
                {"name": "x", "in": "header"},
            ],
            "get": {"parameters": [{"name": "y", "in": "query", "description": "Of the operation.", "required": True}]},
        }
    }
    entities, _ = _read(_specification({}) | {"paths": paths})
    assert entities["GET /a/{x}"].parameters == {
        "type": "object",
        "properties": {
            "x": {"type": "string"},
            "y": {"description": "Of the operation.", "x-in": "query"},
            "header.x": {"x-in": "header"},
        },
        "required": ["x", "y"],
        "x-order": ["x", "y", "header.x"],
    }


def _body(schema: Any, **more: Any) -> dict[str, Any]:
    return {"requestBody": {"content": {"application/json": {"schema": schema}}, **more}}


def test_fields_of_an_object_body_stand_beside_the_parameters() -> None:
    schema = {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}, "x": {}}}
    for more, required in (({}, ["id"]), ({"required": True}, ["id"]), ({"required": False}, None)):
        parameters = _operation(_body(schema, **more)).parameters
        assert parameters["properties"] == {"id": {"type": "integer"}, "x": {}}
        assert parameters.get("required") == required


def test_any_other_body_is_one_parameter() -> None:
    schema = {"type": "array", "items": {"type": "string"}}
    for more, required in (({}, None), ({"required": True, "description": "All."}, ["body"])):
        parameters = _operation(_body(schema, **more)).parameters
        assert parameters["properties"]["body"]["items"] == {"type": "string"}
        assert parameters.get("required") == required


def test_a_body_that_is_no_json_names_its_media_type() -> None:
    body = {"requestBody": {"content": {"text/csv": {"schema": {"type": "string"}}}}}
    assert _operation(body).parameters["x-media-type"] == "text/csv"


def test_the_first_success_is_returned_and_failures_are_errors() -> None:
    responses = {
        "404": {"description": "Not found"},
        "201": {"description": "Made"},
        "200": {"description": "OK", "content": {"application/json": {"schema": {"type": "string"}}}},
        "302": {"description": "Elsewhere"},
        "5XX": {"$ref": "#/nowhere"},
        "default": {"description": "Else"},
    }
    entity = _operation({"responses": responses})
    assert entity.returns == {"type": "string", "description": "OK"}
    assert [error.name for error in entity.errors] == ["404", "default"]


@pytest.mark.parametrize(
    ("requests", "responses", "expected"),
    [
        ({"a": 1, "b": 2}, {"b": 20, "a": 10}, [("1", "10"), ("2", "20")]),
        ({"a": 1}, {"z": 10}, [("1", "10")]),
        ({"a": 1, "b": 2}, {"z": 10}, [("1", ""), ("2", "")]),
        ({}, {"z": 10, "y": 20}, [("", "10"), ("", "20")]),
    ],
)
def test_requests_and_responses_of_one_name_are_one_example(
    requests: dict[str, int], responses: dict[str, int], expected: list[tuple[str, str]]
) -> None:
    def shown(values: dict[str, int]) -> dict[str, Any]:
        return {"application/json": {"examples": {name: {"value": {"n": value}} for name, value in values.items()}}}

    schema = {"schema": {"type": "object", "properties": {"n": {}}}}
    given = shown(requests)
    given["application/json"] |= schema
    entity = _operation({"requestBody": {"content": given}, "responses": {"200": {"content": shown(responses)}}})

    def number(text: str) -> str:
        return str(orjson.loads(text)["n"]) if text else ""

    assert [(number(example.input), number(example.output)) for example in entity.examples] == expected


def test_examples_of_all_required_parameters_make_a_request() -> None:
    parameters = [
        {"name": "a", "in": "query", "required": True, "example": 1},
        {"name": "b", "in": "query", "schema": {"example": [2]}},
        {"name": "c", "in": "query"},
    ]
    entity = _operation({"parameters": parameters})
    assert [example.input for example in entity.examples] == ['{"a":1,"b":[2]}']
    parameters[2]["required"] = True
    assert _operation({"parameters": parameters}).examples == ()


@pytest.mark.parametrize(
    ("security", "expected"),
    [
        ([{"key": []}, {"login": ["a"]}, {"login": ["b"]}], "key (apiKey in query k) or login (oauth2)"),
        ([{"key": [], "login": []}, {}], "key (apiKey in query k) and login (oauth2) or none"),
        ([{"unknown": []}], "unknown"),
        ([], "none"),
        ("wrong", ""),
    ],
)
def test_security_schemes_are_named_with_their_types(security: Any, expected: str) -> None:
    schemes = {"key": {"type": "apiKey", "in": "query", "name": "k"}, "login": {"type": "oauth2"}, "odd": 3}
    entity = _operation({"security": security}, components={"securitySchemes": schemes})
    assert entity.auth == expected


def test_the_address_is_that_of_the_nearest_server() -> None:
    servers = [{"url": "https://x.example/v1/"}]
    assert _operation({}, servers=servers).declaration == "GET https://x.example/v1/a"
    assert _operation({"servers": [{"url": "/other"}]}, servers=servers).declaration == "GET /other/a"
    assert _operation({}).declaration == ""


def test_a_license_is_read_from_its_identifier_name_or_address() -> None:
    def license_of(stated: Any) -> str:
        return _operation({}, info={"title": "t", "license": stated}).license

    assert license_of({"identifier": "BSD-3-Clause", "name": "whatever"}) == "BSD-3-Clause"
    assert license_of({"name": "Apache 2.0 License"}) == "Apache-2.0"
    assert license_of({"name": "CC", "url": "https://creativecommons.org/licenses/by-nc/4.0/"}) == "CC-BY-NC-4.0"
    assert license_of({"name": "Terms of Use"}) == license_of("MIT") == license_of(None) == ""
    entities, _ = _read(_specification({}, info={"license": {"name": "MIT"}}), license="ISC")
    assert entities["GET /a"].license == "ISC"


def test_html_and_control_characters_of_descriptions_go() -> None:
    described = {
        "<p>One <code>x</code>.</p><ul><li>a</li></ul>": "One `x`.\n\n- a",
        "# Head\n\n- a<br/>b\n- c &lt;d&gt; <b>e</b>": "# Head\n\n- a\nb\n- c <d> e",
        "a < b and c > d": "a < b and c > d",
        "bell\x07 \u2028end": "bell   end",
    }
    for stated, expected in described.items():
        assert _operation({"description": stated}).description == expected


def test_paths_by_hash_are_every_path_once() -> None:
    document = _specification({}) | {"paths": {f"/{number}": {"get": {}, "put": {}} for number in range(40)}}
    parts = [_read(document, part=part, parts=3)[0] for part in range(3)]
    assert all(parts)
    assert sum(map(len, parts)) == 80
    assert set().union(*parts) == set(_read(document)[0])


# --- bad input ----------------------------------------------------------------------------------------------------

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join(['*' + before] * 9)}]\n"
    for before, after in zip("abcdefghi", "bcdefghij", strict=True)
)
GOOD = orjson.dumps(_specification({"summary": "Good."}))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "NoneType"), (b"{", "line 1 column 2"), (b"[]", "list"), (b"just words", "str"),
        (b"\xff\xfe\x00", "UTF-16"), (b"openapi: 4.0.0\npaths: {}", "neither"),
        (b"openapi: 3.0.0\npaths: 7", "'paths'"),
        (b'{"swagger": "2.0", "info": 3, "paths": {}}', "'info'"), (b"a: &a [*a]", "line 1, column 8"),
        (b"[" * 100_000, "column 1026"), (b"- " * 5_000, "levels (line 1"), (BOMB.encode(), "nodes (line 7"),
        (b'!!python/object/apply:os.system ["true"]', "tag"), (b"openapi: 3.0.0\ninfo: {$ref: '#/x'}", "#/x"),
        (b"? {a: b}\n: c", "line 1, column 3"), (GOOD.replace(b'"1"', b"NaN"), "column 50"), (GOOD[:-5], "column"),
        (b'{"openapi": "3.0.0", "x": "\\ud800"}', "surrogate"), (b"a: b: c", "column 5"),
        (GOOD.replace(b"Good", b"G\xff"), "UTF-8"), (b"a: 1\n---\nb: 2", "second YAML document"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_specification_is_one_decision(data: bytes, said: str) -> None:
    started = time.monotonic()
    (decision,) = _rows(data)
    assert isinstance(decision, Decision)
    assert (decision.item_id, decision.step) == ("pets.yaml", "parse_apis")
    assert decision.reason in {"malformed_spec", "no_operations"}
    assert decision.detail.startswith("pets.yaml")
    assert said in decision.detail
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"openapi": "3.0.0", "x": "' + b"x" * 200_000_000 + b'"}', "oversized"),
        (b'{"openapi": "3.0.0", "x": [' + b"{}," * 20_000_000 + b"1]}", "too_large"),
        (b'{"openapi": "3.0.0", "x": "' + b"<b>" * 20_000_000 + b'"}', "too_large"),
    ],
)
def test_what_would_take_too_much_is_refused_before_it_is_parsed(data: bytes, reason: str) -> None:
    started = time.process_time()
    (decision,) = _rows(data)
    assert isinstance(decision, Decision)
    assert decision.reason == reason
    assert decision.detail.startswith("pets.yaml: ")
    assert time.process_time() - started < 2


def test_a_small_file_that_states_a_huge_one_ends() -> None:
    properties = {f"p{number}": {"type": "string", "description": "d" * 3000} for number in range(1000)}
    operation = {"requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/A"}}}}}
    document = _specification({}, components={"schemas": {"A": {"properties": properties}}})
    document["paths"] = {f"/{number}": {"post": operation} for number in range(20_000)}
    started = time.process_time()
    rows = [
        row if isinstance(row, Decision) else None for row in read_openapi(orjson.dumps(document), Origin("s", "i"))
    ]
    assert time.process_time() - started < 10
    assert rows[-1] is not None
    assert rows[-1].reason == "too_large"
    assert 50 < len(rows) < 1000


def test_operations_beyond_all_measure_end() -> None:
    document = _specification({})
    document["paths"] = {f"/{number}": {"get": {}} for number in range(60_000)}
    rows = _rows(orjson.dumps(document))
    assert [row.reason for row in rows if isinstance(row, Decision)] == ["too_large"]
    assert len(rows) == 50_001


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.encode("utf-16"),
        lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
        lambda text: text.encode("utf-32"),
    ],
)
def test_byte_order_marks_are_understood(encode: Callable[[str], bytes]) -> None:
    for text in (GOOD.decode(), "openapi: 3.0.0\ninfo: {title: t}\npaths: {/a: {get: {summary: Good.}}}"):
        entities, decisions = _read(encode(text))
        assert decisions == []
        assert entities["GET /a"].summary == "Good."


def test_keys_that_stand_twice_are_told_with_their_place() -> None:
    spaced = b'{"openapi" : "3.0.0", "info": {}, "paths": {"/a": {"get": {}, "get" : {}}, "/b": {"get": {}}}}'
    entities, (decision,) = _read(spaced)
    assert set(entities) == {"GET /a", "GET /b"}
    assert (decision.item_id, decision.reason) == ("pets.yaml#keys", "duplicate_keys")
    assert "key 'get' stands twice in #/paths/~1a" in decision.detail
    entities, (decision,) = _read(b"openapi: 3.0.0\npaths:\n  /a: {get: {}}\n  /a: {put: {}}\n")
    assert set(entities) == {"PUT /a"}
    assert "key '/a' stands twice (line 4" in decision.detail
    text = b'{"openapi": "3.0.0", "info": {"title": "a \\": b\\\\"}, "paths": {"/a" : {"get"\n: {}}}}'
    assert _read(text)[1] == []


def test_one_bad_operation_never_loses_the_others() -> None:
    document = _specification({"summary": "Good."})
    document["paths"] |= {
        "/list": [],
        "/null": {"get": None},
        "/text": {"get": "x"},
        "/dangling": {"get": {"parameters": [{"$ref": "#/nowhere"}]}},
        "/circle": {"get": {"requestBody": {"$ref": "#/x-a"}}},
        "/remote": {"$ref": "https://elsewhere.example/a.json"},
        "/many": {"get": {"parameters": [{"name": f"p{n}", "in": "query"} for n in range(2000)]}},
        "x-extension": {"get": {}},
    }
    document["x-a"] = {"$ref": "#/x-a"}
    entities, decisions = _read(document)
    assert set(entities) == {"GET /a"}
    assert [(entry.item_id.removeprefix("pets.yaml#"), entry.reason) for entry in decisions] == [
        ("/list", "malformed_path"),
        ("GET /null", "malformed_operation"),
        ("GET /text", "malformed_operation"),
        ("GET /dangling", "malformed_operation"),
        ("GET /circle", "malformed_operation"),
        ("/remote", "malformed_path"),
        ("GET /many", "malformed_operation"),
    ]
    assert all(entry.detail.startswith("pets.yaml, ") for entry in decisions)


def test_a_specification_without_operations_says_so() -> None:
    assert [entry.reason for entry in _read(b"openapi: 3.1.0\ninfo: {title: t}\npaths: {}")[1]] == ["no_operations"]


@pytest.mark.parametrize("key", ["example", "default", "description", "enum", "x"])
def test_values_nested_up_to_the_limit_of_the_parser_are_left_out(key: str) -> None:
    deep: Any = "x"
    for _ in range(900):
        deep = [deep]
    data = json.dumps(_specification({"parameters": [{"name": "p", "in": "query", "schema": {key: deep}}]})).encode()
    for row in _rows(data):
        assert isinstance(row, ApiEntity)
        assert len(row.row("night")["parameters"]) < 200


def test_values_that_json_cannot_hold_do_not_break_rows() -> None:
    parameter = b"{name: p, in: query, example: .nan, schema: {default: .inf, maximum: 99999999999999999999}}"
    data = b"openapi: 3.0.0\npaths: {/a: {get: {parameters: [" + parameter + b"]}}}"
    (row,) = _rows(data)
    assert isinstance(row, ApiEntity)
    assert row.row("night")["examples"][0]["input"] == '{"p":".nan"}'


SCRAPS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["get", "parameters", "schema", "$ref", "name", "in", "responses", "200", "content", "application/json",
             "requestBody", "allOf", "properties", "items", "description", "type", "enum", "example", "examples",
             "required", "security", "default", "value", "oneOf", "title", "summary", "tags", "operationId", "servers",
             "url", "license", "x-providerName", "x-serviceName", "version", "consumes", "404", "deprecated"]
        ),
        inner | st.sampled_from(["#/paths", "#/paths/~1a/get", "body", "formData", "query", "object", "file"]),
        max_size=4,
    ),
    max_leaves=25,
)  # fmt: skip


@given(SCRAPS, SCRAPS)
def test_no_specification_raises(path: object, information: object) -> None:
    document = {
        "openapi": "3.1.0",
        "info": information,
        "paths": {"/a": path, "/b": {"get": path}},
        "servers": information,
        "security": path,
        "host": path,
        "consumes": information,
        "components": {"securitySchemes": information},
    }
    for row in _rows(json.dumps(document).encode()):
        if isinstance(row, ApiEntity):
            row.row("night")
        else:
            assert row.step == "parse_apis"


@given(st.data())
def test_no_mutation_of_a_real_shape_raises(data: st.DataObject) -> None:
    """Bytes of the golden files cut out, repeated or replaced."""
    content = (GOLDEN / data.draw(st.sampled_from(["library.yaml", "orders.json"]))).read_bytes()
    start = data.draw(st.integers(0, len(content)))
    stop = data.draw(st.integers(start, min(len(content), start + 300)))
    inserted = data.draw(
        st.sampled_from([b"", content[start:stop] * 2, b"[" * 50, b"NaN", b"\x00", b'"', b"&a *a ", b"{}"])
    )
    for row in _rows(content[:start] + inserted + content[stop:]):
        if isinstance(row, ApiEntity):
            row.row("night")
        else:
            assert row.detail.startswith("pets.yaml")


@given(st.binary(max_size=200))
def test_no_bytes_raise(data: bytes) -> None:
    assert all(isinstance(row, Decision) for row in _rows(data))
