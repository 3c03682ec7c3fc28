"""The model as episodes see it: a request's body in, an answer out, from the cache or paid for within the budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from forge.trajectories.generator.cache import Cache, Usage, request_key
from forge.trajectories.generator.endpoint import Endpoint, EndpointError, read_completion
from forge.trajectories.generator.options import GeneratorOptions
from forge.trajectories.generator.prompts import prompts_hash
from forge.trajectories.generator.spending import Spending


class Model:
    """``cached`` counts the answers that cost nothing."""

    def __init__(self, options: GeneratorOptions, endpoint: Endpoint, cache: Cache, spending: Spending) -> None:
        self._options = options
        self._endpoint = endpoint
        self._cache = cache
        self._spending = spending
        self.cached = 0

    async def choice(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]], seed: int) -> Mapping[str, Any]:
        """``choices[0]`` of the completion. Raises :class:`EndpointError` and :class:`BudgetReachedError`."""
        options = self._options
        body: dict[str, Any] = {
            **options.request,
            "model": options.model,
            "messages": messages,
            "temperature": options.temperature,
            "seed": seed,
            options.max_answer_tokens_key: options.max_answer_tokens,
        }
        if tools:
            body["tools"] = [{"type": "function", "function": tool} for tool in tools]
        key = request_key(body, options.model, prompts_hash())
        known = self._cache.answer(key)
        value = None if known is None else read_completion(known)
        if value is None:
            value = await self._asked(key, body)
        else:
            self.cached += 1
        found: Mapping[str, Any] = value["choices"][0]
        return found

    async def _asked(self, key: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        # A token is at least a byte of the request, whatever the tokenizer.
        most = self._usage(len(orjson.dumps(body)), self._options.max_answer_tokens, is_stated=False)
        for attempt in range(1, self._options.max_attempts + 1):
            async with self._spending.reserved(most):
                try:
                    completion = await self._endpoint.complete(body)
                except EndpointError as error:
                    if not error.is_paid:
                        raise
                    self._charge(key, most, None)
                    if error.reason == "too_large" or attempt == self._options.max_attempts:
                        raise
                    continue
                stated = completion.input_tokens is not None and completion.output_tokens is not None
                usage = self._usage(completion.input_tokens or 0, completion.output_tokens or 0) if stated else most
                self._charge(key, usage, completion.payload)
                return completion.value
        raise AssertionError("unreachable")

    def _usage(self, input_tokens: int, output_tokens: int, is_stated: bool = True) -> Usage:
        return Usage(input_tokens, output_tokens, self._options.prices.cost(input_tokens, output_tokens), is_stated)

    def _charge(self, key: str, usage: Usage, payload: bytes | None) -> None:
        self._cache.add(key, self._options.model, usage, payload)
        self._spending.charge(usage)
