from __future__ import annotations

import ast

import pytest

from training.evaluation.bfcl.data import BfclItem, sample

PARAMETERS = {
    "type": "dict",
    "properties": {
        "city": {"type": "string"},
        "scale": {"type": "float"},
        "unit": {"type": "any"},
        "where": {"type": "array", "items": {"type": "dict"}},
        "when": {"type": "tuple", "items": {"type": "integer"}},
    },
    "required": ["city", "unit"],
}
FUNCTION = {"name": "weather.get", "description": "Weather", "parameters": PARAMETERS}
ITEM = BfclItem(
    "item_0",
    "parallel",
    [{"role": "user", "content": "Weather?"}],
    [FUNCTION],
    [
        {
            "weather.get": {
                "city": ["San Francisco", "SF"],
                "scale": ["", 2.0, 2.5],
                "unit": ["", "C"],
                "where": [[{"x": [1, 2], "y": ["", 3]}]],
            }
        },
        {"weather.get": {"city": ["LA"], "unit": [""]}},
    ],
)


def test_the_canonical_answer_takes_first_values_and_leaves_out_what_may_be():
    assert ITEM.gold_calls == [
        ("weather.get", {"city": "San Francisco", "unit": "C", "where": [{"x": 1}]}),
        ("weather.get", {"city": "LA"}),
    ]
    assert ITEM.gold_call == ("[weather.get(city='San Francisco', unit='C', where=[{'x': 1}]), weather.get(city='LA')]")


def test_alternatives_differ_from_the_canonical_answer_in_one_argument():
    first, *others = ITEM.gold_alternatives
    assert first == ITEM.gold_call
    assert [ast.unparse(ast.parse(text)) for text in ITEM.gold_alternatives] == ITEM.gold_alternatives
    assert others == [
        "[weather.get(city='SF', unit='C', where=[{'x': 1}]), weather.get(city='LA')]",
        "[weather.get(city='San Francisco', scale=2.0, unit='C', where=[{'x': 1}]), weather.get(city='LA')]",
        "[weather.get(city='San Francisco', scale=2.5, unit='C', where=[{'x': 1}]), weather.get(city='LA')]",
    ]


def test_there_are_at_most_eight_alternatives():
    item = BfclItem("item_1", "simple_python", [], [FUNCTION], [{"weather.get": {"city": [str(n) for n in range(20)]}}])
    assert item.gold_alternatives == [f"[weather.get(city='{number}')]" for number in range(8)]


def test_tools_are_json_schema():
    properties = ITEM.tools[0]["parameters"]["properties"]
    assert ITEM.tools[0]["parameters"]["type"] == "object"
    assert properties["scale"] == {"type": "number"}
    assert properties["unit"] == {}
    assert properties["when"] == {"type": "array", "items": {"type": "integer"}}


@pytest.mark.parametrize(
    ("category", "language"),
    [("simple_java", "java"), ("simple_javascript", "javascript"), ("live_relevance", "python")],
)
def test_the_language_of_a_category(category, language):
    assert BfclItem("item_2", category, [], [], []).language == language


def test_arguments_of_other_languages_are_strings_whose_description_names_the_type():
    parameters = {
        "type": "dict",
        "properties": {
            "names": {"type": "ArrayList", "items": {"type": "String"}, "description": "Names."},
            "owner": {"type": "any", "description": "Owner."},
        },
        "required": [],
    }
    (tool,) = BfclItem(
        "item_3", "simple_java", [], [{"name": "f", "description": "F.", "parameters": parameters}], []
    ).tools
    assert tool["description"] == "F. Note that the provided function is in Java 8 SDK syntax."
    assert tool["parameters"]["properties"] == {
        "names": {
            "type": "string",
            "description": "Names. This is Java ArrayList type parameter in string representation. The list elements "
            "are of type String; they are not in string representation.",
        },
        "owner": {
            "type": "string",
            "description": "Owner. This parameter can be of any type of Java object in string representation.",
        },
    }


def test_a_larger_sample_keeps_the_smaller_one_and_balances_categories():
    items = [
        BfclItem(f"{category}_{number}", category, [], [], [])
        for category in ("simple_python", "multiple")
        for number in range(20)
    ]
    small, large = sample(items, 6, 3, "x"), sample(items, 12, 3, "x")
    assert large[:6] == small
    assert sum(item.category == "multiple" for item in small) == 3
    assert small != sample(items, 6, 4, "x")
