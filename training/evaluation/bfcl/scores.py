"""Overall scores of the Berkeley Function Calling Leaderboard, versions 2, 3 and 4, and what of them needs no network.

All of them are linear in the accuracies of categories, so a formula is its weights. Read from the leaderboard's code
(``generate_leaderboard_csv``) at 30124c43 (v2), 70b6a4a2 (v3) and 6ea57973 (v4); the tests reproduce published rows.

The executed categories of v2 and v3 (``exec_*``, ``rest``) call foreign services with keys, the agentic ones of v4
search the web: what is left without them has a name of its own, and is not comparable with a published score. Nor are
scores over the items of v4 comparable with those published as v2 or v3: many live items were revised in between.

A model that never calls scores 100 % on irrelevance: a sixth of ``ast_v2_without_exec``. Read the score beside the
accuracy of each category and the share of answers that can be decoded.
"""

from __future__ import annotations

from collections.abc import Mapping

from training.evaluation.task import OverallScore

Weights = Mapping[str, float]

LIVE_ITEMS: Mapping[str, int] = {
    "live_simple": 258, "live_multiple": 1053, "live_parallel": 16, "live_parallel_multiple": 24,
    "live_irrelevance": 884, "live_relevance": 16,
}  # fmt: skip
"""Items of each live category in ``bfcl-eval`` 2026.3.23: v3 and v4 weight live categories by them."""

_MULTI_TURN = ("multi_turn_base", "multi_turn_miss_func", "multi_turn_miss_param", "multi_turn_long_context")
_AST = ("simple", "multiple", "parallel", "parallel_multiple")
_EXEC = "the executed categories (exec_simple with rest, exec_multiple, exec_parallel, exec_parallel_multiple)"
_AGENTIC = "the agentic categories (web search and memory, 40 % of v4)"


def v2_weights() -> Weights:
    """The unweighted mean of ten terms: four of AST, four executed, irrelevance, relevance."""
    return _mean(*_v2_terms(), *_exec_terms())


def v3_weights(live_items: Mapping[str, int] = LIVE_ITEMS) -> Weights:
    """The mean of live (each item counted once), non-live (nine terms, of which four are executed) and multi-turn."""
    non_live = _mean(*_non_live_ast_terms(), *_exec_terms(), _one("irrelevance"))
    return _mean(_by_items(live_items), non_live, _multi_turn())


def v4_weights(live_items: Mapping[str, int] = LIVE_ITEMS) -> Weights:
    """10 % non-live, 10 % live (AST, each item counted once), 10 % irrelevance, 30 % multi-turn, 40 % agentic."""
    agentic = _mean(
        _mean(_one("web_search_base"), _one("web_search_no_snippet")),
        _mean(_one("memory_kv"), _one("memory_vector"), _one("memory_rec_sum")),
    )
    return _sum(*_v4_single_turn(live_items), (_multi_turn(), 0.3), (agentic, 0.4))


def v2(accuracies: Mapping[str, float]) -> float:
    """Version 2 of accuracies by category, in their unit. Raises KeyError where a category is missing."""
    return score(v2_weights(), accuracies)


def v3(accuracies: Mapping[str, float], live_items: Mapping[str, int] = LIVE_ITEMS) -> float:
    """Version 3; ``live_items`` are those of the leaderboard that is reproduced. Raises KeyError."""
    return score(v3_weights(live_items), accuracies)


def v4(accuracies: Mapping[str, float], live_items: Mapping[str, int] = LIVE_ITEMS) -> float:
    """Version 4. Raises KeyError where a category is missing."""
    return score(v4_weights(live_items), accuracies)


def score(weights: Weights, accuracies: Mapping[str, float]) -> float:
    """The weighted sum. Raises KeyError where a category is missing."""
    return sum(weight * accuracies[category] for category, weight in weights.items())


def overall_scores() -> tuple[OverallScore, ...]:
    """What can be given of the three versions without a network. Where terms are left out, those that stay keep their
    ratios to each other and sum to one.
    """
    live, non_live = _by_items(LIVE_ITEMS), _mean(*_non_live_ast_terms(), _one("irrelevance"))
    v4_single_turn = _v4_single_turn(LIVE_ITEMS)
    return tuple(
        OverallScore(name, "accuracy", weights, leaves_out)
        for name, weights, leaves_out in (
            (
                "ast_v2_without_exec",
                _mean(*_v2_terms()),
                f"{_EXEC}, 4 of the 10 terms of v2; the other 6 weigh 1/6 each",
            ),
            (
                "v3_without_exec_and_multi_turn",
                _mean(live, non_live),
                f"{_EXEC}, 4 of the 9 non-live terms of v3, and multi-turn; live and what is left of non-live 1/2 each",
            ),
            (
                "v3_without_exec",
                _mean(live, non_live, _multi_turn()),
                f"{_EXEC}, 4 of the 9 non-live terms of v3; the 5 that are left make up non-live",
            ),
            (
                "v4_without_agentic",
                _normalised(_sum(*v4_single_turn, (_multi_turn(), 0.3))),
                f"{_AGENTIC}; non-live, live and irrelevance weigh 1/6 each, multi-turn 1/2",
            ),
            (
                "v4_without_agentic_and_multi_turn",
                _normalised(_sum(*v4_single_turn)),
                f"{_AGENTIC} and multi-turn (30 %); non-live, live and irrelevance weigh 1/3 each",
            ),
        )
    )


def _v2_terms() -> list[Weights]:
    """The terms of v2 that execute nothing. Non-live and live weigh the same in each, however many items they have."""
    ast = [_mean(term, _one(f"live_{name}")) for name, term in zip(_AST, _non_live_ast_terms(), strict=True)]
    return [*ast, _mean(_one("irrelevance"), _one("live_irrelevance")), _one("live_relevance")]


def _non_live_ast_terms() -> list[Weights]:
    simple = _mean(_one("simple_python"), _one("simple_java"), _one("simple_javascript"))
    return [simple, *(_one(name) for name in _AST[1:])]


def _exec_terms() -> list[Weights]:
    return [_mean(_one("exec_simple"), _one("rest")), *(_one(f"exec_{name}") for name in _AST[1:])]


def _multi_turn() -> Weights:
    return _mean(*map(_one, _MULTI_TURN))


def _v4_single_turn(live_items: Mapping[str, int]) -> list[tuple[Weights, float]]:
    live = _by_items({f"live_{name}": live_items[f"live_{name}"] for name in _AST})
    irrelevance = _mean(_one("irrelevance"), _one("live_irrelevance"))
    return [(_mean(*_non_live_ast_terms()), 0.1), (live, 0.1), (irrelevance, 0.1)]


def _one(category: str) -> Weights:
    return {category: 1.0}


def _by_items(items: Mapping[str, int]) -> Weights:
    return _normalised({category: float(count) for category, count in items.items()})


def _mean(*terms: Weights) -> Weights:
    return _sum(*((term, 1 / len(terms)) for term in terms))


def _sum(*terms: tuple[Weights, float]) -> Weights:
    total: dict[str, float] = {}
    for term, share in terms:
        for category, weight in term.items():
            total[category] = total.get(category, 0.0) + share * weight
    return total


def _normalised(weights: Weights) -> Weights:
    total = sum(weights.values())
    return {category: weight / total for category, weight in weights.items()}
