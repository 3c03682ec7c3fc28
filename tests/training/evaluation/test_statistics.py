"""Figures and their intervals: against definitions, published values, and the coverage that they claim."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.evaluation.figures import ALL, Figure
from training.evaluation.records import ItemRecord
from training.evaluation.statistics import (
    Stratum,
    bootstrap_t,
    figures_of,
    mover,
    not_given,
    resampled_sums,
    stratum_key,
    wilson,
)
from training.evaluation.task import OverallScore

KEY = stratum_key("bench", 3, "easy")


def figures(records, overall=(), *, resamples: int = 300, seed: int = 3) -> dict[tuple[str, str], Figure]:
    found = figures_of("bench", records, overall, confidence=0.95, resamples=resamples, seed=seed)
    return {(figure.category, figure.metric): figure for figure in found}


def losses(values, category: str = "easy") -> list[ItemRecord]:
    return [
        ItemRecord(f"{category}-{number}", category, {"nats_per_token": pair}) for number, pair in enumerate(values)
    ]


def answers(right: int, items: int, category: str = "easy") -> list[ItemRecord]:
    return [
        ItemRecord(f"{category}-{number}", category, {"accuracy": (float(number < right), 1.0)})
        for number in range(items)
    ]


def test_a_figure_is_a_ratio_of_sums_by_category_and_over_all_items():
    found = figures(losses([(2.0, 4), (3.0, 1)]) + losses([(1.0, 5)], "hard"))
    assert found[("easy", "nats_per_token")].value == 5 / 5
    assert found[("hard", "nats_per_token")].value == 1 / 5
    assert found[(ALL, "nats_per_token")].value == 6 / 10
    assert [found[(name, "nats_per_token")].items for name in ("easy", "hard", ALL)] == [2, 1, 3]


def test_a_single_item_says_nothing_of_others():
    found = figures(losses([(2.0, 4)]))[("easy", "nats_per_token")]
    assert (found.value, found.low, found.high) == (0.5, -math.inf, math.inf)


def test_a_measure_without_a_denominator_gives_no_figure():
    assert figures(losses([(0.0, 0)])) == {}


def test_an_item_counts_only_for_measures_that_it_has():
    records = [*answers(3, 4), ItemRecord("x", "easy", {"decodable": (1.0, 1.0)})]
    found = figures(records)
    assert found[("easy", "accuracy")].items == 4
    assert found[("easy", "decodable")].items == 1


@pytest.mark.parametrize("records", [losses([(1.0, 2)], ALL), losses([(1.0, 2)]) * 2], ids=["all", "twice"])
def test_ambiguous_records_are_refused(records):
    with pytest.raises(ValueError, match=r"all|two records"):
        figures(records)


@pytest.mark.parametrize(("right", "low", "high"), [(0, 0.0, 0.2775), (1, 0.0179, 0.4042), (10, 0.7225, 1.0)])
def test_accuracies_have_wilson_intervals(right, low, high):
    found = figures(answers(right, 10))[("easy", "accuracy")]
    assert (found.low, found.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))
    assert found.interval == "Wilson"


def test_an_overall_score_of_accuracies_keeps_its_width_at_0_and_1():
    score = OverallScore("mean", "accuracy", {"easy": 0.5, "hard": 0.5}, "the rest")
    found = figures(answers(0, 20) + answers(20, 20, "hard"), [score])[("mean", "accuracy")]
    far = wilson(0, 20, 0.95)[1]
    assert (found.value, found.items, found.leaves_out) == (0.5, 40, "the rest")
    assert found.high == pytest.approx(0.5 + 0.5 * far)
    assert found.low == pytest.approx(0.5 - 0.5 * far)


def test_an_overall_score_of_losses_is_drawn_within_categories():
    """Categories far apart: drawn from the pool, the interval would have to cover their mixing."""
    rng = np.random.default_rng(0)
    easy, hard = ([(mean * 10 + rng.normal(), 10.0) for _ in range(50)] for mean in (1.0, 5.0))
    score = OverallScore("mean", "nats_per_token", {"easy": 0.5, "hard": 0.5})
    found = figures(losses(easy) + losses(hard, "hard"), [score])
    narrow, pooled = found[("mean", "nats_per_token")], found[(ALL, "nats_per_token")]
    assert narrow.value == pytest.approx(pooled.value)
    assert narrow.high - narrow.low < 0.1 < pooled.high - pooled.low


def test_an_overall_score_without_items_of_a_category_is_not_given():
    score = OverallScore("mean", "accuracy", {"easy": 0.5, "hard": 0.5})
    records = answers(3, 5)
    assert ("mean", "accuracy") not in figures(records, [score])
    assert not_given(records, [score]) == {"mean": "no item measures accuracy in hard"}
    assert not_given(records + answers(1, 2, "hard"), [score]) == {}


def test_mover_turns_around_what_has_a_negative_weight():
    assert mover([(1.0, 0.5, 0.4, 0.8)]) == (0.5, pytest.approx(0.4), pytest.approx(0.8))
    assert mover([(-1.0, 0.5, 0.4, 0.8)]) == (-0.5, pytest.approx(-0.8), pytest.approx(-0.4))


def test_bootstrap_t_is_what_its_definition_says():
    """Each resample taken item by item: two ratios with denominators of their own."""
    rng = np.random.default_rng(1)
    y, x = rng.lognormal(size=(12, 2)), rng.integers(1, 9, (12, 2)).astype(float)
    signs = np.array([-1.0, 1.0])

    def statistic(times: np.ndarray) -> tuple[float, float]:
        ratios = (times @ y) / (times @ x)
        influences = ((y - ratios * x) / (times @ x)) @ signs
        return float(ratios @ signs), math.sqrt(12 / 11 * float(times @ influences**2))

    resamples = resampled_sums(np.eye(12), KEY, 400)
    assert (resamples.sum(1) == 12).all()
    value, error = statistic(np.ones(12))
    t = sorted((moved - value) / spread for moved, spread in map(statistic, resamples))
    found = bootstrap_t([[Stratum(KEY, y, x, signs)]], confidence=0.95, resamples=400)[0]
    assert (found.value, found.standard_error) == (pytest.approx(value), pytest.approx(error))
    student = 2.2009851600829 * error  # t of 11 degrees of freedom
    assert found.low == pytest.approx(min(value - t[-10] * error, value - student))
    assert found.high == pytest.approx(max(value - t[9] * error, value + student))
    assert t[-10] * error > student or -t[9] * error > student  # else Student's t alone was tested


def test_measures_of_the_same_items_share_their_resampling():
    pairs = [(float(number % 5), 7.0) for number in range(9)]
    records = [
        ItemRecord(str(number), "easy", {"a": pair, "b": (2 * pair[0], pair[1])}) for number, pair in enumerate(pairs)
    ]
    found = figures(records)
    assert found[("easy", "b")].low == pytest.approx(2 * found[("easy", "a")].low)
    assert found[("easy", "b")].high == pytest.approx(2 * found[("easy", "a")].high)


def test_the_seed_decides_the_resampling():
    records = losses([(float(number % 4), 3.0 + number % 3) for number in range(20)])
    one, other, again = (figures(records, seed=seed) for seed in (3, 4, 3))
    assert one == again
    assert one[("easy", "nats_per_token")].value == other[("easy", "nats_per_token")].value
    assert one[("easy", "nats_per_token")].low != other[("easy", "nats_per_token")].low


items = st.lists(
    st.tuples(
        st.sampled_from(["easy", "hard"]),
        st.fixed_dictionaries(
            {"nats_per_token": st.tuples(st.floats(0, 50), st.integers(0, 30))},
            optional={"accuracy": st.tuples(st.sampled_from([0.0, 1.0]), st.just(1.0))},
        ),
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=30)
@given(items, st.randoms(use_true_random=False))
def test_intervals_hold_their_value_and_the_order_of_records_changes_nothing(found, shuffle: random.Random):
    records = [ItemRecord(str(number), category, measures) for number, (category, measures) in enumerate(found)]
    score = OverallScore("mean", "accuracy", {"easy": 0.5, "hard": 0.5})
    ordered = figures(records, [score], resamples=40)
    for figure in ordered.values():
        assert figure.low <= figure.value <= figure.high
        if figure.metric == "accuracy":
            assert -1e-12 <= figure.low <= figure.high <= 1 + 1e-12
    shuffle.shuffle(records)
    assert figures(records, [score], resamples=40) == ordered


# --- coverage ---------------------------------------------------------------------------------------------------------


def skewed_loss(rng: np.random.Generator, items: int) -> tuple[np.ndarray, np.ndarray]:
    """Nats and tokens of calls: nats grow with tokens, long items lose less per token."""
    tokens = np.maximum(3, np.round(rng.lognormal(3.1, 0.5, items)))
    return tokens * rng.lognormal(-0.3, 0.5, items) * (tokens / 22) ** -0.3, tokens


def paired_loss(rng: np.random.Generator, items: int) -> tuple[np.ndarray, np.ndarray]:
    """Before and after: the item's own difficulty in both, every item changed by its own factor."""
    nats, tokens = skewed_loss(rng, items)
    after = nats * rng.lognormal(-0.1, 0.3, items)
    return np.stack([nats, after], axis=1), np.stack([tokens, tokens], axis=1)


def coverage(draw: Callable, items: int, trials: int, resamples: int) -> float:
    def strata(sample, key: str) -> list[Stratum]:
        y, x = (np.reshape(column, (len(column), -1)) for column in sample)
        return [Stratum(key, y, x, np.array([-1.0, 1.0][-y.shape[1] :]))]

    truth = strata(draw(np.random.default_rng(10**6), 1_000_000), KEY)[0].value
    rng = np.random.default_rng(items)
    samples = [strata(draw(rng, items), f"{trial:x}") for trial in range(trials)]
    found = bootstrap_t(samples, confidence=0.95, resamples=resamples)
    return sum(estimate.low <= truth <= estimate.high for estimate in found) / trials


@pytest.mark.parametrize("items", [30, 200])
@pytest.mark.parametrize("draw", [skewed_loss, paired_loss])
def test_95_of_100_intervals_cover_the_truth(draw, items):
    trials = 300
    error = math.sqrt(0.95 * 0.05 / trials)
    assert abs(coverage(draw, items, trials, 200) - 0.95) < 3 * error


@pytest.mark.slow  # minutes: 2,000 bootstraps of each case
@pytest.mark.parametrize("items", [30, 100, 200])
@pytest.mark.parametrize("draw", [skewed_loss, paired_loss])
def test_95_of_100_intervals_cover_the_truth_closely(draw, items):
    trials = 2000
    error = math.sqrt(0.95 * 0.05 / trials)
    assert abs(coverage(draw, items, trials, 1000) - 0.95) < 4 * error


@pytest.mark.parametrize("items", [10, 30, 200])
def test_wilson_covers_shares_exactly_counted(items):
    """Summed over all outcomes, no simulation; Wilson's coverage swings around 95 % with the share."""
    from scipy.stats import binom

    intervals = [wilson(successes, items, 0.95) for successes in range(items + 1)]
    covers = []
    for share in np.linspace(0.02, 0.98, 97):
        outcomes = binom.pmf(np.arange(items + 1), items, share)
        covers.append(sum(p for p, (low, high) in zip(outcomes, intervals, strict=True) if low <= share <= high))
    assert min(covers) > 0.83
    assert 0.945 < np.mean(covers) < 0.965
