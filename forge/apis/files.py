"""A user's own API documentation: OpenAPI files, or rows with the fields of an API entity (an item is one file)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from forge.config import Settings, SourceSettings
from forge.files import FileKind, OpenedFile, file_options, list_files
from forge.schema import ApiEntity, ApiError, ApiExample, Decision, Item
from forge.stored_files import Problem

MAX_SPEC_BYTES = 64 * 1024 * 1024
_STEP = "parse_apis"
_KINDS: tuple[FileKind, ...] = ("api_doc",)


class _Described(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    description: str = ""


class _Error(_Described):
    name: str


class _Example(_Described):
    input: str
    output: str = ""


class _EntityRow(_Described):
    """What a row may state; columns of other names are left out."""

    name: str = Field(min_length=1, max_length=500)
    provider: str | None = None
    service: str = "api"
    version: str = ""
    entity_type: str = "function"
    summary: str = ""
    parameters: dict[str, Any] = Field(default_factory=lambda: {"type": "object", "properties": {}})
    returns: dict[str, Any] = Field(default_factory=dict)
    errors: list[_Error] = Field(default_factory=list)
    examples: list[_Example] = Field(default_factory=list)
    auth: str = ""
    license: str = ""
    source_uri: str = ""


def list_items(name: str, source: SourceSettings, settings: Settings) -> Iterator[Item]:
    """The files of a source of kind ``api_doc``."""
    return list_files(name, source, settings, _KINDS)


def read_item(item: Item, source: SourceSettings, settings: Settings) -> Iterator[ApiEntity | Decision]:
    """Every API of a file, and a decision for whatever cannot be used."""
    file = OpenedFile(item, file_options(item.source, source), settings)
    problem = file.problem()
    if problem is not None:
        yield problem.decision(item, _STEP)
    elif file.format in {"openapi", "text"}:
        yield from _specification(file, source)
    else:
        for found in file.rows():
            if isinstance(found, Problem):
                yield found.decision(item, _STEP)
            else:
                yield _entity(*found, item=item, source=source)


def _specification(file: OpenedFile, source: SourceSettings) -> Iterator[ApiEntity | Decision]:
    from forge.apis.openapi import Origin, read_openapi

    item = file.item
    content = file.whole(MAX_SPEC_BYTES)
    if isinstance(content, Problem):
        yield content.decision(item, _STEP)
        return
    yield from read_openapi(content, Origin(item.source, item.item_id, license=source.license))


def _entity(place: str, row: dict[str, Any], *, item: Item, source: SourceSettings) -> ApiEntity | Decision:
    try:
        stated = _EntityRow.model_validate({key: value for key, value in row.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return Problem(place, "invalid_entity", f"{where}: {first['msg']}").decision(item, _STEP)
    properties = stated.parameters.get("properties", {})
    if not isinstance(properties, dict):
        problem = "parameters.properties: a JSON Schema's properties are an object"
        return Problem(place, "invalid_entity", problem).decision(item, _STEP)
    if not (stated.summary.strip() or stated.description.strip()):
        return Problem(place, "no_description", f"{stated.name}: neither summary nor description").decision(item, _STEP)
    return ApiEntity(
        provider=stated.provider or item.source,
        service=stated.service,
        name=stated.name,
        version=stated.version,
        entity_type=stated.entity_type,
        summary=stated.summary,
        description=stated.description,
        parameters=stated.parameters,
        returns=stated.returns,
        license=source.license or stated.license,
        source=item.source,
        item_id=item.item_id,
        source_uri=stated.source_uri or f"{item.item_id}#{place}",
        errors=tuple(ApiError(error.name, error.description) for error in stated.errors),
        examples=tuple(ApiExample(example.description, example.input, example.output) for example in stated.examples),
        auth=stated.auth,
    )
