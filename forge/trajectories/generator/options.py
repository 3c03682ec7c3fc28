"""What a run of the generator is told: ``conf/trajectory_generator.yaml``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from forge.config import ConfigurationError

Positive = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0.0)]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Prices(_Section):
    """What tokens cost, in any one currency."""

    input_per_million: float = Field(0.0, ge=0.0, description="a million tokens of requests")
    output_per_million: float = Field(0.0, ge=0.0, description="a million tokens of answers")

    def cost(self, input_tokens: int, output_tokens: int) -> float:
        return (input_tokens * self.input_per_million + output_tokens * self.output_per_million) / 1e6


class Budget(_Section):
    """What all runs of one name may spend together; a request that could exceed it is never sent."""

    max_tokens: Positive = Field(2_000_000, description="tokens of requests and answers, over all runs of the name")
    max_cost: float | None = Field(None, gt=0.0, description="in the currency of `prices`; none: tokens only")


class GeneratorOptions(_Section):
    """``base_url`` and ``model`` are empty until somebody decides to spend."""

    name: str = Field("default", description="of the run: its folder below `<home>/generated`")
    base_url: str = Field("", description="requests go to {base_url}/v1/chat/completions; empty: nothing is generated")
    model: str = Field("", description="as the endpoint calls it; the trajectories' generator")
    api_key_variable: str = Field(
        "FORGE_GENERATOR_API_KEY", description="environment variable that holds the key; unset: none is sent"
    )
    license: str = Field("", description="SPDX expression of the model's output, joined with that of the operations")
    episodes: Positive = Field(100, description="task sets of a run; not every one becomes a trajectory")
    seed: int = Field(0, description="of the choice of operations, of the mock's values and of the model's sampling")
    max_operations: Annotated[int, Field(ge=1, le=5)] = Field(5, description="tools of one episode")
    max_turns: Positive = Field(12, description="answers of the model in one episode")
    max_attempts: Positive = Field(3, description="samples of an answer that cannot be used, each a request")
    temperature: float = Field(0.7, ge=0.0, le=2.0, description="of the model's sampling")
    max_answer_tokens: Positive = Field(1024, description="of one answer")
    max_answer_tokens_key: Literal["max_tokens", "max_completion_tokens"] = Field(
        "max_tokens", description="what the endpoint calls that limit"
    )
    request: dict[str, Any] = Field(default_factory=dict, description="further fields of every request's body")
    concurrency: Positive = Field(4, description="requests at a time")
    timeout_seconds: Seconds = Field(120.0, description="for one request")
    max_response_bytes: Positive = Field(4 * 1024 * 1024, description="of one response, decoded")
    max_tries: Positive = Field(5, description="of a request that 429, 5xx, a timeout or the network fails")
    backoff_seconds: Seconds = Field(1.0, description="before the second try, then doubled")
    max_wait_seconds: Seconds = Field(60.0, description="longest wait before a try, Retry-After included")
    max_failures: Positive = Field(10, description="episodes in a row that the endpoint fails before the run gives up")
    prices: Prices = Prices()
    budget: Budget = Budget()

    @field_validator("name")
    @classmethod
    def _is_a_folder_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError("letters, digits, '-', '_' and '.' only, 64 at most")
        return name

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, address: str) -> str:
        parts = urlsplit(address)
        if address and (parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None):
            raise ValueError("an http(s) address without user information")
        return address

    @field_validator("request")
    @classmethod
    def _leaves_our_fields_alone(cls, request: dict[str, Any]) -> dict[str, Any]:
        if ours := sorted({"model", "messages", "tools", "stream", "n"} & set(request)):
            raise ValueError(f"{', '.join(ours)}: not to be set here")
        return request


def load_options(path: Path, overrides: Mapping[str, Any]) -> GeneratorOptions:
    """The options of a file; what ``overrides`` holds that is not None goes before them. Raises
    :class:`ConfigurationError` that names the file, the key and what is wrong there."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path}: cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path}: expected a mapping of keys at the top, found {type(content).__name__}")
    given = {key: value for key, value in overrides.items() if value is not None}
    try:
        return GeneratorOptions.model_validate({**content, **given})
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            where = ".".join(str(part) for part in problem["loc"])
            if problem["type"] == "extra_forbidden":
                lines.append(f"{path}: {where}: unknown key; docs/trajectory-generator.md lists them")
            else:
                lines.append(f"{path}: {where}: {problem['msg']} (given: {problem.get('input')!r})")
        raise ConfigurationError("\n".join(lines)) from None
