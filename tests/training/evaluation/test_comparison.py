"""Differences between checkpoints: against definitions, exact enumeration, the planned figures; and what is refused."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.evaluation.comparison import (
    PLANNED_METRICS,
    PLANNED_PAIRS,
    Comparison,
    TaskRecords,
    compare_stages,
    differences,
    differences_of_arms,
    holm,
    matched_pairs_interval,
    mcnemar_minimal_detectable,
    mcnemar_p_value,
    swap_p_values,
)
from training.evaluation.records import ItemRecord
from training.evaluation.statistics import Stratum, stratum_key
from training.evaluation.task import OverallScore

SCORE = OverallScore("mean", "accuracy", {"easy": 0.5, "hard": 0.5})
HOW = {"confidence": 0.95, "resamples": 200, "seed": 3}


def task(measures: list[Mapping[str, tuple[float, float]]], **changes) -> TaskRecords:
    """Items that are easy and hard in turn."""
    records = {
        f"i{number:04}": ItemRecord(f"i{number:04}", ("easy", "hard")[number % 2], found)
        for number, found in enumerate(measures)
    }
    return replace(TaskRecords("key", "prompt", records, (SCORE,)), **changes)


def losses(pairs) -> TaskRecords:
    return task([{"nats_per_token": (float(nats), float(tokens))} for nats, tokens in pairs])


def answers(right) -> TaskRecords:
    return task([{"accuracy": (float(one), 1.0)} for one in right])


def compare(before: TaskRecords, after: TaskRecords) -> Comparison:
    return differences("base", "I", {"bench": before}, {"bench": after}, **HOW)


def test_a_difference_is_after_less_before():
    found = compare(losses([(2, 4), (3, 4)]), losses([(1, 4), (2, 4)])).find("bench", "nats_per_token")
    assert found is not None
    assert (found.before_value, found.value, found.items) == (5 / 8, pytest.approx(-2 / 8), 2)
    assert (found.before, found.after, found.p_holm) == ("base", "I", None)


def test_only_items_of_both_are_compared():
    before, after = answers([1, 1, 0, 0]), answers([1, 1, 0, 0, 1, 1])
    found = compare(before, after).find("bench", "accuracy")
    assert found is not None
    assert (found.value, found.items) == (0.0, 4)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"key": "other"}, "task keys differ"),
        ({"prompt_hash": "other"}, "rendered otherwise (other, prompt)"),
        ({"records": {}}, "no item in common"),
    ],
)
def test_what_was_measured_otherwise_is_refused(change, reason):
    before = answers([1, 0, 1])
    found = compare(before, replace(before, **change))
    assert found.differences == []
    assert reason in found.refused["bench"]


def test_a_task_of_one_side_is_named():
    found = differences("base", "I", {"bench": answers([1])}, {}, **HOW)
    assert found.refused == {"bench": "not evaluated for both"}


def test_equal_records_differ_by_nothing():
    rng = np.random.default_rng(0)
    measures = [
        {"accuracy": (float(rng.integers(2)), 1.0), "nats_per_token": (float(rng.random()), 3.0)} for _ in range(40)
    ]
    for found in compare(task(measures), task(measures)).differences:
        assert (found.value, found.p_value) == (0.0, 1.0)
        assert found.low <= 0.0 <= found.high
        if found.metric == "nats_per_token":
            assert (found.low, found.high, found.minimal_detectable) == (0.0, 0.0, 0.0)
        else:  # 40 equal answers do not show that no answer would ever change
            assert found.high > 0.02


def test_overall_scores_are_compared_by_category():
    right = [1, 0] * 20
    found = compare(answers(right), answers([1] * 40)).find("bench", "accuracy", "mean")
    assert found is not None
    assert (found.before_value, found.value) == (0.5, 0.5)
    assert found.interval == "MOVER of Agresti-Min"
    assert found.p_value == 1 / 201  # no swap of 20 changed items came near


def test_tokens_of_before_and_after_may_differ():
    """The best of several right answers may be another one for another model."""
    rng = np.random.default_rng(2)
    before, after = ([(rng.random() * tokens, tokens) for tokens in rng.integers(2, 9, 50)] for _ in range(2))
    found = compare(losses(before), losses(after)).find("bench", "nats_per_token")
    assert found is not None
    ratios = [sum(nats for nats, _ in pairs) / sum(tokens for _, tokens in pairs) for pairs in (before, after)]
    assert found.value == pytest.approx(ratios[1] - ratios[0])
    assert found.low < 0 < found.high


pairs = st.lists(
    st.tuples(st.floats(0, 9), st.floats(0, 9), st.integers(1, 9), st.booleans(), st.booleans()), min_size=1, max_size=9
)


@settings(deadline=None, max_examples=20)
@given(pairs)
def test_turned_around_only_the_sign_changes(found):
    before = task([{"nats": (nats, tokens), "accuracy": (float(right), 1.0)} for nats, _, tokens, right, _ in found])
    after = task([{"nats": (nats, tokens), "accuracy": (float(right), 1.0)} for _, nats, tokens, _, right in found])
    there = compare(before, after).differences
    back = compare(after, before).differences
    assert len(there) == len(back)
    for one, other in zip(there, back, strict=True):
        assert one.low <= one.value <= one.high
        assert 0 < one.p_value <= 1
        assert (one.value, one.p_value) == (pytest.approx(-other.value), other.p_value)
        assert (one.low, one.high) == (pytest.approx(-other.high), pytest.approx(-other.low))
        assert one.minimal_detectable == pytest.approx(other.minimal_detectable)


# --- tests and intervals of 0/1 measures ------------------------------------------------------------------------------


def test_mcnemars_test_is_a_coin():
    assert mcnemar_p_value(0, 0) == 1.0
    assert mcnemar_p_value(0, 6) == pytest.approx(2 / 64)
    assert mcnemar_p_value(2, 8) == mcnemar_p_value(8, 2) == pytest.approx(2 * (1 + 10 + 45) / 1024)


@pytest.mark.parametrize(("items", "points"), [(2351, (1.8, 2.6, 3.2)), (1000, (2.8, 4.0, 4.9))])
def test_minimal_detectable_differences_are_the_planned_ones(items, points):
    found = [100 * mcnemar_minimal_detectable(changed, items, 0.95) for changed in (0.1, 0.2, 0.3)]
    assert tuple(round(value, 1) for value in found) == points


def test_a_comparison_states_its_minimal_detectable_difference():
    """400 of 2,000 items change, as many each way."""
    before = [number % 2 for number in range(2000)]
    after = [1 - right if number < 400 else right for number, right in enumerate(before)]
    found = compare(answers(before), answers(after)).find("bench", "accuracy")
    assert found is not None
    assert found.minimal_detectable == pytest.approx(mcnemar_minimal_detectable(0.2, 2000, 0.95), rel=0.01)


def test_a_true_difference_of_that_size_is_found_4_times_in_5():
    rng = np.random.default_rng(0)
    items, changed = 1000, 0.2
    true = mcnemar_minimal_detectable(changed, items, 0.95)
    shares = [(changed - true) / 2, (changed + true) / 2, 1 - changed]
    lost, gained, _ = rng.multinomial(items, shares, 500).T
    found = np.mean([mcnemar_p_value(int(b), int(c)) < 0.05 for b, c in zip(lost, gained, strict=True)])
    assert 0.73 < found < 0.85  # the exact test is a little conservative


@pytest.mark.parametrize(("items", "least"), [(10, 0.88), (30, 0.92), (60, 0.93)])
def test_intervals_of_matched_pairs_cover_exactly_counted(items, least):
    """Summed over all outcomes (lost, gained), no simulation."""
    from scipy.stats import multinomial

    outcomes = [(lost, gained) for lost in range(items + 1) for gained in range(items + 1 - lost)]
    intervals = np.array([matched_pairs_interval(lost, gained, items, 0.95) for lost, gained in outcomes])
    counts = np.array([(lost, gained, items - lost - gained) for lost, gained in outcomes])
    covers = []
    for to_worse, to_better in itertools.product((0.01, 0.03, 0.1, 0.2, 0.4), repeat=2):
        chances = multinomial.pmf(counts, items, [to_worse, to_better, 1 - to_worse - to_better])
        truth = to_better - to_worse
        covers.append(chances[(intervals[:, 0] <= truth) & (truth <= intervals[:, 1])].sum())
    assert min(covers) > least
    assert np.mean(covers) > 0.945


# --- permutation and Holm ---------------------------------------------------------------------------------------------


def test_p_values_are_those_of_all_swaps():
    rng = np.random.default_rng(4)
    y, x = rng.lognormal([0.0, 0.6], 1.0, (9, 2)), rng.integers(2, 7, (9, 2)).astype(float)
    observed = abs(np.diff(y.sum(0) / x.sum(0))[0])
    as_far = 0
    for swaps in itertools.product((False, True), repeat=9):
        swapped_y, swapped_x = (np.where(np.array(swaps)[:, None], sums[:, ::-1], sums) for sums in (y, x))
        as_far += abs(np.diff(swapped_y.sum(0) / swapped_x.sum(0))[0]) >= observed * (1 - 1e-9)
    exact = as_far / 2**9
    drawn = swap_p_values([[Stratum(stratum_key("bench", 3, "easy"), y, x, np.array([-1.0, 1.0]))]], 20_000)[0]
    assert drawn == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 20_000))


def test_holm_of_a_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_keeps_the_order_between_the_p_value_and_bonferroni(p_values):
    adjusted = holm(p_values)
    for p, q in zip(p_values, adjusted, strict=True):
        assert p <= q <= min(1.0, len(p_values) * p) + 1e-12
    in_order = [q for _, q in sorted(zip(p_values, adjusted, strict=True))]
    assert in_order == sorted(in_order)


def test_stages_are_compared_as_planned():
    rng = np.random.default_rng(5)
    nats = rng.lognormal(size=60)

    def measured(gain: float) -> dict[str, TaskRecords]:
        loss = losses([(10 * (value - gain * (1 + rng.random())), 10) for value in nats])
        return {"bfcl_loss": loss, "code_loss": loss}

    checkpoints = {"base": measured(0.0), "I": measured(0.1), "II": measured(0.1), "III": measured(0.12)}
    found = compare_stages(checkpoints, **HOW)
    assert [(one.before, one.after) for one in found] == [*PLANNED_PAIRS, ("base", "II")]
    planned = [one for comparison in found for one in comparison.differences if one.p_holm is not None]
    assert {(one.benchmark, one.category, one.metric) for one in planned} == {PLANNED_METRICS[0]}
    assert [(one.before, one.after) for one in planned] == list(PLANNED_PAIRS)
    assert [one.p_holm for one in planned] == holm([one.p_value for one in planned])
    assert planned[0].p_holm is not None
    assert planned[0].p_holm < 0.05


def test_models_of_other_names_are_compared_with_the_first():
    loss = {"bfcl_loss": losses([(1, 2), (2, 3)])}
    found = compare_stages({"ours": loss, "theirs": loss, "older": loss}, **HOW)
    assert [(one.before, one.after) for one in found] == [("ours", "theirs"), ("ours", "older")]
    assert all(one.p_holm is None for comparison in found for one in comparison.differences)


# --- arms -------------------------------------------------------------------------------------------------------------


def arm(rng: np.random.Generator, difficulty: np.ndarray, effect: float, seed_sd: float, seeds: int) -> list:
    """Runs of one arm: the items' difficulty, a shift of each seed, noise of each item and seed."""
    runs = []
    for _ in range(seeds):
        shift = effect + rng.normal(0, seed_sd)
        runs.append({"bench": losses([(20 * (one + shift + rng.normal(0, 0.05)), 20) for one in difficulty])})
    return runs


def of_arms(before, after):
    found = differences_of_arms("A", "B", before, after, **HOW).find("bench", "nats_per_token")
    assert found is not None
    return found


def test_arms_of_one_run_are_a_paired_comparison():
    rng = np.random.default_rng(6)
    before, after = (arm(rng, rng.lognormal(size=30), 0.1, 0.0, 1) for _ in range(2))
    one = differences_of_arms("A", "B", before, after, **HOW)
    assert one == differences("A", "B", before[0], after[0], **HOW)


def test_noise_of_seeds_widens_the_interval():
    difficulty = np.random.default_rng(7).lognormal(size=100)
    quiet, noisy = (
        of_arms(*(arm(np.random.default_rng(side), difficulty, 0.1 * side, sd, 3) for side in (0, 1)))
        for sd in (0.0, 0.2)
    )
    assert quiet.p_value < 0.001
    assert noisy.high - noisy.low > 5 * (quiet.high - quiet.low)
    assert noisy.interval == "hierarchical bootstrap"


def test_an_arm_of_one_run_is_named():
    rng = np.random.default_rng(8)
    difficulty = rng.lognormal(size=30)
    found = of_arms(arm(rng, difficulty, 0.0, 0.1, 1), arm(rng, difficulty, 0.0, 0.1, 3))
    assert found.interval == "hierarchical bootstrap, without seed noise of before"


def test_equal_arms_differ_by_nothing():
    run = {"bench": task([{"accuracy": (0.0, 1.0), "nats": (2.0, 3.0)} for _ in range(30)])}
    for found in differences_of_arms("A", "B", [run, run], [run, run], **HOW).differences:
        assert (found.value, found.p_value) == (0.0, 1.0)
        assert (found.high > 0.02) == (found.metric == "accuracy")


def covered_by_arms(seeds: int, seed_sd: float, trials: int) -> float:
    rng = np.random.default_rng(seeds)
    hits = 0
    for _ in range(trials):
        difficulty = rng.lognormal(0, 0.4, 40)
        found = of_arms(arm(rng, difficulty, 0.0, seed_sd, seeds), arm(rng, difficulty, 0.1, seed_sd, seeds))
        hits += found.low <= 0.1 <= found.high
    return hits / trials


@pytest.mark.slow  # minutes: 600 comparisons of each case
@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("seed_sd", [0.0, 0.02, 0.1])
def test_intervals_of_arms_cover_the_truth(seeds, seed_sd):
    assert covered_by_arms(seeds, seed_sd, 600) > 0.92
