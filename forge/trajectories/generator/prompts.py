"""The words of ``prompts.yaml``, checked once; their hash is part of every request's cache key."""

from __future__ import annotations

import string
from functools import lru_cache
from importlib import resources
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from forge.config import ConfigurationError
from forge.schema import canonical_json, content_hash

FILE = "prompts.yaml"
_PLACES = {"task_writer": {"api", "tools", "world"}, "world": {"objects"}, "world_empty": set(), "agent": {"api"}}


class Prompts(BaseModel):
    """What the file holds; it says what each part is for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = Field(gt=0)
    task_writer: str
    world: str
    world_empty: str
    agent: str

    @field_validator(*_PLACES)
    @classmethod
    def _has_its_places(cls, words: str, info: Any) -> str:
        places = {name for _, name, _, _ in string.Formatter().parse(words) if name is not None}
        if places != _PLACES[info.field_name]:
            raise ValueError(f"places: {sorted(places)}; expected: {sorted(_PLACES[info.field_name])}")
        return words


def parse_prompts(content: bytes) -> Prompts:
    """Raises :class:`ConfigurationError` that names the key and what is wrong there."""
    try:
        return Prompts.model_validate(yaml.safe_load(content))
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{FILE}: {error}") from None
    except ValidationError as error:
        found = [f"{'.'.join(map(str, one['loc'])) or 'file'}: {one['msg']}" for one in error.errors()]
        raise ConfigurationError(f"{FILE}: {'; '.join(found)}") from None


@lru_cache(maxsize=1)
def prompts() -> Prompts:
    """The prompts of this installation."""
    return parse_prompts(resources.files("forge.trajectories.generator").joinpath(FILE).read_bytes())


@lru_cache(maxsize=1)
def prompts_hash() -> str:
    """Hash of what the prompts say: comments and layout of the file do not count."""
    return content_hash(canonical_json(prompts().model_dump()))
