from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forge.schema import canonical_json
from forge.trajectories import call_schemas


def mismatch(parameters: object, **arguments: Any) -> str | None:
    return call_schemas.mismatch(parameters, arguments, len(canonical_json(arguments)))


COUNT = {
    "type": "object",
    "properties": {"n": {"$ref": "#/$defs/count"}},
    "required": ["n"],
    "$defs": {"count": {"type": "integer"}},
}


def test_arguments_against_the_schema() -> None:
    assert mismatch(COUNT, n=1) is None
    assert mismatch(COUNT, n=1, more=True) is None, "other arguments are allowed unless the schema forbids them"
    assert mismatch(COUNT, n="one") == '$.n: "one" is not of type "integer"'
    assert mismatch(COUNT) == '$: "n" is a required property'
    assert (
        mismatch({"properties": {"l": {"items": {"type": "str"}}}}, l=["a", 2]) == '$.l[1]: 2 is not of type "string"'
    )
    assert len(mismatch(COUNT, n="x" * 10_000) or "") == call_schemas.MAX_DETAIL_CHARACTERS


@pytest.mark.parametrize("parameters", [None, {}, [], "x", 3, {"type": "string"}, {"anything": 3}])
def test_without_a_schema_nothing_is_checked(parameters: object) -> None:
    assert mismatch(parameters, n=1) is None


def nested_arguments(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"n": value}
    return value


SELF = {"$ref": "#"}
HOSTILE: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (SELF, {"n": 1}),
    ({"$ref": ""}, {"n": 1}),
    ({"allOf": [SELF, SELF]}, {"n": 1}),
    ({"anyOf": [SELF, SELF]}, {"n": 1}),
    ({"not": SELF}, {"n": 1}),
    ({"if": SELF, "then": SELF}, {"n": 1}),
    ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}, {"n": 1}),
    ({"properties": {"n": {"allOf": [SELF, SELF]}}}, nested_arguments(60)),
    ({"properties": {"n": {"anyOf": [SELF, SELF]}}, "not": {"required": ["z"]}}, nested_arguments(60)),
    ({"$dynamicRef": "#m", "$dynamicAnchor": "m"}, {"n": 1}),
    ({"$dynamicAnchor": "m", "allOf": [{"$dynamicRef": "#m"}] * 2}, {"n": 1}),
    ({"$schema": "https://json-schema.org/draft/2019-09/schema", "$recursiveRef": "#"}, {"n": 1}),
    ({"$schema": "http://192.0.2.1/meta", "$id": "http://192.0.2.1/x", "$ref": "y"}, {"n": 1}),
    ({"$ref": "file:///etc/passwd"}, {"n": 1}),
    (
        {
            "$ref": "#/$defs/d0",
            "$defs": {f"d{n}": {"oneOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)} | {"d40": {}},
        },
        {"n": 1},
    ),
    ({"$defs": {str(n): {"$ref": f"#/$defs/{n + 1}"} for n in range(2000)}, "$ref": "#/$defs/0"}, {"n": 1}),
    (
        {
            "$defs": {str(n): {"anyOf": [{"$ref": f"#/$defs/{m}"} for m in range(12)]} for n in range(12)},
            "$ref": "#/$defs/0",
        },
        {"n": 1},
    ),
    ({"properties": {"n": {"enum": list(range(20_000))}}}, {"n": -1}),
    ({"properties": {"n": {"minLength": 2**63}}}, {"n": 1}),
    ({"properties": {"n": {"minLength": 1e300, "maxItems": -3, "multipleOf": 0}}}, {"n": "a"}),
    ({"properties": {"n": {"pattern": "(" * 400}}}, {"n": "a"}),
    ({"properties": {"n": {"pattern": "((a{100}){100}){100}"}}}, {"n": "a" * 10_000}),
    ({"properties": {"n": {"pattern": r"(a*)*\1b"}}}, {"n": "a" * 50}),
    ({"patternProperties": {f"(x{{{n}}}){{90}}": {} for n in range(300)}}, {"x" * 1000: 1}),
    ({"properties": 3, "required": 4, "items": "x"}, {"n": 1}),
]


@pytest.mark.parametrize(("parameters", "arguments"), HOSTILE)
def test_hostile_schemas_cost_no_time_and_reject_nothing(parameters: dict[str, Any], arguments: dict[str, Any]) -> None:
    started = time.process_time()
    assert mismatch(parameters, **arguments) is None
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("parameters", "arguments"),
    [
        ({"properties": {"n": {"pattern": "^(a+)+$"}}}, {"n": "a" * 50_000 + "!"}),
        ({"properties": {"n": {"pattern": "[ab]*a[ab]{500}[c-z]"}}}, {"n": "abbabaaabb" * 7_500}),
        ({"properties": {"n": {"items": {"anyOf": [{"const": n} for n in range(4000)]}}}}, {"n": [-1] * 8_000}),
        ({"properties": {"n": {"items": {"not": {"enum": list(range(4000))}}}}}, {"n": [*[4000] * 4_000, 3999]}),
        ({"properties": {"n": {"uniqueItems": True}}}, {"n": [{"a": n % 199_999} for n in range(200_000)]}),
    ],
)
def test_the_largest_work_takes_seconds_at_worst(parameters: dict[str, Any], arguments: dict[str, Any]) -> None:
    started = time.process_time()
    assert mismatch(parameters, **arguments) is not None, "it is checked"
    assert time.process_time() - started < 3


def test_beyond_the_limits_nothing_is_checked() -> None:
    long_schema = {**COUNT, "description": "x" * call_schemas.MAX_SCHEMA_CHARACTERS}
    assert mismatch(long_schema, n="one") is None
    pattern = {"properties": {"n": {"pattern": "^a*$"}}}
    assert mismatch(pattern, n="b") is not None
    assert mismatch(pattern, n="b" * (call_schemas.MAX_WORK // 1000)) is None


def test_a_warm_check_is_fast() -> None:
    arguments = {"n": 3}
    call_schemas.mismatch(COUNT, arguments, 7)
    started = time.process_time()
    for _ in range(20_000):
        call_schemas.mismatch(COUNT, arguments, 7)
    assert 20_000 / (time.process_time() - started) > 100_000


names = st.sampled_from(["n", "m", "type", "properties", "$ref", "required"])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.sampled_from(["#", "string", "a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=12,
)


@hypothesis_settings(max_examples=200, deadline=None)
@given(values, st.dictionaries(names, values, max_size=3))
def test_nothing_is_raised(parameters: object, arguments: dict[str, Any]) -> None:
    call_schemas.mismatch(parameters, arguments, 100)
