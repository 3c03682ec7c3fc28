"""Tools of Model Context Protocol servers: results of ``tools/list``, and crawled records of a server that hold one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from forge.apis.tools.tool import Tool, ToolError, line, paragraphs, parameter_schema, prose, schema, tool_name
from forge.text.licenses import spdx_of

_HINTS = {
    "readOnlyHint": ("only reads", "changes its environment"),
    "destructiveHint": ("may destroy", "only adds"),
    "idempotentHint": ("a repeated call changes nothing more", "every call has an effect of its own"),
    "openWorldHint": ("reaches out to the world", "stays in a closed domain"),
}
_NOT_STATED = frozenset({"", "not found", "not available", "unknown", "description not available"})


def matches(value: Mapping[str, Any]) -> bool:
    """A record of a server, an answer to ``tools/list`` (perhaps in a JSON-RPC envelope), or one tool of such."""
    if _crawled(value) is not None:
        return True
    if "inputSchema" in value:
        return True
    listed = _listed(value)
    return listed is not None and any(isinstance(entry, dict) and "inputSchema" in entry for entry in listed)


def tools(value: Mapping[str, Any]) -> Iterator[Tool | ToolError]:
    crawled = _crawled(value)
    if crawled is not None:
        yield from _of_record(crawled, value["metadata"])
        return
    server = next((value[key] for key in ("serverInfo", "server") if isinstance(value.get(key), dict)), value)
    listed = _listed(value)
    if listed is None:
        yield _tool(value, "", "", "", "")
        return
    provider, service = _names(line(server.get("name")))
    license_ = server.get("license")
    for entry in listed:
        yield _tool(
            entry,
            provider,
            service,
            line(server.get("version")),
            spdx_of(license_) if isinstance(license_, str) else "",
        )


def _crawled(value: Mapping[str, Any]) -> dict[str, Any] | None:
    metadata = value.get("metadata")
    crawled = metadata.get("server_info_crawled") if isinstance(metadata, dict) else None
    return crawled if isinstance(crawled, dict) else None


def _listed(value: Mapping[str, Any]) -> list[Any] | None:
    result = value.get("result")
    holder = result if isinstance(result, dict) else value
    stated = holder.get("tools")
    return stated if isinstance(stated, list) else None


def _of_record(crawled: Mapping[str, Any], metadata: Mapping[str, Any]) -> Iterator[Tool | ToolError]:
    """The tools that the server itself named, and those that only its page names."""
    answer = metadata.get("remote_server_response")
    live = _listed(answer) if isinstance(answer, dict) else None
    author = line(crawled.get("author"))
    if author.lower() in _NOT_STATED:
        author = PurePosixPath(line(metadata.get("original_file"))).stem
    provider, service = _names(author)
    stated = crawled.get("license")
    license_ = spdx_of(stated) if isinstance(stated, str) else ""
    answered: set[str] = set()
    for entry in live or ():
        if isinstance(entry, dict):
            answered.add(line(entry.get("name")))
        yield _tool(entry, provider, service, "", license_)
    for entry in _listed(crawled) or ():
        if not isinstance(entry, dict) or line(entry.get("name")) not in answered:
            yield _tool(entry, provider, service, "", license_)


def _names(qualified: str) -> tuple[str, str]:
    """Provider and service of "@owner/server" and "io.github.owner/server"; a server without an owner is both."""
    owner, _, server = qualified.partition("/")
    return owner, (server or owner).replace("/", "-")


def _tool(entry: Any, provider: str, service: str, version: str, license_: str) -> Tool | ToolError:
    if not isinstance(entry, dict):
        return ToolError(f"a tool is an object, this is a {type(entry).__name__}")
    try:
        name = tool_name(entry.get("name"))
    except ToolError as error:
        return error
    annotations = entry.get("annotations")
    annotations = annotations if isinstance(annotations, dict) else {}
    inputs: Any = next((entry[key] for key in ("inputSchema", "input_schema", "parameters") if entry.get(key)), {})
    outputs: Any = next((entry[key] for key in ("outputSchema", "output_schema") if entry.get(key)), {})
    said = prose(entry.get("description"))
    said = "" if said.lower() in _NOT_STATED else said
    title = line(entry.get("title")) or line(annotations.get("title"))
    return Tool(
        name=name,
        description=paragraphs(said or title, _hints(annotations)),
        parameters=parameter_schema(inputs),
        returns=schema(outputs),
        provider=provider,
        service=service,
        version=version,
        license=license_,
    )


def _hints(annotations: Mapping[str, Any]) -> str:
    told = [
        words[0] if annotations[key] else words[1]
        for key, words in _HINTS.items()
        if isinstance(annotations.get(key), bool)
    ]
    return f"Hints: {'; '.join(told)}." if told else ""
