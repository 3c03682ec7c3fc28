"""JSON files that describe tools for language models: function lists, ToolUniverse, MCP servers, Gorilla's API Zoo.

The format is detected entry by entry, so one source may mix them. Repairs of broken JSON are stated as decisions
(``forge.apis.tools.documents``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from pydantic import Field

from forge.apis.about import About, about_file
from forge.apis.descriptions import plain_text
from forge.apis.tools import api_zoo, functions, mcp, tooluniverse
from forge.apis.tools.documents import MAX_LINES_BYTES, json_parts
from forge.apis.tools.tool import Tool, ToolError
from forge.config import Settings, SourceSettings, source_options
from forge.schema import ApiEntity, Decision, Item
from forge.stored_files import Problem, Size, StoredFile, StoredFilesOptions, list_stored_files
from forge.text.markup import first_sentence

STEP = "parse_apis"
Format = Literal["auto", "functions", "tooluniverse", "mcp", "api_zoo"]

_Reader = Callable[[Mapping[str, Any]], Iterator[Tool | ToolError]]
_MAX_LISTS = 8
_MAX_TOLD = 10
_MAX_TOOLS = 50_000


class ToolSchemasOptions(StoredFilesOptions):
    """Options of a source of type ``tool_schemas``."""

    max_file_bytes: Size = Field(MAX_LINES_BYTES, le=MAX_LINES_BYTES, description="larger files are rejected")
    format: Format = Field("auto", description="what the entries are, where their fields should not decide it")
    provider: str = Field("", description="whose tools they are, where they do not say it; empty: the source's name")
    service: str = Field("", description="what they belong to, where they do not say it; empty: the file's name")
    version: str = Field("", description="of the tools, where they do not say it")
    public_uri: str = Field("", description="what a file's path is appended to in the source_uri of its tools")


def list_items(name: str, source: SourceSettings, settings: Settings) -> Iterator[Item]:
    """One item a file. Raises :class:`ConfigurationError` when there is none."""
    return list_stored_files(name, source, settings, source_options(ToolSchemasOptions, name, source))


def read_item(item: Item, source: SourceSettings, settings: Settings) -> Iterator[ApiEntity | Decision]:
    """Every tool of a file, and a decision for whatever cannot be used."""
    options = source_options(ToolSchemasOptions, item.source, source)
    file = StoredFile(item, options, settings)
    content = file.problem() or file.whole(options.max_file_bytes)
    if isinstance(content, Problem):
        yield content.decision(item, STEP)
        return
    about = about_file(
        item,
        source,
        public_uri=options.public_uri,
        provider=options.provider,
        service=options.service or file.path.stem,
        version=options.version,
    )
    is_lines = file.path.suffix.lower() in {".jsonl", ".ndjson"}
    yield from entities(content, about, options.format, is_lines)


def entities(
    content: bytes, about: About, stated: Format = "auto", is_lines: bool = False
) -> Iterator[ApiEntity | Decision]:
    """The tools of one file, in its order. Of several of one name the first counts."""
    seen: set[str] = set()
    repeated: list[str] = []
    problems = 0
    for part in json_parts(content, is_lines):
        if isinstance(part, Problem):
            problems += 1
            yield _decision(about, part.part, part.reason, part.detail)
            continue
        for entry in _entries(part.value):
            for tool in _tools(entry, stated):
                if isinstance(tool, ToolError):
                    problems += 1
                    yield _decision(about, part.part, "malformed_tool", str(tool))
                    continue
                entity = _entity(tool, about)
                if entity.entity_key in seen:
                    repeated.append(f"{part.part}: {entity.name}" if part.part else entity.name)
                    continue
                seen.add(entity.entity_key)
                yield entity
            if len(seen) + len(repeated) + problems >= _MAX_TOOLS:
                yield _decision(about, part.part, "too_large", f"more than {_MAX_TOOLS:,} tools")
                return
    if repeated:
        told = "; ".join(repeated[:_MAX_TOLD])
        yield _decision(about, "", "duplicate_tools", f"{len(repeated):,} entries describe a tool again: {told}")
    if not seen and not problems:
        yield _decision(about, "", "no_tools", "the file describes no tool")


def _entries(value: Any) -> Iterator[dict[str, Any]]:
    """The objects of a document: itself, or those of its lists."""
    layers = [value]
    for _ in range(_MAX_LISTS):
        if not any(isinstance(entry, list) for entry in layers):
            break
        layers = [inner for entry in layers for inner in (entry if isinstance(entry, list) else [entry])]
    for entry in layers:
        if isinstance(entry, dict):
            yield entry


def _tools(entry: dict[str, Any], stated: Format) -> Iterator[Tool | ToolError]:
    if stated != "auto":
        yield from _READERS[stated][1](entry)
        return
    for matches, tools in _READERS.values():
        if matches(entry):
            yield from tools(entry)
            return


def _bundled(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The functions that an object lists under ``tools`` or ``functions``: a request to a model, a training record."""
    listed: Any = next((entry[key] for key in ("tools", "functions") if isinstance(entry.get(key), list)), [])
    return [function for function in listed if isinstance(function, dict)]


def _is_bundle(entry: Mapping[str, Any]) -> bool:
    return functions.matches(entry) or any(functions.matches(function) for function in _bundled(entry))


def _functions(entry: Mapping[str, Any]) -> Iterator[Tool | ToolError]:
    for function in _bundled(entry) or [entry]:
        yield from functions.tools(function)


_READERS: Mapping[str, tuple[Callable[[Mapping[str, Any]], bool], _Reader]] = {
    "api_zoo": (api_zoo.matches, api_zoo.tools),
    "tooluniverse": (tooluniverse.matches, tooluniverse.tools),
    "mcp": (mcp.matches, mcp.tools),
    "functions": (_is_bundle, _functions),
}
"""By name, in the order in which they are tried: the more particular ones first."""


def _entity(tool: Tool, about: About) -> ApiEntity:
    return ApiEntity(
        provider=tool.provider or about.provider,
        service=tool.service or about.service,
        name=tool.name,
        version=tool.version or about.version,
        entity_type=tool.entity_type,
        summary=tool.summary or first_sentence(tool.description),
        description=tool.description,
        parameters=tool.parameters or {"type": "object", "properties": {}},
        returns=tool.returns or {},
        license=about.license or tool.license,
        source=about.source,
        item_id=about.item_id,
        source_uri=plain_text(f"{about.uri}#{tool.name}"),
        examples=tool.examples,
        auth=tool.auth,
        declaration=tool.declaration,
    )


def _decision(about: About, part: str, reason: str, detail: str) -> Decision:
    item_id = f"{about.item_id}#{part}" if part else about.item_id
    place = f" {'line ' if part.isdecimal() else ''}{part}" if part else ""
    return Decision(about.source, item_id, STEP, reason, plain_text(f"{about.item_id}{place}: {detail}"))
