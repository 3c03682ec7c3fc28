"""Differences between checkpoints, item by item, and how sure they are.

Two checkpoints are compared on the items that both answered under one task key and one prompt hash; anything else is
refused with a reason. Pairing removes what makes an item hard for both, so differences are far surer than the figures.

- **Intervals.** 0/1 measures: Agresti and Min's adjusted Wald interval for matched pairs (2005), which does not shrink
  to nothing when no item changed; over categories combined by MOVER. Other ratios: the studentised bootstrap of
  :mod:`training.evaluation.statistics`, an item's before and after drawn together.
- **p-values**, two-sided, of a paired permutation test: under the null hypothesis before and after of an item may be
  swapped. For 0/1 measures of one category that is McNemar's exact test; else swaps are drawn at random, and p is at
  least 1 / (resamples + 1).
- **Holm's correction** (1979) over the contrasts that were planned: :data:`PLANNED_PAIRS` of checkpoints on
  :data:`PLANNED_METRICS`. All other differences are exploratory.
- **Minimal detectable difference**: (z of the confidence + z of 80 % power) standard errors of this very comparison; of
  0/1 measures the error under McNemar's null hypothesis, the root of the share of items that changed over the items.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import NormalDist

import numpy as np

from forge.schema import content_hash
from training.evaluation.figures import ALL, Difference
from training.evaluation.records import ItemRecord
from training.evaluation.statistics import (
    Estimate,
    Floats,
    MeasureTable,
    Stratum,
    Target,
    bootstrap_t,
    generator_of,
    mover,
    resampled_sums,
    stratum_key,
)
from training.evaluation.task import OverallScore

PLANNED_PAIRS = (("base", "I"), ("I", "II"), ("II", "III"), ("base", "III"))
"""Before and after."""
PLANNED_METRICS = (("bfcl_loss", ALL, "nats_per_token"), ("bfcl", "ast_v2_without_exec", "accuracy"))
"""Benchmark, category, metric."""
_POWER = 0.8
_CHUNK_CELLS = 2_000_000  # swaps times items that are held at a time
_ROUNDING = 1e-9  # a permuted difference that is equal but for rounding counts as equal


@dataclass(frozen=True)
class TaskRecords:
    """What the evaluation of a task left: the task's key, how prompts were rendered, records by item id."""

    key: str
    prompt_hash: str
    records: Mapping[str, ItemRecord]
    overall: Sequence[OverallScore] = ()


@dataclass(frozen=True)
class Comparison:
    """``refused``: why a task could not be compared, by its name."""

    before: str
    after: str
    differences: Sequence[Difference]
    refused: Mapping[str, str] = field(default_factory=dict)

    def find(self, benchmark: str, metric: str, category: str = ALL) -> Difference | None:
        return next(
            (
                found
                for found in self.differences
                if (found.benchmark, found.metric, found.category) == (benchmark, metric, category)
            ),
            None,
        )


def compare_stages(
    checkpoints: Mapping[str, Mapping[str, TaskRecords]], *, confidence: float, resamples: int, seed: int
) -> list[Comparison]:
    """The planned pairs of which both checkpoints were evaluated, and each checkpoint with the first, usually the base;
    Holm's correction is over all planned contrasts together. ``checkpoints``: records by checkpoint and task."""
    first, *others = checkpoints
    pairs = dict.fromkeys([*PLANNED_PAIRS, *((first, name) for name in others)])
    return with_holm(
        [
            differences(
                before,
                after,
                checkpoints[before],
                checkpoints[after],
                confidence=confidence,
                resamples=resamples,
                seed=seed,
            )
            for before, after in pairs
            if before in checkpoints and after in checkpoints
        ]
    )


def differences(
    before: str,
    after: str,
    before_records: Mapping[str, TaskRecords],
    after_records: Mapping[str, TaskRecords],
    *,
    confidence: float,
    resamples: int,
    seed: int,
) -> Comparison:
    """Every measure of every task that both measured, by category, over all items and by overall score; ``before`` and
    ``after`` name the checkpoints. Without Holm's correction: :func:`with_holm` adds it."""
    return differences_of_arms(
        before, after, [before_records], [after_records], confidence=confidence, resamples=resamples, seed=seed
    )


def differences_of_arms(
    before: str,
    after: str,
    before_runs: Sequence[Mapping[str, TaskRecords]],
    after_runs: Sequence[Mapping[str, TaskRecords]],
    *,
    confidence: float,
    resamples: int,
    seed: int,
) -> Comparison:
    """The same for arms of at least one run each (seeds), on the items that all of them measured.

    An arm's figure pools its runs. The standard error comes from a hierarchical bootstrap: runs of each arm are drawn
    (one fewer than there are, so that the variance of few runs is not underestimated: Rao and Wu 1988), then items, the
    same for all runs. A percentile interval of two or three seeds would be far too narrow: interval and p-value are
    those of Student's t with Welch and Satterthwaite's degrees of freedom. An arm of one run brings no seed noise: the
    interval then leaves it out, and ``interval`` says so.
    """
    found: list[Difference] = []
    refused: dict[str, str] = {}
    runs = [*before_runs, *after_runs]
    for task in dict.fromkeys(task for run in runs for task in run):
        reason = _refusal(task, runs)
        if reason:
            refused[task] = reason
            continue
        table = MeasureTable(*(run[task].records.values() for run in runs))
        targets = table.targets(runs[0][task].overall)
        key = partial(stratum_key, task, seed)
        if len(runs) == 2:
            results = _paired(table, targets, key, confidence, resamples)
        else:
            arms = slice(0, len(before_runs)), slice(len(before_runs), len(runs))
            results = _of_arms(table, targets, key, arms, confidence, resamples)
        found += [
            Difference(
                task,
                target.name,
                target.measure,
                before,
                after,
                result.estimate.value,
                result.estimate.low,
                result.estimate.high,
                result.p_value,
                None,
                result.minimal_detectable,
                result.items,
                result.before_value,
                result.estimate.method,
                result.test,
            )
            for target, result in zip(targets, results, strict=True)
        ]
    return Comparison(before, after, found, refused)


def _refusal(task: str, runs: Sequence[Mapping[str, TaskRecords]]) -> str:
    if not all(task in run for run in runs):
        return "not evaluated for both"
    of_task = [run[task] for run in runs]
    if len({found.key for found in of_task}) > 1:
        return "other items, data or judgement (task keys differ)"
    if len({found.prompt_hash for found in of_task}) > 1:
        return f"prompts were rendered otherwise ({', '.join(sorted({found.prompt_hash for found in of_task}))})"
    if not set.intersection(*(set(found.records) for found in of_task)):
        return "no item in common"
    return ""


@dataclass(frozen=True, slots=True)
class _Result:
    estimate: Estimate
    p_value: float
    minimal_detectable: float
    items: int
    before_value: float
    test: str


def _paired(
    table: MeasureTable, targets: Sequence[Target], key: Callable[[str], str], confidence: float, resamples: int
) -> list[_Result]:
    statistics = [target.strata(table, key, (-1.0, 1.0)) for target in targets]
    proportions = [table.is_proportion(target.measure) for target in targets]
    others = [strata for strata, proportion in zip(statistics, proportions, strict=True) if not proportion]
    bootstrapped = iter(bootstrap_t(others, confidence=confidence, resamples=resamples))
    exact = [proportion and len(strata) == 1 for strata, proportion in zip(statistics, proportions, strict=True)]
    drawn = iter(
        swap_p_values([strata for strata, found in zip(statistics, exact, strict=True) if not found], resamples)
    )
    power = power_factor(confidence)
    results = []
    for strata, proportion, is_exact in zip(statistics, proportions, exact, strict=True):
        estimate = _matched_pairs(strata, confidence) if proportion else next(bootstrapped)
        if is_exact:
            p_value, test = mcnemar_p_value(*_changes(strata[0])), "McNemar, exact"
        else:
            p_value, test = next(drawn), "paired permutation"
        results.append(
            _Result(
                estimate,
                p_value,
                power * estimate.standard_error,
                sum(stratum.items for stratum in strata),
                sum(float(-stratum.weights[0] * stratum.ratios[0]) for stratum in strata),
                test,
            )
        )
    return results


# --- 0/1 measures -----------------------------------------------------------------------------------------------------


def _changes(stratum: Stratum) -> tuple[int, int]:
    """Items that only before has right, items that only after has right."""
    moved = stratum.numerators[:, 1] - stratum.numerators[:, 0]
    return int((moved < 0).sum()), int((moved > 0).sum())


def _matched_pairs(strata: Sequence[Stratum], confidence: float) -> Estimate:
    """The standard error is McNemar's, under the hypothesis of no difference."""
    parts, variance = [], 0.0
    for stratum in strata:
        lost, gained = _changes(stratum)
        weight, items = float(stratum.weights[1]), stratum.items
        parts.append((weight, (gained - lost) / items, *matched_pairs_interval(lost, gained, items, confidence)))
        variance += weight**2 * (lost + gained + 1) / (items + 2) / items
    method = "Agresti-Min" if len(strata) == 1 else "MOVER of Agresti-Min"
    return Estimate(*mover(parts), math.sqrt(variance), method)


def matched_pairs_interval(lost: int, gained: int, items: int, confidence: float) -> tuple[float, float]:
    """Of the difference of two shares of the same items: Wald's interval after adding half an item to each of the four
    cells (Agresti and Min 2005, Statistics in Medicine 24: 729-740)."""
    value, adjusted = (gained - lost) / items, (gained - lost) / (items + 2)
    error = math.sqrt((lost + gained + 1) / (items + 2) - adjusted**2) / math.sqrt(items + 2)
    reach = _two_sided_z(confidence) * error
    return max(-1.0, min(value, adjusted - reach)), min(1.0, max(value, adjusted + reach))


def mcnemar_p_value(lost: int, gained: int) -> float:
    """Of McNemar's exact test: whether changes go one way more often than a coin would; 1 when nothing changed."""
    from scipy.stats import binomtest

    return float(binomtest(lost, lost + gained).pvalue) if lost + gained else 1.0


def mcnemar_minimal_detectable(changed_share: float, items: int, confidence: float) -> float:
    """The difference of two shares that is found with 80 % power when ``changed_share`` of the items change."""
    return power_factor(confidence) * math.sqrt(changed_share / items)


def power_factor(confidence: float) -> float:
    """Standard errors that a true difference must have to be found with 80 % power."""
    return _two_sided_z(confidence) + NormalDist().inv_cdf(_POWER)


def _two_sided_z(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)


# --- permutation, Holm ------------------------------------------------------------------------------------------------


def swap_p_values(statistics: Sequence[Sequence[Stratum]], resamples: int) -> list[float]:
    """Two-sided, of paired permutation tests. Each statistic's strata have two ratios, before and after.

    Only the sums move when items are swapped, by the differences of the swapped items; statistics share the swaps of
    equally many items under one key.
    """
    strata = [stratum for found in statistics for stratum in found]
    groups: dict[tuple[str, int], list[int]] = {}
    for place, stratum in enumerate(strata):
        groups.setdefault((stratum.key, stratum.items), []).append(place)
    values: dict[int, Floats] = {}
    for (key, _items), places in groups.items():
        moves = [
            np.stack([np.diff(strata[place].numerators)[:, 0], np.diff(strata[place].denominators)[:, 0]], axis=1)
            for place in places
        ]
        swapped = _swapped_sums(np.hstack(moves), content_hash("swaps", key), resamples)
        for place, (numerator, denominator) in zip(places, swapped.T.reshape(-1, 2, resamples), strict=True):
            signs = np.array([1.0, -1.0])[:, None]  # what one side gains, the other loses
            numerators = strata[place].numerators.sum(0)[:, None] + signs * numerator
            denominators = strata[place].denominators.sum(0)[:, None] + signs * denominator
            with np.errstate(divide="ignore", invalid="ignore"):
                values[place] = strata[place].weights @ (numerators / denominators)
    in_order = iter(range(len(strata)))
    p_values = []
    for found in statistics:
        permuted = np.abs(np.sum([values[next(in_order)] for _ in found], axis=0))
        observed = abs(sum(stratum.value for stratum in found))
        as_far = int((~(permuted < observed * (1 - _ROUNDING))).sum())  # also where no denominator was left
        p_values.append((1 + as_far) / (1 + resamples))
    return p_values


def _swapped_sums(columns: Floats, key: str, resamples: int) -> Floats:
    """(resamples, columns): sums over items of which each is in with probability one half."""
    random, items = generator_of(key), len(columns)
    rows = max(1, _CHUNK_CELLS // items)
    parts = [
        random.integers(0, 2, (min(rows, resamples - first), items), dtype=np.int8).astype(np.float64) @ columns
        for first in range(0, resamples, rows)
    ]
    return np.concatenate(parts)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the given order (Holm 1979)."""
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def is_planned(difference: Difference) -> bool:
    pair = (difference.before, difference.after)
    return pair in PLANNED_PAIRS and (difference.benchmark, difference.category, difference.metric) in PLANNED_METRICS


def with_holm(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons with ``p_holm`` of what was planned, over all of them together."""
    planned = [found.p_value for comparison in comparisons for found in comparison.differences if is_planned(found)]
    adjusted = iter(holm(planned))
    return [
        replace(
            comparison,
            differences=[
                replace(found, p_holm=next(adjusted)) if is_planned(found) else found
                for found in comparison.differences
            ],
        )
        for comparison in comparisons
    ]


# --- arms of several runs ---------------------------------------------------------------------------------------------


def _of_arms(
    table: MeasureTable,
    targets: Sequence[Target],
    key: Callable[[str], str],
    arms: tuple[slice, slice],
    confidence: float,
    resamples: int,
) -> list[_Result]:
    from scipy.stats import t as student

    results = []
    for target in targets:
        runs = target.strata(table, key, [1.0] * arms[1].stop)
        pooled = [_pooled(stratum, arms) for stratum in runs]
        value, item_variance = sum(stratum.value for stratum in pooled), sum(stratum.variance for stratum in pooled)
        items = sum(stratum.items for stratum in pooled)
        if math.isinf(item_variance):
            error, freedom = math.inf, 1.0
        else:
            variance = float(np.var(_hierarchical(runs, arms, key(target.name), resamples), ddof=1))
            if table.is_proportion(target.measure):  # as Agresti and Min: items that never changed may yet do
                variance = max(variance, sum(float(found.weights[1]) ** 2 / (found.items + 2) ** 2 for found in pooled))
            error = math.sqrt(variance)
            freedom = _degrees_of_freedom([(item_variance, items - len(pooled)), *_run_variances(runs, arms)])
        reach = float(student.ppf((1 + confidence) / 2, freedom))
        p_value = 2 * float(student.sf(abs(value) / error, freedom)) if error > 0 else float(value == 0)
        alone = [name for name, arm in zip(("before", "after"), arms, strict=True) if arm.stop - arm.start == 1]
        method = "hierarchical bootstrap" + (f", without seed noise of {' and '.join(alone)}" if alone else "")
        results.append(
            _Result(
                Estimate(value, value - reach * error, value + reach * error, error, method),
                p_value,
                (reach + float(student.ppf(_POWER, freedom))) * error,
                items,
                sum(float(-found.weights[0] * found.ratios[0]) for found in pooled),
                "Student t",
            )
        )
    return results


def _pooled(runs: Stratum, arms: tuple[slice, slice]) -> Stratum:
    """The sums of each arm's runs: before, after."""
    numerators, denominators = (
        np.stack([sums[:, arm].sum(1) for arm in arms], axis=1) for sums in (runs.numerators, runs.denominators)
    )
    return Stratum(runs.key, numerators, denominators, float(runs.weights[0]) * np.array([-1.0, 1.0]))


def _hierarchical(strata: Sequence[Stratum], arms: tuple[slice, slice], key: str, resamples: int) -> Floats:
    """(resamples,): differences of the arms, of drawn runs and drawn items."""
    random = generator_of(content_hash("runs", key))
    drawn = [_drawn_runs(arm.stop - arm.start, random, resamples) for arm in arms]
    values = np.zeros(resamples)
    for stratum in strata:
        count = stratum.numerators.shape[1]
        sums = resampled_sums(np.hstack([stratum.numerators, stratum.denominators]), stratum.key, resamples)
        numerators, denominators = sums[:, :count], sums[:, count:]
        before, after = (
            (times * numerators[:, arm]).sum(1) / (times * denominators[:, arm]).sum(1)
            for times, arm in zip(drawn, arms, strict=True)
        )
        values += float(stratum.weights[0]) * (after - before)
    return values


def _drawn_runs(count: int, random: np.random.Generator, resamples: int) -> Floats:
    """(resamples, count): how often each run is drawn."""
    if count == 1:
        return np.ones((resamples, 1))
    return random.multinomial(count - 1, np.full(count, 1 / count), resamples).astype(np.float64)


def _run_variances(strata: Sequence[Stratum], arms: tuple[slice, slice]) -> Iterator[tuple[float, int]]:
    """Of each arm with several runs: the variance of their mean, and its degrees of freedom."""
    values = np.sum([stratum.weights[0] * stratum.ratios for stratum in strata], axis=0)
    for arm in arms:
        count = arm.stop - arm.start
        if count > 1:
            yield float(np.var(values[arm], ddof=1)) / count, count - 1


def _degrees_of_freedom(parts: Sequence[tuple[float, int]]) -> float:
    """Of a sum of variances (Welch 1947, Satterthwaite 1946)."""
    total = sum(variance for variance, _ in parts)
    return total**2 / sum(variance**2 / freedom for variance, freedom in parts) if total > 0 else math.inf
