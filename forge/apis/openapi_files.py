"""OpenAPI and Swagger files below an artifact or a folder: one item a file, several for a large one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import Field

from forge.apis.openapi import STEP, Origin, read_openapi
from forge.apis.openapi_document import MAX_SPEC_BYTES
from forge.apis.openapi_identity import Mirror
from forge.config import Settings, SourceSettings, source_options
from forge.schema import ApiEntity, Decision, Item
from forge.stored_files import Problem, Size, StoredFile, StoredFilesOptions, list_stored_files


class OpenapiOptions(StoredFilesOptions):
    """Options of a source of type ``openapi``."""

    max_file_bytes: Size = Field(MAX_SPEC_BYTES, le=MAX_SPEC_BYTES, description="larger files are rejected")
    part_bytes: Size = Field(
        16 * 1024 * 1024, description="a larger file is several items; each reads the file and yields its paths"
    )
    public_uri: str = Field("", description="what a file's path is appended to in the source_uri of its operations")
    mirrors: Mapping[str, Mirror] = Field(
        default_factory=dict, description="patterns of provider:service -> the API that such files repeat"
    )


def list_items(name: str, source: SourceSettings, settings: Settings) -> Iterator[Item]:
    """The files, or the parts of large ones. Raises :class:`ConfigurationError` when there are none."""
    options = source_options(OpenapiOptions, name, source)
    return list_stored_files(name, source, settings, options, options.part_bytes)


def read_item(item: Item, source: SourceSettings, settings: Settings) -> Iterator[ApiEntity | Decision]:
    """Every operation of a file or part, and a decision for whatever cannot be used."""
    options = source_options(OpenapiOptions, item.source, source)
    file = StoredFile(item, options, settings)
    content = file.problem() or file.whole(options.max_file_bytes)
    if isinstance(content, Problem):
        yield content.decision(item, STEP)
        return
    part, parts = int(item.locator.get("part", 0)), int(item.locator.get("parts", 1))
    path = item.item_id.rpartition("@")[0] if parts > 1 else item.item_id
    origin = Origin(item.source, item.item_id, options.public_uri + path, source.license, part, parts)
    yield from read_openapi(content, origin, options.mirrors)
