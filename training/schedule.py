"""Pure functions of the step: the learning rate, and which stratum each draw of a stage comes from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forge.config import StageSettings


def learning_rate_at(step: int, steps: int, stage: StageSettings) -> float:
    """The rate of step ``step`` (from 1): linear warm-up, then ``wsd`` (constant, then a decay) or ``cosine``.

    Decay and cosine end at ``final_learning_rate_share`` of the peak. They reach it one step after the last, so that
    the last step still moves the weights where that share is 0. ``1-sqrt``: Hagele et al., arXiv 2405.18392.
    """
    warmup = math.ceil(steps * stage.warmup_share)
    if step <= warmup:
        return stage.learning_rate * step / warmup
    cosine = stage.schedule == "cosine"
    falling = steps - warmup if cosine else min(math.ceil(steps * stage.decay_share), steps - warmup)
    progress = max(0, step - (steps - falling)) / (falling + 1)
    if cosine:
        height = 0.5 * (1.0 + math.cos(math.pi * progress))
    elif stage.decay == "1-sqrt":
        height = 1.0 - math.sqrt(progress)
    else:
        height = 1.0 - progress
    final = stage.final_learning_rate_share
    return stage.learning_rate * (final + (1.0 - final) * height)


def quotas(draws: int, shares: Mapping[str, float], capacities: Mapping[str, int]) -> dict[str, int]:
    """How many of ``draws`` sequences each stratum gives: by share, none above its capacity, what one cannot give going
    to the others by their shares. The sum is less than ``draws`` when all are exhausted.
    """
    left = draws
    given = dict.fromkeys(sorted(shares), 0)
    open_strata = [name for name in given if shares[name] > 0 and capacities[name] > 0]
    while left and open_strata:
        total = sum(shares[name] for name in open_strata)
        wanted = {name: left * shares[name] / total for name in open_strata}
        full = [name for name in open_strata if wanted[name] >= capacities[name] - given[name]]
        if not full:
            whole = {name: int(wanted[name]) for name in open_strata}
            by_remainder = sorted(open_strata, key=lambda name: (whole[name] - wanted[name], name))
            for name in by_remainder[: left - sum(whole.values())]:
                whole[name] += 1
            return {name: given[name] + whole.get(name, 0) for name in given}
        for name in full:
            left -= capacities[name] - given[name]
            given[name] = capacities[name]
        open_strata = [name for name in open_strata if name not in full]
    return given


@dataclass(frozen=True, slots=True)
class Draws:
    """All draws of a stage in order, shape (draws,): draw d is the ``ordinal[d]``-th of stratum
    ``names[stratum[d]]``."""

    names: tuple[str, ...]
    stratum: NDArray[np.int16]
    ordinal: NDArray[np.int32]


def interleave(counts: Mapping[str, int]) -> Draws:
    """Spread the strata evenly: the j-th of n draws of a stratum stands at (j + 0.5) / n, ties in the order of names.

    Up to 2**25 draws a stratum, positions of different strata differ by more than the rounding of float64.
    """
    names = tuple(sorted(counts))
    ordinal = np.concatenate([np.arange(counts[name], dtype=np.int32) for name in names] or [np.empty(0, np.int32)])
    sizes = [counts[name] for name in names]
    position = (ordinal + 0.5) / np.repeat(np.array(sizes, dtype=np.float64), sizes)
    order = np.argsort(position, kind="stable")
    return Draws(names, np.repeat(np.arange(len(names), dtype=np.int16), sizes)[order], ordinal[order])
