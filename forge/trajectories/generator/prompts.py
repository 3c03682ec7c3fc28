"""The words of ``prompts.yaml``, checked once; their hash is part of every request's cache key."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from forge.fixed_words import parse_words, places_of
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
        places = places_of(words)
        if places != _PLACES[info.field_name]:
            raise ValueError(f"places: {sorted(places)}; expected: {sorted(_PLACES[info.field_name])}")
        return words


@lru_cache(maxsize=1)
def prompts() -> Prompts:
    """The prompts of this installation."""
    content = resources.files("forge.trajectories.generator").joinpath(FILE).read_bytes()
    return parse_words(Prompts, content, FILE)


@lru_cache(maxsize=1)
def prompts_hash() -> str:
    """Hash of what the prompts say: comments and layout of the file do not count."""
    return content_hash(canonical_json(prompts().model_dump()))
