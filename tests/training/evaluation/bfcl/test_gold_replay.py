"""Every gold answer of the real data through the checker: what passes, and which items nobody can get right."""

from __future__ import annotations

import time
from collections import Counter

from training.evaluation.bfcl.data import CATEGORIES, DEFECTIVE_GOLDS, PYTHON_AST_CATEGORIES

WITHOUT_CONSTRUCTOR_BODY = {"simple_java_1", "simple_java_67", "simple_java_68"}
"""BFCL's Java decoder drops the body of ``new HashMap<>() {{ put(...); }}``."""
QUOTED_ELEMENTS = {
    "simple_java_35", "simple_java_36", "simple_java_65", "simple_java_78", "simple_java_83", "simple_java_85",
    "simple_java_86", "simple_java_89", "simple_java_90", "simple_java_91",
}  # fmt: skip
"""BFCL's converter leaves the quotes on the elements of a ``String[]``, and makes text of numbers in a list of any."""


def test_the_data_is_whole(items):
    counts = Counter(item.category for item in items)
    assert set(counts) == set(CATEGORIES)
    assert len(items) == len({item.item_id for item in items}) == 3641
    assert sum(counts[category] for category in PYTHON_AST_CATEGORIES) == 2351


def test_2346_of_2351_gold_answers_in_python_pass(items, checker):
    python = [item for item in items if item.category in PYTHON_AST_CATEGORIES]
    wrong = {item.item_id for item in python if not checker.check(item, item.gold_call).right}
    assert wrong == set(DEFECTIVE_GOLDS)
    assert len(python) - len(wrong) == 2346


def test_gold_answers_in_java_and_javascript_pass_as_far_as_bfcl_reads_such_literals(items, checker):
    foreign = [item for item in items if item.language != "python"]
    wrong = {item.item_id for item in foreign if not checker.check(item, item.gold_call).right}
    assert wrong == WITHOUT_CONSTRUCTOR_BODY | QUOTED_ELEMENTS
    assert Counter(item.category for item in foreign) == {"simple_java": 100, "simple_javascript": 50}


def test_other_allowed_answers_pass_as_well(items, checker):
    python = [item for item in items if item.category in PYTHON_AST_CATEGORIES and item.item_id not in DEFECTIVE_GOLDS]
    answers = [(item, text) for item in python for text in item.gold_alternatives]
    wrong = {item.item_id for item, text in answers if not checker.check(item, text).right}
    assert wrong == {"parallel_multiple_12", "parallel_multiple_26"}, "their gold allows what the function does not"
    assert len(answers) > 4500


def test_all_answers_are_checked_in_two_seconds(items, checker):
    texts = [item.gold_call if item.ground_truth else "No function fits." for item in items]
    started = time.process_time()
    for item, text in zip(items, texts, strict=True):
        checker.check(item, text)
    assert time.process_time() - started < 2.0
