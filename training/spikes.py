"""Steps that would harm: a loss or a gradient norm far above what is usual is not applied (as OLMo-core's SkipStep).

A spike lies more than ``sigmas`` standard deviations above the mean of the last ``window_steps`` applied steps. The
learning rate and the data go on as if it had been applied, so that a skipped step costs one batch and nothing else.
What is remembered travels with the checkpoint: a resumed run skips what the uninterrupted one skips.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Mapping
from typing import Any

from forge.config import SpikeSettings


class TooManySpikes(Exception):
    """More steps had to be skipped than the settings allow."""


class SpikeGuard:
    """Losses (nats per token) and gradient norms of the last applied steps."""

    def __init__(self, settings: SpikeSettings, state: Mapping[str, Any] | None = None) -> None:
        """``state`` is what :meth:`state` gave when the checkpoint was written."""
        self._settings = settings
        given = state or {"losses": [], "norms": [], "skipped_steps": 0}
        self._losses: deque[float] = deque(given["losses"], maxlen=settings.window_steps)
        self._norms: deque[float] = deque(given["norms"], maxlen=settings.window_steps)
        self.skipped_steps: int = given["skipped_steps"]

    def state(self) -> dict[str, Any]:
        return {"losses": list(self._losses), "norms": list(self._norms), "skipped_steps": self.skipped_steps}

    def is_spike(self, loss: float, norm: float) -> bool:
        """Whether the step must not be applied; remembers it otherwise. Raises :class:`TooManySpikes`."""
        if self._settings.max_skipped_steps and len(self._losses) >= self._settings.min_steps:
            limits = [self._limit(self._losses), self._limit(self._norms)]
            if loss > limits[0] or norm > limits[1]:
                self.skipped_steps += 1
                if self.skipped_steps > self._settings.max_skipped_steps:
                    raise TooManySpikes(
                        f"loss {loss:.4f} (limit {limits[0]:.4f}), gradient norm {norm:.4f} (limit {limits[1]:.4f}): "
                        f"more than {self._settings.max_skipped_steps} steps of the stage are spikes "
                        "(training.spikes.max_skipped_steps): lower the learning rate, or look at the data"
                    )
                return True
        self._losses.append(loss)
        self._norms.append(norm)
        return False

    def _limit(self, values: deque[float]) -> float:
        return statistics.fmean(values) + self._settings.sigmas * statistics.pstdev(values)
