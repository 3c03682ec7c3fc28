"""The formulas against published rows; what they say of answerers that know nothing or everything."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from training.evaluation.bfcl import scores
from training.evaluation.bfcl.data import CATEGORIES

OFFICIAL = orjson.loads((Path(__file__).parent / "official_scores.json").read_bytes())
LIVE_ITEMS_OF_2024 = {
    "live_simple": 258, "live_multiple": 1037, "live_parallel": 16, "live_parallel_multiple": 24,
    "live_irrelevance": 875, "live_relevance": 41,
}  # fmt: skip
MULTI_TURN = ("multi_turn_base", "multi_turn_miss_func", "multi_turn_miss_param", "multi_turn_long_context")
WITHOUT_AGENTIC = (*CATEGORIES, *MULTI_TURN)
OVERALL = {score.name: score for score in scores.overall_scores()}


def published(version: str):
    table = OFFICIAL[version]
    return {
        model: (dict(zip(table["columns"], row["categories"], strict=True)), row)
        for model, row in table["rows"].items()
    }


# Published values are rounded to 0.01, so a mean of them and what is published may differ by a little more than that.
@pytest.mark.parametrize("model", OFFICIAL["v2_and_v3"]["rows"])
def test_published_rows_of_v2_and_v3_are_reproduced(model):
    accuracies, row = published("v2_and_v3")[model]
    assert scores.v2(accuracies) == pytest.approx(row["v2"], abs=0.01001)
    assert scores.v3(accuracies, LIVE_ITEMS_OF_2024) == pytest.approx(row["v3"], abs=0.01001)


@pytest.mark.parametrize("model", OFFICIAL["v4"]["rows"])
def test_published_rows_of_v4_are_reproduced(model):
    accuracies, row = published("v4")[model]
    simple = dict.fromkeys(("simple_python", "simple_java", "simple_javascript"), accuracies.pop("simple"))
    irrelevance = dict.fromkeys(("irrelevance", "live_irrelevance"), accuracies.pop("irrelevance_mean"))
    assert scores.v4({**accuracies, **simple, **irrelevance}) == pytest.approx(row["v4"], abs=0.01001)


def test_there_are_enough_published_rows():
    assert len(OFFICIAL["v2_and_v3"]["rows"]) >= 10
    assert len(OFFICIAL["v4"]["rows"]) >= 10


@pytest.mark.parametrize("weights", [scores.v2_weights(), scores.v3_weights(), scores.v4_weights()])
def test_a_formula_is_a_mean(weights):
    assert sum(weights.values()) == pytest.approx(1)
    assert min(weights.values()) > 0


def test_what_is_left_without_a_network_are_means_over_categories_that_are_here():
    for name, score in OVERALL.items():
        assert sum(score.weights.values()) == pytest.approx(1)
        assert score.leaves_out
        assert set(score.weights) <= set(WITHOUT_AGENTIC)
        assert ("multi_turn_base" in score.weights) == (name in ("v3_without_exec", "v4_without_agentic"))


@pytest.mark.parametrize(
    ("name", "formula", "left_out"),
    [
        ("ast_v2_without_exec", scores.v2_weights(), ("exec", "rest")),
        ("v4_without_agentic", scores.v4_weights(), ("web", "memory")),
        ("v4_without_agentic_and_multi_turn", scores.v4_weights(), ("web", "memory", "multi_turn")),
    ],
)
def test_the_terms_that_stay_keep_their_ratios(name, formula, left_out):
    stays = {category: weight for category, weight in formula.items() if not category.startswith(left_out)}
    scale = sum(stays.values())
    assert OVERALL[name].weights == pytest.approx({category: weight / scale for category, weight in stays.items()})


def accuracies_of(ast: float, irrelevance: float, relevance: float, multi_turn: float) -> dict[str, float]:
    given = dict.fromkeys(CATEGORIES, ast) | dict.fromkeys(MULTI_TURN, multi_turn)
    return given | {"irrelevance": irrelevance, "live_irrelevance": irrelevance, "live_relevance": relevance}


ALWAYS_EMPTY = accuracies_of(0, 100, 0, 0)
ALWAYS_A_WRONG_CALL = accuracies_of(0, 0, 100, 0)
ALWAYS_GOLD = accuracies_of(100, 100, 100, 100)


@pytest.mark.parametrize(
    ("name", "empty", "wrong_call"),
    [
        ("ast_v2_without_exec", 16.67, 16.67),
        ("v3_without_exec_and_multi_turn", 29.64, 0.36),  # (20 + 100 * 884 / 2251) / 2; 100 * 16 / 2251 / 2
        ("v3_without_exec", 19.76, 0.24),
        ("v4_without_agentic", 16.67, 0),
        ("v4_without_agentic_and_multi_turn", 33.33, 0),
    ],
)
def test_answerers_that_know_nothing(name, empty, wrong_call):
    weights = OVERALL[name].weights
    assert scores.score(weights, ALWAYS_EMPTY) == pytest.approx(empty, abs=0.005)
    assert scores.score(weights, ALWAYS_A_WRONG_CALL) == pytest.approx(wrong_call, abs=0.005)
    assert scores.score(weights, ALWAYS_GOLD) == pytest.approx(100)


def test_five_defective_golds_cost_what_their_categories_weigh():
    gold = ALWAYS_GOLD | {"live_simple": 100 * 256 / 258, "live_multiple": 100 * 1050 / 1053}
    assert scores.score(OVERALL["ast_v2_without_exec"].weights, gold) == pytest.approx(99.9117, abs=1e-4)


def test_a_category_that_is_missing_is_not_taken_for_zero():
    with pytest.raises(KeyError, match="exec_simple"):
        scores.v2(ALWAYS_GOLD)
