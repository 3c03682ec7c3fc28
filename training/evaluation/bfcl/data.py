"""Items of the Berkeley Function Calling Leaderboard, read as data from the unpacked ``bfcl-eval`` wheel.

The thirteen single-turn categories of version 4: 3,641 items, 2,351 of them with gold calls in Python. Gold answers
list the allowed values of each argument; "" among them means that the argument may be left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, Literal

import orjson

from training.chat import render_calls
from training.evaluation import task
from training.evaluation.bfcl.source_literals import render_source_calls

Language = Literal["python", "java", "javascript"]
Calls = list[tuple[str, dict[str, Any]]]

PYTHON_AST_CATEGORIES = (
    "simple_python", "multiple", "parallel", "parallel_multiple",
    "live_simple", "live_multiple", "live_parallel", "live_parallel_multiple",
)  # fmt: skip
"""A right answer calls functions, in Python: 2,351 items."""
AST_CATEGORIES = (*PYTHON_AST_CATEGORIES, "simple_java", "simple_javascript")
RELEVANCE_CATEGORIES = ("irrelevance", "live_irrelevance", "live_relevance")
"""Right is any call (relevance) or none (irrelevance)."""
CATEGORIES = (*AST_CATEGORIES, *RELEVANCE_CATEGORIES)
DEFECTIVE_GOLDS: Mapping[str, str] = {
    "live_simple_106-63-0": "an argument that must be there has no allowed value",
    "live_simple_112-68-0": "an argument that must be there has no allowed value",
    "live_multiple_507-149-4": "an argument that must be there has no allowed value",
    "live_multiple_862-181-3": "it has an argument that the function does not know",
    "live_multiple_964-207-0": "it lacks an argument that must be there",
}
"""Items whose gold call is wrong by BFCL's own rules. The other 2,346 in Python pass."""
MAX_GOLD_ALTERNATIVES = 8

_LANGUAGES: Mapping[str, Language] = {"simple_java": "java", "simple_javascript": "javascript"}
_LANGUAGE_NAMES: Mapping[Language, str] = {"java": "Java", "javascript": "JavaScript"}
_LANGUAGE_HINTS: Mapping[Language, str] = {
    "java": " Note that the provided function is in Java 8 SDK syntax.",
    "javascript": " Note that the provided function is in JavaScript syntax.",
}
_LEFT_OUT = object()
_JSON_TYPES = {"dict": "object", "float": "number", "tuple": "array"}


@dataclass(frozen=True, slots=True)
class BfclItem:
    """``functions`` as BFCL writes them; ``ground_truth``: for each call that is expected, in BFCL's order, its
    function's name to the allowed values of each argument. It is empty where none or any call is expected."""

    item_id: str
    category: str
    messages: Sequence[Mapping[str, str]]
    functions: Sequence[Mapping[str, Any]]
    ground_truth: Sequence[Mapping[str, Mapping[str, Sequence[Any]]]]

    @property
    def language(self) -> Language:
        """The language whose literals BFCL expects in an answer."""
        return _LANGUAGES.get(self.category, "python")

    @property
    def tools(self) -> list[dict[str, Any]]:
        """The functions with JSON Schema's names of types, as training data has them. In a function of Java or
        JavaScript every argument is a string, and its description names the type, as BFCL presents it."""
        if self.language == "python":
            return [_json_schema(function) for function in self.functions]
        return [_foreign_tool(function, self.language) for function in self.functions]

    @property
    def gold_calls(self) -> Calls:
        """The canonical right answer: first allowed values; arguments that may be left out are, and so are those that
        must be there but of which BFCL gives no value."""
        return [(name, _given({key: values[0] for key, values in options.items()})) for name, options in self._options]

    @property
    def gold_call(self) -> str:
        """:attr:`gold_calls` as a model should write them."""
        return self._text(self.gold_calls)

    @property
    def gold_alternatives(self) -> list[str]:
        """At most eight right answers as text, the canonical one first.

        Each of the others differs from it in one argument: another allowed value, or one is given that may be left out.
        Second choices of all arguments come before third ones.
        """
        return list(islice(dict.fromkeys(self._alternatives()), MAX_GOLD_ALTERNATIVES))

    def _alternatives(self) -> Iterator[str]:
        choices = [(name, {key: values[0] for key, values in options.items()}) for name, options in self._options]
        yield self.gold_call
        changes = [
            [(place, key, value) for value in values[1:]]
            for place, (_, options) in enumerate(self._options)
            for key, values in options.items()
        ]
        for rank in zip_longest(*changes):
            for place, key, value in (change for change in rank if change is not None):
                changed = [(name, dict(arguments)) for name, arguments in choices]
                changed[place][1][key] = value
                yield self._text([(name, _given(arguments)) for name, arguments in changed])

    @property
    def _options(self) -> list[tuple[str, dict[str, list[Any]]]]:
        """For each expected call what may be written for each argument, :data:`_LEFT_OUT` first where it may."""
        return [
            (name, {key: _choices(values, key in self._function(name)["required"]) for key, values in allowed.items()})
            for call in self.ground_truth
            for name, allowed in call.items()
        ]

    def _function(self, name: str) -> Mapping[str, Any]:
        parameters: Mapping[str, Any] = next(
            function["parameters"] for function in self.functions if function["name"] == name
        )
        return parameters

    def _text(self, calls: Calls) -> str:
        if self.language == "python":
            return render_calls(calls)
        return render_source_calls(
            calls, {name: self._function(name)["properties"] for name, _ in calls}, self.language
        )


def bfcl_items(artifact: Path, categories: Sequence[str] = CATEGORIES) -> list[BfclItem]:
    """All items of the categories, in file order. Raises FileNotFoundError when the artifact lacks a file."""
    data = artifact / "bfcl_eval" / "data"
    items = []
    for category in categories:
        answers = {
            entry["id"]: entry["ground_truth"]
            for entry in (
                _lines(data / "possible_answer" / f"BFCL_v4_{category}.json")
                if category not in RELEVANCE_CATEGORIES
                else ()
            )
        }
        items += [
            BfclItem(entry["id"], category, entry["question"][0], entry["function"], answers.get(entry["id"], ()))
            for entry in _lines(data / f"BFCL_v4_{category}.json")
        ]
    return items


def sample(items: Sequence[BfclItem], count: int, seed: int, purpose: str) -> list[BfclItem]:
    """:func:`training.evaluation.task.sample` of items."""
    return task.sample(
        items, count, seed, purpose, item_id=lambda item: item.item_id, category=lambda item: item.category
    )


def _lines(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines() if line.strip()]


def _json_schema(value: Any) -> Any:
    """BFCL's type "any" is JSON Schema's absence of a type."""
    if isinstance(value, Mapping):
        return {
            key: _JSON_TYPES.get(inner, inner) if key == "type" and isinstance(inner, str) else _json_schema(inner)
            for key, inner in value.items()
            if not (key == "type" and inner == "any")
        }
    return [_json_schema(inner) for inner in value] if isinstance(value, list) else value


def _choices(allowed: Sequence[Any], is_required: bool) -> list[Any]:
    given = [_literal(value) for value in allowed if value != ""]
    return given if given and (is_required or "" not in allowed) else [_LEFT_OUT, *given]


def _given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in arguments.items() if value is not _LEFT_OUT}


def _literal(value: Any) -> Any:
    """An allowed value as a value to write. An object lists what is allowed for each of its keys, and so does each
    object of a list; what is nested deeper is written as it is."""
    if isinstance(value, Mapping):
        return {key: allowed[0] for key, allowed in value.items() if "" not in allowed}
    if isinstance(value, list) and value and all(isinstance(inner, Mapping) for inner in value):
        return [_literal(inner) for inner in value]
    return value


def _foreign_tool(function: Mapping[str, Any], language: Language) -> dict[str, Any]:
    """A function of Java or JavaScript; the wording is BFCL's ``_func_doc_language_specific_pre_processing``."""
    name = _LANGUAGE_NAMES[language]
    properties = {}
    for key, schema in function["parameters"]["properties"].items():
        described = {inner: value for inner, value in schema.items() if inner != "items"}
        kind, text = schema["type"], schema["description"]
        if kind == "any":
            text += f" This parameter can be of any type of {name} object in string representation."
        else:
            text += f" This is {name} {kind} type parameter in string representation."
        if kind in ("ArrayList", "Array", "array"):
            text += f" The list elements are of type {schema['items']['type']}; they are not in string representation."
        if kind == "dict" and "properties" in described:
            entries = json.dumps(described.pop("properties"))
            text += (
                " The dictionary entries have the following schema; they are not in string representation. " + entries
            )
        properties[key] = {**described, "type": "string", "description": text}
    parameters = {**function["parameters"], "type": "object", "properties": properties}
    return {**function, "description": function["description"] + _LANGUAGE_HINTS[language], "parameters": parameters}
