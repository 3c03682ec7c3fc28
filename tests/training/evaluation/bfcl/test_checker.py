from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from training.chat import render_calls
from training.evaluation.bfcl.checker import Checker
from training.evaluation.bfcl.data import AST_CATEGORIES, BfclItem

PARAMETERS = {
    "type": "dict",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "scale": {"type": "float"},
        "exact": {"type": "boolean"},
        "where": {"type": "array", "items": {"type": "string"}},
        "budget": {"type": "dict"},
    },
    "required": ["city", "days"],
}
ALLOWED = {
    "city": ["San Francisco", "SF"],
    "days": [3],
    "scale": ["", 2.0],
    "exact": ["", True],
    "where": ["", ["a", "b"]],
    "budget": ["", {"min": [1], "max": [5, 6], "unit": ["", "EUR"]}],
}
FUNCTION = {"name": "weather.get", "description": "", "parameters": PARAMETERS}


def item_of(category: str, calls: int = 1) -> BfclItem:
    return BfclItem("item_0", category, [], [FUNCTION], [{"weather.get": ALLOWED}] * calls)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("weather.get(city='san-francisco', days=3)", True),
        ("weather.get(city='SF', days=3, scale=2, exact=True, where=['A', 'b'])", True),
        ("weather.get(city='SF', days=3, budget={'min': 1, 'max': 6})", True),
        ("weather.get(city='SF', days=1 + 2)", True),
        ("```python\n[weather.get(city='SF', days=3)]\n```", True),
        ("Let me look.\n[weather.get(city='SF', days=3)]", True),
        ("weather.get(city='SF', days=3, budget={'min': 1, 'max': 7})", False),
        ("weather.get(city='SF', days=3, budget={'min': 1})", False),
        ("weather.get(city='SF', days=3, budget={'min': 1, 'max': 5, 'more': 1})", False),
        ("weather.get(city='SF')", False),
        ("weather.get(city='LA', days=3)", False),
        ("weather.get(city='SF', days='3')", False),
        ("weather.get(city='SF', days=True)", False),
        ("weather.get(city='SF', days=3, exact=1)", False),
        ("weather.get(city='SF', days=3, where=['a'])", False),
        ("weather.get(city='SF', days=3, where=('a', 'b'))", False),
        ("weather.get(city='SF', days=3, hours=1)", False),
        ("weather.put(city='SF', days=3)", False),
        ("[weather.get(city='SF', days=3), weather.get(city='SF', days=3)]", False),
        ("The weather is fine.", False),
    ],
)
def test_answers_are_judged(checker, text, right):
    verdict = checker.check(item_of("simple_python"), text)
    assert verdict.right is right
    assert (verdict.problem == "") is right
    assert verdict.decoded is (text != "The weather is fine.")


def test_parallel_calls_may_come_in_any_order(checker):
    truth = [{"weather.get": {"city": [city], "days": [1]}} for city in ("Rome", "Oslo")]
    item = BfclItem("item_1", "parallel", [], [FUNCTION], truth)
    rome, oslo = ("weather.get(city='Rome', days=1)", "weather.get(city='Oslo', days=1)")
    assert checker.check(item, f"[{oslo}, {rome}]").right
    assert not checker.check(item, f"[{rome}, {rome}]").right
    assert not checker.check(item, f"[{rome}]").right


@pytest.mark.parametrize(
    ("text", "is_call"), [("[anything(a=b)]", True), ("", False), ("[]", False), ("I cannot do that.", False)]
)
def test_relevance_is_whether_anything_is_called(checker, text, is_call):
    assert checker.check(item_of("live_relevance", 0), text).right is is_call
    for category in ("irrelevance", "live_irrelevance"):
        assert checker.check(item_of(category, 0), text).right is not is_call


def test_bfcl_does_not_stay_behind(checker):
    assert checker.languages
    assert not [name for name in sys.modules if name.startswith("bfcl_eval")]
    assert not [path for path in sys.path if Path(path).name == "bfcl"]


def test_a_folder_without_the_package_is_refused(tmp_path):
    with pytest.raises(ImportError):
        Checker.of(tmp_path)


def mutated(calls: list[tuple[str, dict[str, Any]]], chance: random.Random) -> str:
    """The calls with one thing changed, as text."""
    calls = [(name, dict(arguments)) for name, arguments in calls]
    place = chance.randrange(len(calls))
    name, arguments = calls[place]
    key = chance.choice(sorted(arguments)) if arguments else ""
    change = chance.choice(
        (
            "value",
            "type",
            "missing",
            "extra",
            "case",
            "order",
            "calls",
            "name",
            "repeat",
            "drop",
            "cut",
            "noise",
            "symbol",
        )
    )
    if change == "value" and key:
        arguments[key] = another_value(arguments[key], chance)
    elif change == "type" and key:
        value = arguments[key]
        arguments[key] = chance.choice((str(value), [value], (value,), None, True, {"a": value}, 1, 1.5, ...))
    elif change == "missing" and key:
        del arguments[key]
    elif change == "extra":
        arguments[chance.choice(("extra", "unit", "name"))] = chance.choice((1, "x", None))
    elif change == "case" and key and isinstance(arguments[key], str):
        arguments[key] = chance.choice((str.upper, str.title, lambda text: text.replace(" ", "-")))(arguments[key])
    elif change == "order":
        calls[place] = (name, dict(chance.sample(sorted(arguments.items()), len(arguments))))
    elif change == "calls":
        chance.shuffle(calls)
    elif change == "name":
        calls[place] = (chance.choice((name + "x", name.upper(), name.rpartition(".")[2])), arguments)
    elif change == "repeat":
        calls.append(calls[place])
    elif change == "drop":
        del calls[place]
    text = render_calls(calls)
    if change == "cut":
        return text[: chance.randrange(len(text))]
    if change == "noise":
        at = chance.randrange(len(text))
        return (
            text[:at]
            + chance.choice(("", " ", "'", ")", "[", "=", "\n", "\\", "é", "...", "lambda", "x"))
            + text[at + 1 :]
        )
    if change == "symbol" and key:
        old = f"{key}={arguments[key]!r}"
        return text.replace(old, f"{key}={chance.choice(('x', 'f(1)', 'f(a=1)', 'd[0]', '-1', '(1, 2)', '3 * 4'))}")
    return text


def another_value(value: Any, chance: random.Random) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return chance.choice((value + 1, -value, float(value), value * 1.0))
    if isinstance(value, str):
        return chance.choice((value + "x", "", value[1:], value + " ", f"'{value}'"))
    if isinstance(value, list):
        return chance.choice((value[:-1], [*value, 1], value[::-1], tuple(value)))
    return {**value, "more": 1}


def answers_to_compare(items: list[BfclItem]) -> Iterator[tuple[BfclItem, str]]:
    """For each item its gold answers, changed ones and texts that are none; nothing that BFCL would execute."""
    chance = random.Random(20261121)
    texts = ("", "[]", "I cannot help.", "[f(a=1)]", "f()", "[f(1)]", "[x]", "f(a=b)", "{}", "[f(a=1), 2]", "f(a=f'')")
    for item in items:
        yield item, chance.choice(texts)
        if item.category not in AST_CATEGORIES:
            yield item, chance.choice(texts)
        elif item.language == "python":
            yield from ((item, text) for text in item.gold_alternatives[:3])
            yield from ((item, mutated(item.gold_calls, chance)) for _ in range(2))
        else:
            yield item, item.gold_call
            for _ in range(6):
                at = chance.randrange(len(item.gold_call))
                noise = chance.choice(("", '"', ")", "[", " ", "new ", "1", ","))
                yield item, item.gold_call[:at] + noise + item.gold_call[at + 1 :]


def official_verdicts(artifact: Path, answers: list[tuple[BfclItem, str]]) -> list[dict[str, Any]]:
    lines = [json.dumps([item.category, item.functions, item.ground_truth, text]) for item, text in answers]
    done = subprocess.run(
        [sys.executable, "-I", str(Path(__file__).with_name("official_verdicts.py")), str(artifact)],
        input="\n".join(lines), capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_verdicts_are_those_of_bfcl(items, checker, bfcl_artifact):
    answers = [(item, text) for item, text in answers_to_compare(items) if "**{" not in text]
    official = official_verdicts(bfcl_artifact, answers)
    assert len(official) == len(answers) > 12_000
    different = [
        (item.item_id, text, verdict, found)
        for (item, text), found in zip(answers, official, strict=True)
        if ((verdict := checker.check(item, text)).right, verdict.decoded) != (found["right"], found["decoded"])
    ]
    assert different == []
    assert sum(found["right"] for found in official) > 6000
    assert sum(not found["right"] and found["decoded"] for found in official) > 2000


DEVIATIONS = [
    ("weather.get(city='SF', days=3 | 0)", (False, False), (True, True)),
    ("weather.get(city='SF', days=len('abc') + 0)", (False, False), (True, True)),
    ("weather.get(city='SF' * 1, days=3)", (False, False), (True, True)),
    ("weather.get(city='SF', days=+3)", (True, True), (False, True)),
    ("weather.get(city='SF', days=-True)", (False, False), (False, True)),
    ("weather.get(city='SF', days=~3)", (False, False), (False, True)),
    ("weather.get(city='SF', days=not 1)", (False, False), (False, True)),
    ("weather.get(city='SF', **{'days': 3})", (True, True), (False, True)),
    ("I look it up.\n[weather.get(city='SF', days=3)]", (True, True), (False, False)),
    ("f().weather.get(city='SF', days=3)", (False, False), (True, True)),
    ("weather.get(city='SF', days=" + " " * 17_000 + "3)", (False, False), (True, True)),
    ("weather.get(city='SF', days=3, budget=0x" + "f" * 16_000 + ")", (False, True), (False, True)),
]
"""Text, whether it is right and a list of calls here, and by BFCL."""


def test_where_verdicts_differ_from_those_of_bfcl(checker, bfcl_artifact):
    item = item_of("simple_python")
    official = official_verdicts(bfcl_artifact, [(item, text) for text, _, _ in DEVIATIONS])
    for (text, ours, theirs), found in zip(DEVIATIONS, official, strict=True):
        verdict = checker.check(item, text)
        assert (verdict.right, verdict.decoded) == ours, text
        assert (found["right"], found["decoded"]) == theirs, text
    assert official[-1]["raised"] == "ValueError", "BFCL's run ends: it prints an integer of too many digits"
