"""The fixed words of rendered API documents: ``templates.yaml``, loaded and checked once."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from forge.fixed_words import parse_words, places_of
from forge.schema import canonical_json, content_hash

FILE = "templates.yaml"

Heading = Literal[
    "parameters", "returns", "errors", "authentication", "base_url", "examples", "example", "request", "response",
    "call", "output", "synopsis", "options", "usage", "used",
]  # fmt: skip
Opening = Literal["function_schema", "cli", "code_call", "question", "question_of_api", "code_to_doc"]
Title = Literal["operation", "operation_without_version", "entity", "entity_without_version"]

_PLACES = {
    "openings": {"title", "summary", "task", "request", "api"},
    "titles": {"name", "api", "language", "service", "version", "kind"},
}


class Templates(BaseModel):
    """What ``templates.yaml`` holds; the file says what each part is for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = Field(gt=0)
    headings: dict[Heading, str]
    titles: dict[Title, str]
    openings: dict[Opening, tuple[str, ...]]
    type_words: dict[str, str]
    languages: dict[str, str]
    comments: dict[str, str]
    aws_commands: dict[str, str]
    verbs: frozenset[str]

    @field_validator("headings", "titles", "openings")
    @classmethod
    def _is_complete(cls, words: dict[str, Any], info: Any) -> dict[str, Any]:
        wanted = {"headings": Heading, "titles": Title, "openings": Opening}[info.field_name].__args__  # type: ignore[attr-defined]
        if missing := sorted(set(wanted) - set(words)):
            raise ValueError(f"missing: {', '.join(missing)}")
        for key, value in words.items():
            lines = (value,) if isinstance(value, str) else value
            if not lines or not all(lines):
                raise ValueError(f"{key}: empty")
            for line in lines:
                _check_places(key, line, _PLACES.get(info.field_name, set()))
        return words


def _check_places(key: str, line: str, allowed: set[str]) -> None:
    try:
        places = places_of(line)
    except ValueError as error:
        raise ValueError(f"{key}: {line!r}: {error}") from None
    if unknown := sorted(places - allowed):
        raise ValueError(
            f"{key}: {line!r} has the place {{{unknown[0]}}}; allowed: {', '.join(sorted(allowed)) or 'none'}"
        )


@lru_cache(maxsize=1)
def templates() -> Templates:
    """The templates of this installation."""
    return parse_words(Templates, resources.files("forge.apis").joinpath(FILE).read_bytes(), FILE)


@lru_cache(maxsize=1)
def templates_hash() -> str:
    """Hash of what the templates say: comments and layout of the file do not count."""
    found = templates()
    return content_hash(canonical_json({**found.model_dump(), "verbs": sorted(found.verbs)}))


def heading(name: Heading) -> str:
    return templates().headings[name]
