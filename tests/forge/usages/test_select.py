"""Which usages stand for an API."""

from __future__ import annotations

import random

from forge.schema import Usage, usage_from_row
from forge.usages.select import chosen_usages, clearest, gained, paths_of


def _usage(snippet: str, score: float = 1.0, path: str = "a.f", **fields: object) -> Usage:
    origin = {"license": "MIT", "source": "s", "item_id": "i", "source_uri": "u"}
    stated = {"names": (path, "a.core.f"), "calls": (path,), **origin}
    return Usage(path=path, snippet=snippet, score=score, **{**stated, **fields})  # type: ignore[arg-type]


def test_rows_keep_a_usage() -> None:
    usage = _usage("f(1)")
    assert usage_from_row(usage.row("night")) == usage


def test_paths_of_keys() -> None:
    keys = ["python/shop/a.f", "python/other/a.f", "aws/s3/PutObject", "python/shop/a.g(int)"]
    assert paths_of(keys) == {"a.f": ["python/other/a.f", "python/shop/a.f"], "a.g": ["python/shop/a.g(int)"]}


def test_the_clearest_three_whatever_the_order() -> None:
    usages = [_usage(f"f({number})", score=number % 4, calls=("a.f", f"b{number}")) for number in range(9)]
    expected = [usage.snippet for usage in clearest(usages)]
    assert len(expected) == 3
    assert [usage.score for usage in clearest(usages)] == [0, 0, 0]
    for seed in range(5):
        random.Random(seed).shuffle(usages)
        assert [usage.snippet for usage in clearest(usages)] == expected


def test_different_uses_go_before_repetitions_of_one() -> None:
    usages = [_usage("f(1)", 1), _usage("f(2)", 2), _usage("f(3)", 3), _usage("g(f(4))", 5, calls=("a.f", "a.g"))]
    assert [usage.snippet for usage in clearest(usages, 2)] == ["f(1)", "g(f(4))"]
    assert [usage.snippet for usage in clearest(usages, 3)] == ["f(1)", "f(2)", "g(f(4))"]


def test_nothing_that_is_far_less_clear_than_the_first() -> None:
    first, near, far = _usage("f(1)", 1), _usage("f(2)", 6), _usage("f(3)", 6.1)
    assert [usage.snippet for usage in clearest([near, first, far])] == ["f(1)", "f(2)"]


def test_one_text_is_taken_once() -> None:
    first = _usage("f(1)", item_id="a")
    assert clearest([_usage("f(1)", item_id="b"), first, _usage("f(1)", score=5)]) == [first]


def test_usages_go_to_the_entity_that_one_of_their_names_means() -> None:
    usages = [_usage("f(1)"), _usage("h()", path="a.h", names=("a.h",)), _usage("f(2)", license="GPL-3.0-only")]
    keys = ["python/shop/a.core.f", "aws/a/f"]
    chosen = chosen_usages(usages, keys, {"MIT"})
    assert list(chosen) == ["python/shop/a.core.f"]
    assert [usage.snippet for usage in chosen["python/shop/a.core.f"]] == ["f(1)"]
    assert len(chosen_usages(usages, keys)["python/shop/a.core.f"]) == 2
    assert gained([*keys, "python/shop/a.x"], chosen) == (2, 1)
