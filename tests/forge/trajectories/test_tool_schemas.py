from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forge.trajectories import tool_schemas
from forge.trajectories.tool_schemas import PATTERN_OPTIONS, UnusableSchemaError, is_usable_pattern, safe_schema


def read(parameters: object) -> dict[str, Any]:
    found = safe_schema(parameters)
    assert found is not None
    return found.schema


def parameter(schema: object) -> Any:
    """What becomes of the schema of one parameter."""
    return read({"type": "object", "properties": {"n": schema}})["properties"]["n"]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("str", "string"),
        ("STRING", "string"),
        ("string (optional)", ["string", "null"]),
        ("str, optional", ["string", "null"]),
        ("Optional[str]", ["string", "null"]),
        ("str?", ["string", "null"]),
        ("int", "integer"),
        ("NUMBER", "number"),
        ("float", "number"),
        ("double", "number"),
        ("Boolean", "boolean"),
        ("dict", "object"),
        ("Dict[str, int]", "object"),
        ("tuple", "array"),
        ("date (YYYY-MM-DD)", "string"),
        ("int | None", ["integer", "null"]),
        (["integer", "string"], ["integer", "string"]),
        (["str", "null"], ["string", "null"]),
    ],
)
def test_names_of_types(written: object, expected: object) -> None:
    assert parameter({"type": written}) == {"type": expected}


@pytest.mark.parametrize(
    "written", ["any", "Union[int, str]", "int or float", "Person", "", "x" * 10_000, 3, None, [3]]
)
def test_a_type_that_is_not_known_restricts_nothing(written: object) -> None:
    assert parameter({"type": written}) == {}


@pytest.mark.parametrize("written", ["List[int]", "list[int]", "list(int)", "array<integer>"])
def test_types_of_entries(written: str) -> None:
    assert parameter({"type": written}) == {"type": "array", "items": {"type": ["integer"]}}


def test_parameters_by_name_and_as_a_list() -> None:
    expected = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"],
    }
    city, days = {"type": "str", "description": "where", "required": True}, {"type": "int", "required": False}
    assert read({"city": city, "days": days}) == expected
    assert read([{"name": "city", **city}, {"name": "days", "schema": {"type": "integer"}}]) == expected
    assert read({"type": "dict", "properties": {"city": city, "days": days}}) == expected
    assert read({"type": "object", "properties": {"city": "str", "days": "int"}, "required": ["city"]}) == expected


def test_a_parameter_may_be_named_as_a_keyword() -> None:
    by_name = {"type": {"type": "str"}, "properties": {"type": "dict", "description": "what it has"}}
    assert set(read(by_name)["properties"]) == {"type", "properties"}
    assert read({"type": "object", "properties": {"properties": {"type": "object"}}})["properties"] == {
        "properties": {"type": "object"}
    }


def test_null_where_the_source_allows_it() -> None:
    assert parameter({"type": "string", "nullable": True}) == {"type": ["string", "null"]}
    assert parameter({"type": "string", "default": None}) == {"type": ["string", "null"]}
    assert parameter({"type": "string", "enum": ["a"], "nullable": True})["enum"] == ["a", None]
    assert parameter({"type": "string", "default": ""}) == {"type": "string"}


def test_older_drafts() -> None:
    assert parameter({"minimum": 0, "exclusiveMinimum": True}) == {"exclusiveMinimum": 0}
    assert parameter({"maximum": 9, "exclusiveMaximum": False}) == {"maximum": 9}
    assert parameter({"items": [{"type": "int"}], "additionalItems": False}) == {
        "prefixItems": [{"type": "integer"}],
        "items": False,
    }


def test_local_references_are_unfolded() -> None:
    found = read(
        {
            "properties": {"n": {"$ref": "#/$defs/a~1b"}, "m": {"$ref": "#/definitions/list/0"}},
            "$defs": {"a/b": {"type": "integer"}},
            "definitions": {"list": [{"type": "string"}]},
        }
    )
    assert found["properties"] == {"n": {"allOf": [{"type": "integer"}]}, "m": {"allOf": [{"type": "string"}]}}


@pytest.mark.parametrize(
    "reference",
    [
        "http://192.0.2.1/a.json",
        "file:///etc/passwd",
        "other.json#/a",
        "#/nowhere",
        "#/properties/n/7",
        "#anchor",
        3,
        None,
    ],
)
def test_other_references_allow_everything(reference: object) -> None:
    assert parameter({"$ref": reference, "minimum": 3}) == {"minimum": 3}


def test_circles_are_cut() -> None:
    tree = {"properties": {"left": {"$ref": "#"}, "value": {"type": "integer"}}}
    inner = read(tree)["properties"]["left"]["allOf"][0]["properties"]
    assert inner == {"left": {}, "value": {"type": "integer"}}
    mutual = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}
    assert read(mutual) == {"allOf": [{"allOf": [{}]}]}


def test_what_is_left_out_never_forbids() -> None:
    circle = {"$ref": "#/$defs/a", "$defs": {"a": {"not": {"$ref": "#/$defs/a"}}}}
    assert read(circle) == {"allOf": [{}]}, "not true would forbid everything"
    unknown = {"type": "Person"}
    assert parameter({"not": unknown, "minimum": 1}) == {"minimum": 1}
    assert parameter({"if": unknown, "then": False}) == {}
    assert parameter({"oneOf": [unknown, {"type": "string"}]}) == {"allOf": [{"anyOf": [{}, {"type": "string"}]}]}
    assert parameter({"not": {"pattern": "(?=a)"}}) == {}
    assert parameter({"not": {"not": unknown}}) == {}


def test_what_is_exact_stays() -> None:
    exact = {
        "not": {"const": 3},
        "if": {"minimum": 3},
        "then": {"multipleOf": 2},
        "oneOf": [{"type": "integer"}, {"type": "string", "pattern": "^a+$"}],
    }
    assert parameter(exact) == exact


def test_broken_keywords_are_left_out() -> None:
    broken = {
        "minLength": -1,
        "enum": [],
        "multipleOf": 0,
        "maximum": "9",
        "required": "n",
        "pattern": "(",
        "items": None,
    }
    assert parameter({**broken, "type": "string"}) == {"type": "string", "items": True}


@pytest.mark.parametrize("parameters", [None, 3, "x", [], {}, ["x"], [{"type": "string"}], {"type": "string"}])
def test_no_parameters(parameters: object) -> None:
    assert safe_schema(parameters) is None


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"properties": {"n": schema}}
    return schema


def fan_out(levels: int) -> dict[str, Any]:
    steps = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(levels)}
    return {"$ref": "#/$defs/d0", "$defs": {**steps, f"d{levels}": {}}}


@pytest.mark.parametrize(
    "parameters",
    [
        nested(tool_schemas.MAX_LEVELS + 2),
        nested(300),
        fan_out(40),
        {"$ref": "#/$defs/0", "$defs": {str(n): {"$ref": f"#/$defs/{n + 1}"} for n in range(1000)}},
        {"properties": {"n": {"enum": list(range(tool_schemas.MAX_NODES + 1))}}},
        {"properties": {str(n): {} for n in range(tool_schemas.MAX_NODES + 1)}},
        {"properties": {str(n): {"pattern": "a"} for n in range(100)}},
    ],
)
def test_too_large(parameters: dict[str, Any]) -> None:
    with pytest.raises(UnusableSchemaError):
        safe_schema(parameters)


def test_regular_expressions() -> None:
    assert is_usable_pattern(r"^[\w.]{1,64}@\d{4}$")
    assert is_usable_pattern("(a+)+$"), "linear here"
    for pattern in ("(", r"(a)\1", "(?=a)b", "((a{100}){100}){100}", "a" * 1000):
        assert not is_usable_pattern(pattern)


NAMED_SCHEMAS = ("properties", "patternProperties", "$defs", "dependentSchemas")
keywords = st.sampled_from(
    [
        *("type", "properties", "items", "n", "$ref", "$defs", "allOf", "anyOf", "oneOf", "not", "if", "then", "enum"),
        *("const", "required", "minimum", "exclusiveMinimum", "pattern", "patternProperties", "prefixItems", "name"),
        *("additionalProperties", "$dynamicRef", "nullable", "default", "uniqueItems", "minLength", "contains"),
    ]
)
texts = st.sampled_from(["#", "#/$defs/n", "#/properties/n", "string", "int", "List[int]", "n", "(a+)+", "\ud800", ""])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**20) | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keywords, inner, max_size=4),
    max_leaves=25,
)


@hypothesis_settings(max_examples=300, deadline=None)
@given(st.dictionaries(keywords, values, max_size=5) | values)
@example({"type": None, "properties": {"$ref": None}})
@example({"properties": {"type": {"minimum": float("inf"), "maximum": 10**400}}})
@example({"type": None, "properties": None, "items": None, "required": ["#", "#"]})
def test_whatever_is_written_compiles_or_is_not_used(parameters: object) -> None:
    try:
        found = safe_schema(parameters)
    except UnusableSchemaError:
        return
    if found is None:
        return
    assert "$ref" not in keys(found.schema)
    try:
        validator = jsonschema_rs.Draft202012Validator(found.schema, pattern_options=PATTERN_OPTIONS)
    except ValueError as error:
        assert "surrogates" in str(error) or "UTF-8" in str(error)  # noqa: PT017  the only text that JSON cannot hold
        return
    validator.is_valid({"n": 1})


def keys(schema: object) -> set[str]:
    """The keywords of a schema and of those in it; a property may bear the name of a keyword."""
    if isinstance(schema, list):
        return {key for inner in schema for key in keys(inner)}
    if not isinstance(schema, dict):
        return set()
    named = [inner for name in NAMED_SCHEMAS for inner in schema.get(name, {}).values()]
    others = [value for key, value in schema.items() if key not in {"enum", "const", *NAMED_SCHEMAS}]
    return {*schema, *(key for value in [*named, *others] for key in keys(value))}


plain = st.sampled_from(
    [
        {"type": "integer"},
        {"type": "string"},
        {"minimum": 2},
        {"const": 1},
        {"enum": [1, "a"]},
        {"pattern": "^a"},
        True,
        False,
    ]
)
exact_schemas = st.recursive(
    plain,
    lambda inner: (
        st.builds(lambda schemas: {"anyOf": schemas}, st.lists(inner, min_size=1, max_size=3))
        | st.builds(lambda schemas: {"oneOf": schemas}, st.lists(inner, min_size=1, max_size=3))
        | st.builds(lambda schema: {"not": schema}, inner)
        | st.builds(lambda one, two, three: {"if": one, "then": two, "else": three}, inner, inner, inner)
        | st.builds(lambda schema: {"$ref": "#/$defs/d", "$defs": {}} | {"allOf": [schema]}, inner)
        | st.builds(lambda schema: {"items": schema, "contains": schema}, inner)
    ),
    max_leaves=6,
)
instances = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["a", "b"]),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=3,
)


@hypothesis_settings(max_examples=300, deadline=None)
@given(exact_schemas, exact_schemas, instances)
def test_never_stricter_than_the_source(schema: Any, definition: Any, value: Any) -> None:
    written = {"properties": {"n": schema}, "$defs": {"d": definition}}
    used = jsonschema_rs.Draft202012Validator(rooted(written))
    found = jsonschema_rs.Draft202012Validator(read(rooted(written)))
    if used.is_valid({"n": value}):
        assert found.is_valid({"n": value})


def rooted(schema: Any) -> Any:
    """The same without inner definitions, so that references mean those of the root."""
    if isinstance(schema, list):
        return [rooted(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: rooted(value) for key, value in schema.items() if not (key == "$defs" and value == {})}
