"""Pure functions of the step: the learning rate, and which stratum each draw of a stage comes from."""

from __future__ import annotations

import math
from collections.abc import Mapping

from forge.config import StageSettings


def learning_rate_at(step: int, steps: int, stage: StageSettings) -> float:
    """The rate of step ``step`` (from 1): linear warm-up, then ``wsd`` (constant, then linear to 0) or ``cosine`` to 0.

    The last step still moves the weights: the decay would reach 0 one step after it.
    """
    warmup = math.ceil(steps * stage.warmup_share)
    if step <= warmup:
        return stage.learning_rate * step / warmup
    if stage.schedule == "cosine":
        progress = (step - warmup) / (steps - warmup + 1)
        return stage.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress))
    decay = min(math.ceil(steps * stage.decay_share), steps - warmup)
    remaining = steps - step + 1
    return stage.learning_rate * min(1.0, remaining / (decay + 1)) if decay else stage.learning_rate


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


def interleave(counts: Mapping[str, int]) -> list[str]:
    """The strata of all draws in order, spread evenly: each draw goes to the stratum furthest behind its share."""
    total = sum(counts.values())
    order: list[str] = []
    given = dict.fromkeys(sorted(counts), 0)
    for draw in range(1, total + 1):
        open_strata = [name for name in given if given[name] < counts[name]]
        name = min(open_strata, key=lambda stratum: (given[stratum] * total - draw * counts[stratum], stratum))
        given[name] += 1
        order.append(name)
    return order
