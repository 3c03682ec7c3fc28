"""OpenAPI and Swagger files."""

from __future__ import annotations

import json
import time

import orjson
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from forge.apis.openapi import read_openapi
from forge.apis.yaml_documents import load_yaml
from forge.schema import ApiEntity, Decision

PETS = """
openapi: 3.0.3
info: {title: Pet Store, version: 1.2.0, license: {name: Apache 2.0}}
servers: [{url: "https://api.example.com/v1"}]
security: [{api_key: []}]
paths:
  /pets/{petId}:
    parameters:
      - {name: petId, in: path, required: true, schema: {type: integer}, description: The pet., example: 7}
    get:
      summary: Find a pet by its number
      parameters:
        - {name: verbose, in: query, schema: {type: boolean, default: false}}
      responses:
        200:
          description: The pet
          content:
            application/json:
              schema: {$ref: "#/components/schemas/Pet"}
              example: {id: 7, name: Rex, born: 2020-01-01}
        404: {description: No such pet}
    put:
      description: Replace a pet. All fields are needed.
      security: []
      requestBody:
        required: true
        content: {application/json: {schema: {$ref: "#/components/schemas/Pet"}, example: {name: Max}}}
      responses: {"204": {description: Done}, default: {$ref: "#/components/responses/Bad"}}
  /pets:
    get: {responses: {"200": {$ref: "#/paths/~1pets~1%7BpetId%7D/get/responses/200"}}}
  /broken: {get: {parameters: [{$ref: "#/nowhere"}], responses: {}}}
components:
  responses: {Bad: {description: It went wrong}}
  schemas:
    Pet:
      type: object
      required: [name]
      properties:
        name: {type: string, description: Its name}
        parent: {$ref: "#/components/schemas/Pet"}
"""

SWAGGER = {
    "swagger": "2.0",
    "info": {"title": "Old/Store", "version": "1"},
    "host": "old.example.com",
    "paths": {
        "/orders": {
            "post": {
                "summary": "Order",
                "parameters": [
                    {"name": "dry", "in": "query", "type": "boolean", "description": "Do nothing."},
                    {"name": "order", "in": "body", "required": True, "schema": {"$ref": "#/definitions/Order"}},
                ],
                "responses": {"201": {"description": "Made", "schema": {"$ref": "#/definitions/Order"}}},
            }
        }
    },
    "definitions": {"Order": {"type": "object", "required": ["sku"], "properties": {"sku": {"type": "string"}}}},
}


def _read(data: bytes, license: str | None = None) -> tuple[dict[str, ApiEntity], list[Decision]]:  # noqa: A002
    rows = list(read_openapi(data, source="mine", item_id="pets.yaml", license=license))
    entities = {row.name: row for row in rows if isinstance(row, ApiEntity)}
    return entities, [row for row in rows if isinstance(row, Decision)]


def test_operations_of_a_yaml_specification() -> None:
    entities, decisions = _read(PETS.encode())
    assert sorted(entities) == ["GET /pets", "GET /pets/{petId}", "PUT /pets/{petId}"]
    assert [(entry.item_id, entry.reason) for entry in decisions] == [("pets.yaml#GET /broken", "malformed_operation")]

    get = entities["GET /pets/{petId}"]
    assert get.entity_key == "api.example.com/Pet Store/GET /pets/{petId}"
    assert (get.version, get.license, get.auth) == ("1.2.0", "Apache-2.0", "api_key")
    assert get.parameters == {
        "type": "object",
        "properties": {
            "petId": {"type": "integer", "description": "The pet."},
            "verbose": {"type": "boolean", "default": False, "x-in": "query"},
        },
        "required": ["petId"],
    }
    assert get.returns["properties"]["name"] == {"type": "string", "description": "Its name"}
    assert [(error.name, error.description) for error in get.errors] == [("404", "No such pet")]
    assert orjson.loads(get.examples[0].output) == {"id": 7, "name": "Rex", "born": "2020-01-01"}

    put = entities["PUT /pets/{petId}"]
    assert put.summary == "Replace a pet."
    assert put.auth == "none"
    assert put.parameters["required"] == ["petId", "name"]
    assert orjson.loads(put.examples[0].input) == {"name": "Max", "petId": 7}
    assert entities["GET /pets"].returns == get.returns


def test_swagger_2_and_a_license_of_the_source() -> None:
    entities, decisions = _read(orjson.dumps(SWAGGER), license="MIT")
    assert decisions == []
    order = entities["POST /orders"]
    assert order.entity_key == "old.example.com/Old-Store/POST /orders"
    assert order.license == "MIT"
    assert sorted(order.parameters["properties"]) == ["dry", "sku"]
    assert order.parameters["required"] == ["sku"]
    assert order.returns["properties"] == {"sku": {"type": "string"}}


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join(['*' + before] * 9)}]\n"
    for before, after in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[]", b"just words", b"\xff\xfe\x00", b"openapi: 4.0.0\npaths: {}", b"openapi: 3.0.0\npaths: 7",
        b'{"swagger": "2.0", "info": 3, "paths": {}}', b"a: &a [*a]", b"[" * 100_000, b"- " * 5_000, BOMB.encode(),
        b'!!python/object/apply:os.system ["true"]', b"openapi: 3.0.0\ninfo: {$ref: '#/x'}", b"? {a: b}\n: c",
    ],
)  # fmt: skip
def test_a_file_that_is_no_specification_is_one_decision(data: bytes) -> None:
    started = time.monotonic()
    entities, decisions = _read(data)
    assert entities == {}
    assert [entry.reason for entry in decisions] == ["malformed_spec"]
    assert time.monotonic() - started < 5


def test_a_specification_without_operations_says_so() -> None:
    assert [entry.reason for entry in _read(b"openapi: 3.1.0\ninfo: {title: t}\npaths: {}")[1]] == ["no_operations"]


def test_yaml_keeps_dates_as_text() -> None:
    assert load_yaml(b"on: 2020-01-01") == {True: "2020-01-01"}


SCRAPS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["get", "parameters", "schema", "$ref", "name", "in", "responses", "200", "content", "application/json",
             "requestBody", "allOf", "properties", "items", "description", "type", "enum", "example", "examples",
             "required", "security", "default", "value", "oneOf"]
        ),
        inner | st.sampled_from(["#/paths", "#/paths/~1a/get", "body", "query", "object"]),
        max_size=4,
    ),
    max_leaves=25,
)  # fmt: skip


@given(SCRAPS, SCRAPS)
def test_no_specification_raises(path: object, information: object) -> None:
    document = {
        "openapi": "3.1.0",
        "info": information,
        "paths": {"/a": path},
        "servers": information,
        "security": path,
    }
    for row in read_openapi(json.dumps(document).encode(), source="s", item_id="i"):
        if isinstance(row, ApiEntity):
            row.row("night")
        else:
            assert row.step == "parse_apis"


@given(st.binary(max_size=200))
def test_no_bytes_raise(data: bytes) -> None:
    assert all(isinstance(row, Decision) for row in read_openapi(data, source="s", item_id="i"))


def test_yaml_round_trip() -> None:
    assert load_yaml(yaml.safe_dump({"a": [1, {"b": None}], "c": "x: y"}).encode()) == {
        "a": [1, {"b": None}],
        "c": "x: y",
    }
