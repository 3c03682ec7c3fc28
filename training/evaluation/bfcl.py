"""Items of the Berkeley Function Calling Leaderboard, read as data from the unpacked ``bfcl-eval`` wheel.

Only ``simple_python`` and ``multiple``: one user turn, one call expected. The package's own code is neither installed
nor imported (its checker evaluates model output). Gold answers list the allowed values of each argument; "" among them
means that the argument may be left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from forge.schema import content_hash
from training.chat import render_calls

CATEGORIES = ("simple_python", "multiple")
_JSON_TYPES = {"dict": "object", "float": "number", "tuple": "array"}


@dataclass(frozen=True, slots=True)
class BfclItem:
    """``functions`` as BFCL writes them; ``answer`` maps each argument of function ``name`` to its allowed values."""

    item_id: str
    category: str
    messages: Sequence[Mapping[str, str]]
    functions: Sequence[Mapping[str, Any]]
    name: str
    answer: Mapping[str, Sequence[Any]]

    @property
    def tools(self) -> list[dict[str, Any]]:
        """The functions with JSON Schema's names of types, as training data has them."""
        return [_json_schema(function) for function in self.functions]

    @property
    def gold_call(self) -> str:
        """The canonical right answer: first allowed values; arguments that may be left out are."""
        function = next(function for function in self.functions if function["name"] == self.name)
        required = function["parameters"].get("required", ())
        arguments = {
            key: _first([value for value in allowed if value != ""] or allowed)
            for key, allowed in self.answer.items()
            if "" not in allowed or key in required
        }
        return render_calls([(self.name, arguments)])


def bfcl_items(artifact: Path, categories: Sequence[str] = CATEGORIES) -> list[BfclItem]:
    """All items of the categories, in file order. Raises FileNotFoundError when the artifact lacks a file."""
    data = artifact / "bfcl_eval" / "data"
    items = []
    for category in categories:
        questions = _lines(data / f"BFCL_v4_{category}.json")
        answers = {
            entry["id"]: entry["ground_truth"]
            for entry in _lines(data / "possible_answer" / f"BFCL_v4_{category}.json")
        }
        for question in questions:
            ((name, answer),) = answers[question["id"]][0].items()
            items.append(
                BfclItem(question["id"], category, question["question"][0], question["function"], name, answer)
            )
    return items


def sample(items: Sequence[BfclItem], count: int, seed: int, purpose: str) -> list[BfclItem]:
    """``count`` items, the same number of each category as far as there are, the first by hash of seed, purpose and id.

    A larger count adds items and keeps the others.
    """
    by_category: dict[str, list[BfclItem]] = {}
    for item in sorted(items, key=lambda item: content_hash(purpose, str(seed), item.item_id)):
        by_category.setdefault(item.category, []).append(item)
    ranked = sorted(
        ((rank, category, item) for category, found in by_category.items() for rank, item in enumerate(found)),
        key=lambda entry: entry[:2],
    )
    return [item for _, _, item in ranked[:count]]


def _lines(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines() if line.strip()]


def _json_schema(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            key: _JSON_TYPES.get(inner, inner) if key == "type" and isinstance(inner, str) else _json_schema(inner)
            for key, inner in value.items()
        }
    return [_json_schema(inner) for inner in value] if isinstance(value, list) else value


def _first(allowed: Sequence[Any]) -> Any:
    return _literal(allowed[0])


def _literal(value: Any) -> Any:
    """An allowed value as a value to write: inside an object each key again lists what is allowed."""
    if isinstance(value, Mapping):
        return {key: _first(allowed) for key, allowed in value.items() if "" not in allowed}
    return [_literal(inner) for inner in value] if isinstance(value, list) else value
