"""The budget of a run: what was spent, before and now, and what the requests under way may still cost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from forge.trajectories.generator.cache import Usage
from forge.trajectories.generator.options import Budget

_TOLERANCE = 1e-9


class BudgetReachedError(Exception):
    """The next request could cost more than is left."""


class Spending:
    """Requests set aside the most that they can cost before they are sent, so that the budget is never exceeded."""

    def __init__(self, budget: Budget, before: Usage) -> None:
        self._budget = budget
        self._tokens = before.tokens
        self._cost = before.cost
        self._reserved: list[Usage] = []
        self._settled = asyncio.Condition()

    @asynccontextmanager
    async def reserved(self, most: Usage) -> AsyncIterator[None]:
        """Hold ``most`` back while a request is under way. Waits as long as others hold back what this one needs;
        raises :class:`BudgetReachedError` when it would not fit even then."""
        async with self._settled:
            while not self._fits(most):
                if not self._reserved:
                    raise BudgetReachedError
                await self._settled.wait()
            self._reserved.append(most)
        try:
            yield
        finally:
            async with self._settled:
                self._reserved.remove(most)
                self._settled.notify_all()

    def charge(self, usage: Usage) -> None:
        """Count what a request did cost; called while it is still reserved for."""
        self._tokens += usage.tokens
        self._cost += usage.cost

    def _fits(self, most: Usage) -> bool:
        tokens = self._tokens + sum(usage.tokens for usage in self._reserved) + most.tokens
        cost = self._cost + sum(usage.cost for usage in self._reserved) + most.cost
        limit = self._budget.max_cost
        return tokens <= self._budget.max_tokens and (limit is None or cost <= limit + _TOLERANCE)
