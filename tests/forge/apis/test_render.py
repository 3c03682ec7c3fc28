"""API entities as training texts; the golden files are what a person looked at."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.apis.forms import cli, code_call, function_schema, schema_for_calls
from forge.apis.property_order import in_order, with_order
from forge.apis.questions import question
from forge.apis.reference import reference
from forge.apis.render import further_form, render, render_version
from forge.schema import ApiEntity, ApiError, ApiExample, entity_from_row, split_of

GOLDEN = Path(__file__).parent / "golden" / "render"

OPERATION = ApiEntity(
    provider="aws",
    service="thing",
    name="PutDBThing",
    version="2020-02-02",
    entity_type="operation",
    summary="Puts a thing.",
    description="Puts a thing.\n\n- once\n- twice",
    parameters={
        "type": "object",
        "properties": {
            "Tags": {
                "type": "array",
                "description": "Its tags.",
                "items": {
                    "type": "object",
                    "properties": {"Key": {"type": "string", "description": "The key."}, "Value": {"type": "string"}},
                    "required": ["Key"],
                },
            },
            "Name": {"type": "string", "description": "Its name.\n\nMust be unique."},
            "Mode": {"type": "string", "enum": ["FAST", "SAFE"]},
            "More": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"Key": {"type": "string", "description": "The key."}, "Value": {"type": "string"}},
                    "required": ["Key"],
                },
            },
            "DryRun": {"type": "boolean", "deprecated": True},
            "When": {"type": "string", "format": "date-time"},
        },
        "required": ["Name"],
        "x-order": ["Tags", "Name", "Mode", "More", "DryRun", "When"],
    },
    returns={"type": "object", "properties": {"Id": {"type": "string", "description": "The new id."}}},
    license="Apache-2.0",
    source="aws",
    item_id="thing",
    source_uri="u",
    errors=(ApiError("TooMany", "There are too many."), ApiError("Gone", "")),
    examples=(ApiExample("Puts one.", '{"DryRun":false,"Name":"it\'s","Tags":[{"Key":"k"}]}', '{"Id":"1"}'),),
    auth="sigv4",
)
FUNCTION = ApiEntity(
    provider="python",
    service="shop",
    name="shop.price",
    version="1.0",
    entity_type="function",
    summary="Says the price.",
    description="Says the price.\n\nNotes:\n  In euro.",
    parameters={
        "type": "object",
        "properties": {
            "item": {"x-annotation": "Item", "description": "What is sold."},
            "count": {"type": "integer", "description": "How many.", "default": 1},
            "*factors": {"x-annotation": "float"},
            "currency": {"type": ["string", "null"], "default": None},
            "rate": {"x-default": "RATES['EUR']"},
        },
        "required": ["item"],
        "x-order": ["item", "count", "*factors", "currency", "rate"],
    },
    returns={"type": "number", "description": "The price."},
    license="MIT",
    source="py",
    item_id="shop",
    source_uri="u",
    errors=(ApiError("KeyError", "when it is not sold"),),
    examples=(ApiExample("For tea:", '>>> for item in ["tea"]:\n...     price(item)', "1.5"),),
)


HTTP = replace(
    OPERATION,
    provider="shop.example",
    service="pets",
    name="GET /pets/{petId}/tags",
    version="3",
    summary="List the tags of a pet.",
    description="Sorted by name.",
    parameters={
        "type": "object",
        "properties": {
            "petId": {"type": "integer", "description": "Whose."},
            "limit": {"type": "integer", "x-in": "query", "default": 10},
            "X-Signature": {"type": "string", "x-in": "header"},
        },
        "required": ["petId"],
    },
    returns={"type": "array", "items": {"type": "string"}, "description": "The tags."},
    errors=(ApiError("404", "No such pet."),),
    examples=(ApiExample("", '{"limit":2,"petId":7}', '["fat","furry"]'),),
    auth="api_key",
    declaration="GET https://shop.example/v3/pets/{petId}/tags",
)
METHOD = replace(
    FUNCTION,
    provider="java",
    service="shop",
    name="shop.Till.pay(Coin, int)",
    entity_type="method",
    summary="Pays with coins.",
    description="Pays with coins.",
    parameters={
        "type": "object",
        "properties": {"coin": {"x-type": "Coin", "description": "Which."}, "count": {"x-type": "int"}},
        "required": ["coin", "count"],
    },
    returns={"x-type": "Receipt", "description": "The receipt."},
    errors=(ApiError("BrokenTillException", "when it is broken"),),
    examples=(ApiExample("", 'till.pay(new Coin("5 ct"), 3);', ""),),
    declaration="public Receipt pay(Coin coin, int count) throws BrokenTillException",
)
COMMAND = replace(
    METHOD,
    provider="shell",
    service="coreutils",
    name="peel",
    entity_type="command",
    summary="Peels fruit.",
    description="Peels each FRUIT.",
    parameters={"type": "object", "properties": {"-n": {"x-type": "COUNT", "description": "How many."}}},
    returns={},
    errors=(),
    examples=(ApiExample("Two apples:", "peel -n 2 apple", ""),),
    declaration="peel [-n COUNT] FRUIT...",
)
MACRO = replace(METHOD, provider="c", name="PI", entity_type="macro", parameters={}, declaration="#define PI 3.14")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("operation.reference", reference(OPERATION)),
        ("operation.function_schema", function_schema(OPERATION)),
        ("operation.cli", cli(OPERATION)),
        ("operation.code_call", code_call(OPERATION)),
        ("operation.question", question(OPERATION)),
        ("function.reference", reference(FUNCTION)),
        ("function.function_schema", function_schema(FUNCTION)),
        ("function.code_call", code_call(FUNCTION)),
        ("function.question", question(FUNCTION)),
        ("http.reference", reference(HTTP)),
        ("http.code_call", code_call(HTTP)),
        ("http.question", question(HTTP)),
        ("method.reference", reference(METHOD)),
        ("method.code_call", code_call(METHOD)),
        ("command.reference", reference(COMMAND)),
        ("command.code_call", code_call(COMMAND)),
    ],
)
def test_golden(name: str, text: str) -> None:
    """``FORGE_WRITE_GOLDEN=1`` writes the files anew; look at the difference."""
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("FORGE_WRITE_GOLDEN"):
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text + "\n", encoding="utf-8")
    assert text + "\n" == path.read_text(encoding="utf-8")


def test_the_forms_of_one_entity_are_in_one_split() -> None:
    documents = list(render(OPERATION, 0.5))
    assert [document.form for document in documents] == ["reference", further_form(OPERATION)[0], "question"]
    assert {document.split for document in documents} == {split_of(OPERATION.entity_key, 0.5)}
    assert {document.kind for document in documents} == {"api_doc"}
    assert {document.entity_key for document in documents} == {"aws/thing/PutDBThing"}
    assert documents == list(render(entity_from_row(OPERATION.row("night")), 0.5))


@pytest.mark.parametrize("entity", [OPERATION, FUNCTION, HTTP, METHOD, COMMAND, MACRO])
def test_storing_an_entity_does_not_change_its_texts(entity: ApiEntity) -> None:
    stored = entity_from_row(entity.row("night"))
    for form in (reference, function_schema, cli, code_call, question):
        assert form(stored) == form(entity)


def test_property_order() -> None:
    schema = with_order({"properties": {"b": 1, "a": 2}})
    assert schema["x-order"] == ["b", "a"]
    assert list(in_order(schema)) == ["b", "a"]
    assert "x-order" not in with_order({"properties": {"a": 1, "b": 2}})
    assert list(in_order({"properties": {"b": 1, "a": 2, "c": 3}, "x-order": ["c", "gone"]})) == ["c", "a", "b"]


def test_every_form_is_chosen_and_a_version_does_not_change_it() -> None:
    entities = [replace(OPERATION, name=f"Put{number}") for number in range(60)]
    assert {further_form(entity)[0] for entity in entities} == {"function_schema", "cli", "code_call"}
    assert further_form(replace(OPERATION, version="2021")) == further_form(OPERATION)
    assert further_form(OPERATION, 10) == ("", "") or len(further_form(OPERATION, 10)[1]) <= 10


def test_a_method_of_a_language_is_no_tool_and_its_call_is_never_made_up() -> None:
    assert further_form(METHOD)[0] == "code_call"
    assert further_form(replace(METHOD, examples=())) == ("", "")
    told = {"properties": {"a": {"description": "A."}, "b": {"description": "B."}}, "required": ["a", "b"]}
    assert further_form(replace(FUNCTION, entity_type="method", parameters=told, examples=())) == ("", "")


def test_a_declaration_heads_the_reference() -> None:
    assert reference(MACRO).startswith("PI (C macro, shop 1.0)\n\n#define PI 3.14\n\n")
    declared = replace(FUNCTION, declaration="shop.price(item[, count])")
    assert reference(declared).startswith("shop.price(item[, count])\n\nSays the price.")
    encode = replace(FUNCTION, name="json.Encoder.encode", entity_type="method", declaration="encode(o)")
    assert reference(encode).startswith("json.Encoder.encode(o)\n\n")
    assert reference(replace(MACRO, declaration="PI")).count("PI") == 1
    assert reference(replace(MACRO, version="")).startswith("PI (C macro, shop)\n")


def test_a_summary_that_the_description_holds_is_not_repeated() -> None:
    held = replace(METHOD, summary="Pays with coins.", description="O(n). Pays with coins. Slowly.")
    assert reference(held).count("Pays with coins") == 1
    other = replace(METHOD, summary="Pay.", description="Hands over coins.")
    assert "\n\nPay.\n\nHands over coins.\n\n" in reference(other)


def test_an_example_that_the_description_holds_is_not_repeated() -> None:
    held = replace(METHOD, description='Pays with coins.\n\ntill.pay(new Coin("5 ct"), 3);')
    assert reference(held).count("new Coin") == 1


def test_what_states_too_little_has_a_reference_only() -> None:
    bare = replace(FUNCTION, parameters={"type": "object", "properties": {}}, examples=())
    assert [document.form for document in render(bare)] == ["reference"]


@pytest.mark.parametrize("entity", [OPERATION, FUNCTION])
@pytest.mark.parametrize("bound", [40, 200, 400, 1000])
def test_texts_keep_their_bound(entity: ApiEntity, bound: int) -> None:
    for form in (reference, function_schema, cli, code_call, question):
        assert len(form(entity, bound)) <= bound


def test_the_function_schema_is_json_schema_without_our_keywords() -> None:
    text = function_schema(OPERATION)
    description = json.JSONDecoder().raw_decode(text[text.index("{") :])[0]
    assert description["name"] == "thing.PutDBThing"
    assert "x-" not in json.dumps(schema_for_calls(FUNCTION.parameters, 3))
    assert "*factors" not in schema_for_calls(FUNCTION.parameters, 3)["properties"]


def test_render_version_is_a_hash() -> None:
    assert render_version() == render_version()
    assert len(render_version()) == 32


TEXTS = st.text(max_size=12)
SCHEMAS = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["string", "integer", "array", "object", "boolean", ["string", "null"]]),
            "description": TEXTS,
            "enum": st.lists(st.integers(-9, 9) | TEXTS, min_size=1, max_size=3),
            "default": st.none() | TEXTS | st.integers(-9, 9),
            "x-annotation": TEXTS,
        },
    ),
    lambda inner: st.fixed_dictionaries(
        {"type": st.just("object"), "properties": st.dictionaries(TEXTS, inner, max_size=3)},
        optional={
            "required": st.lists(TEXTS, max_size=2),
            "items": inner,
            "additionalProperties": inner,
            "anyOf": st.lists(inner, max_size=2),
        },
    ),
    max_leaves=6,
)
ENTITIES = st.builds(
    ApiEntity,
    provider=st.sampled_from(["aws", "google", "python", "java", "c", "shell", "other"]),
    service=TEXTS,
    name=TEXTS | st.sampled_from(["GET /a/{b}", "query user", "a.B/C", "a.b.get"]),
    version=TEXTS,
    entity_type=st.sampled_from(["operation", "function", "class", "method", "tool", "command", "macro"]),
    summary=TEXTS,
    description=TEXTS,
    parameters=st.fixed_dictionaries(
        {"properties": st.dictionaries(TEXTS, SCHEMAS, max_size=4), "required": st.lists(TEXTS, max_size=2)}
    ),
    returns=SCHEMAS,
    license=st.just("MIT"),
    source=st.just("s"),
    item_id=st.just("i"),
    source_uri=st.just("u"),
    declaration=TEXTS | st.sampled_from(["GET https://h/a/{b}", "int f(void)"]),
    errors=st.lists(st.builds(ApiError, TEXTS, TEXTS), max_size=2),
    examples=st.lists(
        st.builds(ApiExample, TEXTS, st.sampled_from(['{"a":1}', "{", ">>> f(1)\n2", "x"]) | TEXTS, TEXTS), max_size=2
    ),
)


@given(ENTITIES)
def test_any_entity_renders(entity: ApiEntity) -> None:
    documents = list(render(entity, 0.1, 500))
    assert 1 <= len(documents) <= 3
    for document in documents:
        assert 0 < len(document.text) <= 500
    row: Mapping[str, Any] = documents[0].row("night")
    assert row["characters"] == len(documents[0].text)
