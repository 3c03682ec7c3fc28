from __future__ import annotations

import pytest

from forge.config import ConfigurationError, Settings
from forge.decontaminate import (
    BenchmarkItem,
    Function,
    benchmark_index,
    index_of,
    matches,
    ngram_hits,
    read_bfcl,
    rendered_functions,
)  # fmt: skip
from forge.schema import canonical_json, signature_key

QUESTION = "What is the weather forecast for the city of Oslo on the third day of next week please"
ITEM = BenchmarkItem(
    "bench",
    "item_1",
    (QUESTION, "Get the forecast."),
    (
        Function("weather.get_forecast", ("city", "unit", "date"), "Get the forecast."),
        Function("get", ("id",), "Fetch it."),
    ),
)
INDEX = index_of([ITEM], 13)


def test_a_copied_question_is_found_in_other_case_and_punctuation() -> None:
    (hit,) = matches(f"Q: {QUESTION.upper()}?!", None, INDEX)
    assert (hit.item, hit.method) == ("item_1", "ngram")
    assert hit.evidence.startswith("what is the weather")
    assert matches(" ".join(QUESTION.split()[:12]), None, INDEX) == []
    assert matches("", None, INDEX) == []


def test_stock_phrases_are_no_ngrams() -> None:
    index = index_of([BenchmarkItem("bench", "count", ("1 2 3 4 5 6 7 8 9 10 11 12 13 14", "no no " * 20), ())], 13)
    assert ngram_hits("1 2 3 4 5 6 7 8 9 10 11 12 13 14 " + "no " * 30, index) == []


SCHEMA = {
    "name": "get_forecast",
    "description": "Anything else.",
    "parameters": {"type": "object", "properties": {"date": {}, "city": {}, "unit": {"description": 'a "}" brace'}}},
}


@pytest.mark.parametrize(
    "text",
    [
        canonical_json(SCHEMA),
        "Tools:\n" + canonical_json([{"type": "function", "function": SCHEMA}]) + "\nmore {text",
        canonical_json({"tools": [SCHEMA], "messages": []}),
        "def get_forecast(city: str, unit: str = 'C', date=None) -> dict:\n    pass",
        "class W:\n    async def getForecast(self, date, *, city, unit):\n        ...",
    ],
)
def test_a_function_rendered_otherwise_is_found(text: str) -> None:
    assert [hit.method for hit in matches(text, None, INDEX)] == ["signature"]


def test_the_signature_of_the_documented_entity_is_enough() -> None:
    key = signature_key("GetForecast", ["Unit", "City", "Date"])
    (hit,) = matches("aws weather get-forecast --city VALUE --unit VALUE --date VALUE", key, INDEX)
    assert hit.evidence == "getforecast(city,date,unit)"


def test_a_short_signature_needs_the_same_description() -> None:
    key = signature_key("get", ["id"])
    assert matches("get(id)", key, INDEX) == []
    assert matches("get(id)", key, INDEX, description="Something else.") == []
    assert [hit.method for hit in matches("get(id)", key, INDEX, description="fetch  IT.")] == ["signature"]
    generic = index_of([BenchmarkItem("b", "i", (), (Function("add", ("a", "b"), "Add."),))], 13)
    assert matches("def add(a, b): ...", None, generic) == []


def test_hostile_json_ends() -> None:
    assert list(rendered_functions('{"name":' * 5000 + '"parameters"')) == []
    assert list(rendered_functions("[" * 100_000 + '"parameters"')) == []


def test_the_real_benchmark_is_read_and_finds_itself(settings: Settings) -> None:
    try:
        index = benchmark_index(settings)
    except ConfigurationError as error:
        pytest.skip(str(error))
    items = read_bfcl(settings.home_path / "artifacts" / "bfcl" / "bfcl_eval")
    assert index.items == len(items) > 4_400
    long = [item for item in items if any(len(text.split()) > 30 for text in item.texts)][::40]
    found = [any(hit.benchmark == "bfcl" for hit in matches("\n".join(item.texts), None, index)) for item in long]
    assert sum(found) / len(found) > 0.98
    function = next(item for item in items if item.item == "simple_python_0").functions[0]
    assert function.name == "calculate_triangle_area"
    code = f"def {function.name}({', '.join(function.parameters)}):\n    return 0"
    assert any(hit.method == "signature" for hit in matches(code, None, index))
