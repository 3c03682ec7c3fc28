"""The figures that are reported: one metric of one checkpoint, and one metric's difference between two checkpoints."""

from __future__ import annotations

import math
from dataclasses import dataclass

ALL = "all"
"""Category of a figure over every item of a task, each item counted once."""


@dataclass(frozen=True, slots=True)
class Figure:
    """``category``: one of the task's, :data:`ALL`, or the name of an overall score; ``low`` and ``high`` bound the
    confidence interval and are infinite for a ratio over a single item; ``leaves_out``: which terms of the published
    formula are missing; ``interval``: its method (:mod:`training.evaluation.statistics`)."""

    benchmark: str
    category: str
    metric: str
    value: float
    low: float
    high: float
    items: int
    leaves_out: str = ""
    interval: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """``value`` = after - before, on the items that both have under one task key; ``before_value`` is the metric there.
    ``p_holm`` is None where the contrast was not planned. ``minimal_detectable``: the smallest true difference that
    such a comparison finds with 80 % power. ``interval`` and ``test`` name the methods.
    """

    benchmark: str
    category: str
    metric: str
    before: str
    after: str
    value: float
    low: float
    high: float
    p_value: float
    p_holm: float | None
    minimal_detectable: float
    items: int
    before_value: float = math.nan
    interval: str = ""
    test: str = ""
