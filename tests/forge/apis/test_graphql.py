"""GraphQL schemas: a golden file, SDL against introspection, counts by graphql-core, hostile input."""

from __future__ import annotations

import codecs
import gzip
import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from graphql import GraphQLSchema, build_client_schema, build_schema, introspection_from_schema, is_required_argument
from hypothesis import given
from hypothesis import strategies as st

from forge.apis.graphql import About, entities, list_items, read_item
from forge.config import Settings, SourceSettings, load_settings
from forge.schema import ApiEntity, Decision

GOLDEN = Path(__file__).parent / "golden" / "graphql" / "library.graphql"
ABOUT = About("golden", "library.graphql", "library.graphql", "golden", "library", "1", "MIT")


def _read(content: bytes | str) -> tuple[dict[str, ApiEntity], list[Decision]]:
    rows = list(entities(content.encode() if isinstance(content, str) else content, ABOUT))
    found = {row.name: row for row in rows if isinstance(row, ApiEntity)}
    assert len(found) == sum(isinstance(row, ApiEntity) for row in rows)
    return found, [row for row in rows if isinstance(row, Decision)]


def _operation(sdl: str) -> ApiEntity:
    found, decisions = _read(sdl)
    assert decisions == []
    return found["query a"]


def test_golden() -> None:
    found = []
    for row in entities(GOLDEN.read_bytes(), ABOUT):
        assert isinstance(row, ApiEntity)
        fields = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(row).items()}
        told = {key: value for key, value in fields.items() if value and key not in {"source", "item_id"}}
        found.append({"entity_key": row.entity_key, **told})
    assert found == yaml.safe_load(GOLDEN.with_suffix(".expected.yaml").read_text())


def test_introspection_gives_what_sdl_gives() -> None:
    schema = build_schema(GOLDEN.read_text())
    answer = orjson.dumps({"data": introspection_from_schema(schema, input_value_deprecation=True)})
    found, decisions = _read(answer)
    assert decisions == []
    expected, _ = _read(GOLDEN.read_bytes())
    for name, operation in expected.items():
        ours = found[name]  # graphql-core writes defaults with other spaces
        assert replace(ours, declaration="") == replace(operation, declaration="")
        assert ours.declaration.replace(" ", "") == operation.declaration.replace(" ", "")
    assert list(found) == list(expected)


@pytest.mark.parametrize(
    ("sdl", "names"),
    [
        ("type Query { a: Int }", ["query a"]),
        ("extend type Query { a: Int } type Mutation { b: Int }", ["query a", "mutation b"]),
        ("schema { query: Q } type Q { a: Int } type Mutation { no: Int } type Subscription { no: Int }", ["query a"]),
        ("extend schema { mutation: M } type M { a: Unknown } type Query { b(x: Missing!): [Missing] }",
         ["query b", "mutation a"]),
        ("type Query { a: Int } type Query { a: String b: Int }", ["query a", "query b"]),
        ("type Query @key(fields: \"id\") { a: Int @shareable }", ["query a"]),
    ],
)  # fmt: skip
def test_where_operations_are(sdl: str, names: list[str]) -> None:
    assert list(_read(sdl)[0]) == names


def test_a_type_that_stands_elsewhere_is_known_by_its_name() -> None:
    operation = _operation("type Query { a(x: [Missing!]!): Other }")
    stated = {"x-type": "[Missing!]!", "type": "array", "items": {"x-type": "Missing"}}
    assert operation.parameters == {"type": "object", "properties": {"x": stated}, "required": ["x"]}
    assert operation.returns == {}


def test_what_is_required_and_defaults() -> None:
    operation = _operation(
        "type Query { a(x: Int!, y: Int! = 1, z: String = null, huge: Int = 99999999999999999999): Int }"
    )
    properties = operation.parameters["properties"]
    assert operation.parameters["required"] == ["x"]
    assert (properties["y"]["default"], properties["z"]["default"]) == (1, None)
    assert "default" not in properties["huge"]
    operation.row("night")


def test_a_long_interface_is_declared_over_lines() -> None:
    operation = _operation(f"type Query {{ a({', '.join(f'argument{n}: Int' for n in range(9))}): Int }}")
    assert operation.declaration.startswith("a(\n  argument0: Int\n")
    assert operation.declaration.endswith("\n): Int")


def test_expansion_is_bounded_and_keeps_the_first_level() -> None:
    levels = " ".join(
        f"type T{n} {{ {' '.join(f'f{m}: T{n + 1}' for m in range(300 if n == 0 else 20))} }}" for n in range(8)
    )
    operation = _operation(f"type Query {{ a: T0 }} {levels} type T8 {{ f: Int }}")
    assert len(operation.returns["properties"]) == 300
    assert len(orjson.dumps(operation.returns)) < 30_000


# --- files --------------------------------------------------------------------------------------------------------


def test_files_become_items(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "shop.graphqls.gz").write_bytes(gzip.compress(b"type Query { a: Int }", mtime=0))
    (tmp_path / "cut.graphql.gz").write_bytes(gzip.compress(GOLDEN.read_bytes(), mtime=0)[:-20])
    options = {
        "paths": [f"{tmp_path}/*"],
        "provider": "shop.example",
        "version": "2",
        "public_uri": "https://shop.example/",
    }
    source = SourceSettings(type="graphql", license="MIT", options=options)
    rows = [row for item in list_items("shop", source, settings) for row in read_item(item, source, settings)]
    cut, operation = rows
    assert isinstance(cut, Decision)
    assert cut.reason == "truncated_container"
    assert isinstance(operation, ApiEntity)
    assert operation.entity_key == "shop.example/shop/query a"
    assert (operation.version, operation.license) == ("2", "MIT")
    assert operation.source_uri == "https://shop.example/shop.graphqls.gz#query a"


@pytest.mark.parametrize(
    ("content", "reason", "said"),
    [
        (b"type Query {\n  a: Int\n  b\n}", "malformed_spec", "line 4 column 1"),
        (b"type Book { a: Int }", "no_operations", "no query"),
        (b"query Named { a { b } }", "no_operations", "no query"),
        (b'{"data": {"__schema": {}}}', "malformed_spec", "__schema.types"),
        (b'{"data": {"__schema": ', "malformed_spec", "line 1 column"),
        (b"", "malformed_spec", "line 1 column 1"),
        (b"type Query { a: " + b"[" * 10_000 + b"Int" + b"]" * 10_000 + b"}", "malformed_spec", "deep"),
        (b"type Query { a(x: Int = " + b"{x:" * 10_000 + b"1" + b"}" * 10_000 + b"): Int }", "malformed_spec", "deep"),
        (b"{" + b'"a":{' * 10_000, "malformed_spec", "no JSON"),
        (b'{"data":NaN}', "malformed_spec", "no JSON"),
        (b"\x00\x01\x02" * 50, "unknown_encoding", ""),
        (b"#" + b"x" * 9_000_000, "malformed_spec", "bytes of SDL"),
        (b"type Query { " + b"a: Int " * 110_000 + b"}", "malformed_spec", "tokens"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_decision(content: bytes, reason: str, said: str) -> None:
    found, decisions = _read(content)
    assert found == {}
    assert [(row.item_id, row.step, row.reason) for row in decisions] == [("library.graphql", "parse_apis", reason)]
    assert decisions[0].detail.startswith("library.graphql: ")
    assert said in decisions[0].detail


def test_byte_order_marks_and_utf16() -> None:
    for content in (codecs.BOM_UTF8 + b"type Query { a: Int }", "type Query { a: Int }".encode("utf-16")):
        assert list(_read(content)[0]) == ["query a"]


def test_wide_schemas_take_bounded_time() -> None:
    operations, fields = (" ".join(f"f{n}: T" for n in range(count)) for count in (40_000, 500))
    sdl = f"type Query {{ {operations} }} type T {{ {fields} }}"
    start = time.process_time()
    found, decisions = _read(sdl)
    assert time.process_time() - start < 10
    assert found
    assert [row.reason for row in decisions] == ["too_large"]


NAMES = st.sampled_from(["__schema", "data", "types", "queryType", "name", "kind", "fields", "args", "type", "ofType",
                         "defaultValue", "inputFields", "enumValues", "possibleTypes", "description",
                         "isDeprecated"])  # fmt: skip
WORDS = st.sampled_from(["Query", "LIST", "NON_NULL", "UNION", "OBJECT", "{a: 1}", "[[", "1e999", "__x", "\x00"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=20,
)


@given(JSON)
def test_no_types_of_values_raise(value: Any) -> None:
    schema = {
        "queryType": {"name": "Query"},
        "types": [{"name": "Query", "fields": [{"name": "a", **_as_object(value)}]}, value],
    }
    for document in (value, {"__schema": value}, {"__schema": schema}):
        for row in entities(json.dumps(document).encode(), ABOUT):
            row.row("night")


def _as_object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {"type": value, "args": [value], "description": value}


@given(st.data())
def test_no_mutation_raises(data: st.DataObject) -> None:
    content = GOLDEN.read_bytes()
    start = data.draw(st.integers(0, len(content)))
    stop = data.draw(st.integers(start, min(len(content), start + 300)))
    inserted = data.draw(
        st.sampled_from(
            [
                b"",
                content[start:stop] * 2,
                b"[" * 50,
                b'"""',
                b"\x00",
                b'"',
                b"{",
                b"@a(b: 1e9999)",
                b"\xff",
                b"extend ",
            ]
        )
    )
    for row in entities(content[:start] + inserted + content[stop:], ABOUT):
        row.row("night")


@given(st.binary(max_size=200))
def test_no_bytes_raise(content: bytes) -> None:
    assert all(isinstance(row, Decision) for row in entities(content, ABOUT))


# --- against graphql-core -----------------------------------------------------------------------------------------


def _counted(schema: GraphQLSchema) -> dict[str, tuple[list[str], list[str]]]:
    """Arguments and required arguments of every field of the root types, as graphql-core sees them."""
    roots = {"query": schema.query_type, "mutation": schema.mutation_type, "subscription": schema.subscription_type}
    return {
        f"{root} {name}": (
            list(field.args),
            [argument for argument, stated in field.args.items() if is_required_argument(stated)],
        )
        for root, definition in roots.items()
        if definition is not None
        for name, field in definition.fields.items()
    }


def _ours(found: dict[str, ApiEntity]) -> dict[str, tuple[list[str], list[str]]]:
    return {
        name: (list(operation.parameters["properties"]), list(operation.parameters.get("required", ())))
        for name, operation in found.items()
    }


def test_operations_of_the_golden_file_are_those_of_graphql_core() -> None:
    assert _ours(_read(GOLDEN.read_bytes())[0]) == _counted(build_schema(GOLDEN.read_text()))


@pytest.mark.parametrize("name", ["schema.graphql", "schema.json"])
def test_operations_of_github_are_those_of_graphql_core(name: str) -> None:
    """The npm package @octokit/graphql-schema, where it is an artifact: 278 operations as SDL, 272 as JSON."""
    folder = load_settings("full", environment={}).home_path / "artifacts" / "octokit_graphql"
    path = next(iter(sorted(folder.rglob(name))), None)
    if path is None:
        pytest.skip("the artifact octokit_graphql is not unpacked")
    content = path.read_bytes()
    schema = (
        build_client_schema(orjson.loads(content))
        if name.endswith("json")
        else build_schema(content.decode(), assume_valid_sdl=True)
    )
    found, decisions = _read(content)
    assert decisions == []
    assert _ours(found) == _counted(schema)
    assert len(found) > 200
