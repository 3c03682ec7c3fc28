"""Figures of a task with their confidence intervals: ratios of sums over items, and weighted sums of such ratios.

An interval says how far a figure may move when other items of the same kind are drawn, and nothing of other seeds.

- **0/1 measures** (accuracy, decodable, success): Wilson's score interval (Wilson 1927), which stays honest where the
  bootstrap has nothing to resample, at 0 and at 1. A weighted sum over categories combines their Wilson intervals by
  MOVER (Zou and Donner 2008): each side is the root of the summed squares of the categories' distances to that side.
- **All other ratios**: of each side the farther end of two intervals, numerator and denominator drawn together. The
  studentised bootstrap over items ("bootstrap-t", Efron and Tibshirani 1993, chapter 12) follows the skew of losses,
  where the percentile bootstrap, BCa and Student's t miss more often than they say; Student's t holds for symmetric
  differences with long tails, where all bootstraps are short (docs/evaluation.md has the coverages). Both take the
  standard error of a linearised ratio, from e = y - R x: no inner resampling, the cost is a matrix product.

Items of a task are resampled as one set for :data:`training.evaluation.figures.ALL`, within each category for an
overall score. The resampling depends on the seed, the benchmark, the category and the number of items: the order of
records changes nothing, and all measures of the same items share it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from forge.schema import content_hash
from training.evaluation.figures import ALL, Figure
from training.evaluation.records import ItemRecord
from training.evaluation.task import OverallScore

Floats: TypeAlias = NDArray[np.float64]

_CHUNK_CELLS = 2_000_000  # resamples times items that are held at a time: 16 MB
_NO_SPREAD = 1e-12  # variance of a resample, as a share of that of the items, which is nothing but rounding


@dataclass(frozen=True, slots=True)
class Estimate:
    """``low`` and ``high`` are infinite, and so is the error, where a single item says nothing of the others."""

    value: float
    low: float
    high: float
    standard_error: float
    method: str


@dataclass(frozen=True)
class Stratum:
    """Items that are drawn together, and what they add to a statistic: the sum of ``weights`` times ratios of sums.

    ``numerators`` and ``denominators`` are (items, ratios), ``weights`` (ratios,): one ratio for a figure, two with
    weights 1 and -1 for a paired difference. ``key`` seeds the resampling.
    """

    key: str
    numerators: Floats
    denominators: Floats
    weights: Floats

    @property
    def items(self) -> int:
        return len(self.numerators)

    @property
    def ratios(self) -> Floats:
        ratios: Floats = self.numerators.sum(0) / self.denominators.sum(0)
        return ratios

    @property
    def value(self) -> float:
        return float(self.weights @ self.ratios)

    @property
    def influences(self) -> Floats:
        """(items,): by how much an item moves the value, linearised; they sum to 0."""
        residuals = self.numerators - self.ratios * self.denominators
        influences: Floats = (residuals / self.denominators.sum(0)) @ self.weights
        return influences

    @property
    def variance(self) -> float:
        """Of the value, linearised; infinite for a single item."""
        return self.items / (self.items - 1) * float((self.influences**2).sum()) if self.items > 1 else math.inf


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure is of: a category, ALL or an overall score, and the weight of each category in it."""

    name: str
    measure: str
    weights: Mapping[str, float]
    leaves_out: str = ""

    def strata(self, table: MeasureTable, key: Callable[[str], str], signs: Sequence[float] = (1.0,)) -> list[Stratum]:
        """``key`` of a category; ``signs``: what each run's ratio counts."""
        return [
            Stratum(key(category), *table.sums(self.measure, category), weight * np.array(signs))
            for category, weight in self.weights.items()
        ]


class MeasureTable:
    """Numerators and denominators of the items that all of several runs measured, by measure and category, in the order
    of item ids. A measure without a denominator, such as no token, is left out.

    Raises :class:`ValueError` when a category is named :data:`ALL`, an item is there twice, or runs disagree about its
    category.
    """

    def __init__(self, *runs: Iterable[ItemRecord]) -> None:
        by_id = [_by_id(run) for run in runs]
        found: dict[str, dict[str, list[list[tuple[float, float]]]]] = {}
        for item_id in sorted(set.intersection(*map(set, by_id))):
            records = [run[item_id] for run in by_id]
            if len({record.category for record in records}) > 1:
                raise ValueError(f"item {item_id} has several categories")
            for measure in set.intersection(*(set(record.measures) for record in records)):
                pairs = [record.measures[measure] for record in records]
                by_category = found.setdefault(measure, {})
                for category in (records[0].category, ALL):
                    by_category.setdefault(category, []).append(pairs)
        self._pairs = {
            measure: {
                category: array
                for category, pairs in sorted(by_category.items())
                if ((array := np.array(pairs, dtype=np.float64))[:, :, 1].sum(0) > 0).all()
            }
            for measure, by_category in sorted(found.items())
        }

    def sums(self, measure: str, category: str) -> tuple[Floats, Floats]:
        """Numerators and denominators, each (items, runs)."""
        pairs = self._pairs[measure][category]
        return pairs[:, :, 0], pairs[:, :, 1]

    def is_proportion(self, measure: str) -> bool:
        """Whether every item counts 0 or 1 of 1."""
        pairs = self._pairs[measure][ALL]
        return bool(np.isin(pairs[:, :, 0], (0.0, 1.0)).all() and (pairs[:, :, 1] == 1.0).all())

    def targets(self, overall: Sequence[OverallScore]) -> list[Target]:
        """Each measure of each category and of ALL; each overall score whose categories all have items."""
        targets = [
            Target(category, measure, {category: 1.0})
            for measure, by_category in self._pairs.items()
            for category in by_category
        ]
        reasons = self.not_given(overall)
        return targets + [
            Target(score.name, score.measure, score.weights, score.leaves_out)
            for score in overall
            if score.name not in reasons
        ]

    def not_given(self, overall: Sequence[OverallScore]) -> dict[str, str]:
        """Why an overall score cannot be given, by its name; empty when all can."""
        reasons = {}
        for score in overall:
            missing = sorted(score.weights.keys() - self._pairs.get(score.measure, {}).keys())
            if missing:
                reasons[score.name] = f"no item measures {score.measure} in {', '.join(missing)}"
        return reasons


def _by_id(records: Iterable[ItemRecord]) -> dict[str, ItemRecord]:
    found: dict[str, ItemRecord] = {}
    for record in records:
        if record.category == ALL:
            raise ValueError(f"{ALL!r} is no name for a category: it stands for all of them")
        if record.item_id in found:
            raise ValueError(f"item {record.item_id} has two records")
        found[record.item_id] = record
    return found


def figures_of(
    benchmark: str,
    records: Iterable[ItemRecord],
    overall: Sequence[OverallScore],
    *,
    confidence: float,
    resamples: int,
    seed: int,
) -> list[Figure]:
    """Each measure of each category, of :data:`ALL` items pooled, and each overall score whose categories all have
    items (:func:`not_given` names the others). Records that lack a measure do not count for it.

    Raises :class:`ValueError` for records that :class:`MeasureTable` refuses.
    """
    table = MeasureTable(records)
    targets = table.targets(overall)
    statistics = [target.strata(table, partial(stratum_key, benchmark, seed)) for target in targets]
    proportions = [table.is_proportion(target.measure) for target in targets]
    estimates = estimates_of(statistics, proportions, confidence=confidence, resamples=resamples)
    return [
        Figure(
            benchmark,
            target.name,
            target.measure,
            estimate.value,
            estimate.low,
            estimate.high,
            sum(stratum.items for stratum in strata),
            target.leaves_out,
            estimate.method,
        )
        for target, strata, estimate in zip(targets, statistics, estimates, strict=True)
    ]


def not_given(records: Iterable[ItemRecord], overall: Sequence[OverallScore]) -> dict[str, str]:
    """Why an overall score cannot be given, by its name; empty when all can."""
    return MeasureTable(records).not_given(overall)


def stratum_key(benchmark: str, seed: int, category: str) -> str:
    return content_hash("resampling", str(seed), benchmark, category)


def estimates_of(
    statistics: Sequence[Sequence[Stratum]], proportions: Sequence[bool], *, confidence: float, resamples: int
) -> list[Estimate]:
    """Wilson or MOVER where ``proportions`` says that a statistic's one ratio per stratum counts 0/1 items, else
    bootstrap-t."""
    others = [strata for strata, proportion in zip(statistics, proportions, strict=True) if not proportion]
    bootstrapped = iter(bootstrap_t(others, confidence=confidence, resamples=resamples))
    return [
        _proportion(strata, confidence) if proportion else next(bootstrapped)
        for strata, proportion in zip(statistics, proportions, strict=True)
    ]


def _proportion(strata: Sequence[Stratum], confidence: float) -> Estimate:
    parts = []
    for stratum in strata:
        successes, weight = int(stratum.numerators.sum()), float(stratum.weights[0])
        low, high = wilson(successes, stratum.items, confidence)
        parts.append((weight, successes / stratum.items, low, high))
    error = math.sqrt(sum(stratum.variance for stratum in strata))
    return Estimate(*mover(parts), error, "Wilson" if len(strata) == 1 else "MOVER of Wilson")


def wilson(successes: int, items: int, confidence: float) -> tuple[float, float]:
    """Wilson's score interval of a proportion, without continuity correction."""
    from scipy.stats import binomtest

    interval = binomtest(successes, items).proportion_ci(confidence, method="wilson")
    share = successes / items
    return min(float(interval.low), share), max(float(interval.high), share)


def mover(parts: Sequence[tuple[float, float, float, float]]) -> tuple[float, float, float]:
    """Value and interval of a weighted sum of independent estimates, each (weight, value, low, high), by the method of
    variance estimates recovery (Zou and Donner 2008, Statistics in Medicine 27: 1693-1702)."""
    value = sum(weight * estimate for weight, estimate, _, _ in parts)
    below = [weight * (estimate - (low if weight > 0 else high)) for weight, estimate, low, high in parts]
    above = [weight * ((high if weight > 0 else low) - estimate) for weight, estimate, low, high in parts]
    return value, value - math.hypot(*below), value + math.hypot(*above)


def bootstrap_t(statistics: Sequence[Sequence[Stratum]], *, confidence: float, resamples: int) -> list[Estimate]:
    """Estimates of statistics, each the sum of what its strata add; never narrower than Student's t.

    Resamples in which all items are the same have no spread: they count as infinitely far, so that a few items give
    wide intervals and not narrow ones.
    """
    from scipy.stats import t as student

    known = [strata for strata in statistics if all(stratum.items > 1 for stratum in strata)]
    draws = _resampled([stratum for strata in known for stratum in strata], resamples)
    estimates = []
    for strata in statistics:
        value, variance = sum(stratum.value for stratum in strata), sum(stratum.variance for stratum in strata)
        if math.isinf(variance):
            estimates.append(Estimate(value, -math.inf, math.inf, math.inf, "bootstrap-t"))
            continue
        pairs = [next(draws) for _ in strata]
        moves = np.sum([pair[0] for pair in pairs], axis=0)
        variances = np.sum([pair[1] for pair in pairs], axis=0)
        error = math.sqrt(variance)
        t_low, t_high = _quantiles(_studentised(moves, variances, variance), confidence)
        t = float(student.ppf((1 + confidence) / 2, sum(stratum.items - 1 for stratum in strata)))
        below, above = (max(t, t_high) * error, max(t, -t_low) * error) if error > 0 else (0.0, 0.0)
        estimates.append(Estimate(value, value - below, value + above, error, "bootstrap-t"))
    return estimates


def _studentised(moves: Floats, variances: Floats, variance: float) -> Floats:
    """(resamples,): distances from the value in standard errors of the resample itself."""
    flat = variances <= _NO_SPREAD * variance
    t: Floats = moves / np.sqrt(np.where(flat, 1.0, variances))
    return np.where(flat & (moves != 0), np.copysign(np.inf, moves), t)[~np.isnan(t)]


def _quantiles(values: Floats, confidence: float) -> tuple[float, float]:
    """The order statistics that leave (1 - confidence) / 2 outside on each side, at least the outermost; infinite where
    there are no values."""
    if not len(values):
        return -math.inf, math.inf
    ordered = np.sort(values)
    outside = max(1, int((len(ordered) + 1) * (1 - confidence) / 2))
    return float(ordered[outside - 1]), float(ordered[-outside])


def _resampled(strata: Sequence[Stratum], resamples: int) -> Iterator[tuple[Floats, Floats]]:
    """For each stratum, (resamples,) each: the value's move, and its linearised variance in the resample.

    In a resample that draws item i w_i times, with residuals e = y - R x, a ratio moves by d = sum w e / sum w x, and
    its own residuals are e - d x: sums of e, x and of their products suffice.
    """
    groups: dict[tuple[str, int], list[int]] = {}
    for place, stratum in enumerate(strata):
        groups.setdefault((stratum.key, stratum.items), []).append(place)
    found: dict[int, tuple[Floats, Floats]] = {}
    for (key, _items), places in groups.items():
        columns = [_moment_columns(strata[place]) for place in places]
        sums = resampled_sums(np.hstack(columns), key, resamples)
        ends = np.cumsum([column.shape[1] for column in columns])[:-1]
        for place, of_stratum in zip(places, np.split(sums, ends, axis=1), strict=True):
            found[place] = _moves(strata[place], of_stratum)
    return (found[place] for place in range(len(strata)))


def _moment_columns(stratum: Stratum) -> Floats:
    """(items, 2 ratios + products): residuals, denominators, and the products of each two of them."""
    residuals = stratum.numerators - stratum.ratios * stratum.denominators
    base = np.hstack([residuals, stratum.denominators])
    first, second = np.triu_indices(base.shape[1])
    return np.hstack([base, base[:, first] * base[:, second]])


def _moves(stratum: Stratum, sums: Floats) -> tuple[Floats, Floats]:
    ratios = len(stratum.weights)
    numerators, denominators, seconds = np.split(sums, [ratios, 2 * ratios], axis=1)
    first, second = np.triu_indices(2 * ratios)
    with np.errstate(divide="ignore", invalid="ignore"):  # a resample without a denominator: nan, left out later
        moved = numerators / denominators
        coefficients = np.hstack([stratum.weights / denominators, -stratum.weights * moved / denominators])
        products = coefficients[:, first] * coefficients[:, second] * np.where(first == second, 1.0, 2.0)
        variances = (products * seconds).sum(1) * stratum.items / (stratum.items - 1)
    return moved @ stratum.weights, np.maximum(variances, 0.0)


def resampled_sums(columns: Floats, key: str, resamples: int) -> Floats:
    """(resamples, columns): sums of ``columns``, (items, columns), over as many items drawn with replacement."""
    items = len(columns)
    random = generator_of(key)
    parts = []
    for first in range(0, resamples, rows := max(1, _CHUNK_CELLS // items)):
        count = min(rows, resamples - first)
        drawn = random.integers(0, items, (count, items)) + np.arange(0, count * items, items)[:, None]
        drawn_times = np.bincount(drawn.ravel(), minlength=count * items).reshape(count, items)
        parts.append(drawn_times.astype(np.float64) @ columns)
    return np.concatenate(parts)


def generator_of(key: str) -> np.random.Generator:
    """Random numbers that a key of hex digits decides."""
    return np.random.Generator(np.random.PCG64(int(key, 16)))
