"""Operations of GraphQL schemas: every field of the query, mutation and subscription types is one.

A file is SDL (``schema.graphql``) or the answer to an introspection query (``{"data": {"__schema": ...}}``).
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field as Option

from forge.apis.about import About, about_file
from forge.apis.descriptions import plain_text
from forge.apis.graphql_schema import (
    Field,
    GraphqlError,
    Input,
    Root,
    SchemaWriter,
    schema_of_introspection,
    schema_of_sdl,
)
from forge.apis.json_documents import MAX_JSON_BYTES, JsonDocumentError, json_object
from forge.apis.property_order import with_order
from forge.config import Settings, SourceSettings, source_options
from forge.schema import ApiEntity, Decision, Item
from forge.stored_files import Problem, Size, StoredFile, StoredFilesOptions, list_stored_files
from forge.text.encoding import UnknownEncodingError, decode
from forge.text.markup import cut, first_sentence

STEP = "parse_apis"
_MAX_SDL_BYTES = 8 * 1024 * 1024
_MAX_OPERATIONS = 20_000
_MAX_NODES = 400_000
_LINE = 100
_MAX_DECLARATION = 4000


class GraphqlOptions(StoredFilesOptions):
    """Options of a source of type ``graphql``."""

    max_file_bytes: Size = Option(MAX_JSON_BYTES, le=MAX_JSON_BYTES, description="larger files are rejected")
    provider: str = Option("", description="whose schema it is; empty: the source's name")
    service: str = Option("", description="what the schema is of; empty: the file's name")
    version: str = Option("", description="of the schema")
    public_uri: str = Option("", description="what a file's path is appended to in the source_uri of its operations")


def list_items(name: str, source: SourceSettings, settings: Settings) -> Iterator[Item]:
    """One item a file. Raises :class:`ConfigurationError` when there is none."""
    return list_stored_files(name, source, settings, source_options(GraphqlOptions, name, source))


def read_item(item: Item, source: SourceSettings, settings: Settings) -> Iterator[ApiEntity | Decision]:
    """Every operation of a file, and a decision for whatever cannot be used."""
    options = source_options(GraphqlOptions, item.source, source)
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
    yield from entities(content, about)


def entities(content: bytes, about: About) -> Iterator[ApiEntity | Decision]:
    """The operations of one schema, queries first, in its order."""
    try:
        text = decode(content)[0]
    except UnknownEncodingError as error:
        yield _decision(about, "unknown_encoding", str(error))
        return
    try:
        if text.lstrip().startswith("{"):
            document, repeated = json_object(text.encode())
            if repeated:
                told = ", ".join(repr(key[:100]) for key in repeated[:5])
                yield _decision(about, "duplicate_keys", f"keys that stand twice, the last one counts: {told}")
            schema = schema_of_introspection(document)
        elif len(content) > _MAX_SDL_BYTES:
            raise GraphqlError(f"more than {_MAX_SDL_BYTES:,} bytes of SDL")
        else:
            schema = schema_of_sdl(text)
    except (GraphqlError, JsonDocumentError) as error:
        yield _decision(about, "malformed_spec", str(error))
        return
    writer = SchemaWriter(schema)
    count = 0
    for count, (root, operation) in enumerate(schema.operations(), start=1):
        if count > _MAX_OPERATIONS or writer.nodes > _MAX_NODES:
            yield _decision(about, "too_large", f"{count - 1:,} operations and {writer.nodes:,} types in them are read")
            return
        yield _entity(root, operation, writer, about)
    if not count:
        yield _decision(about, "no_operations", "the schema has no query, mutation or subscription")


def _entity(root: Root, operation: Field, writer: SchemaWriter, about: About) -> ApiEntity:
    name = f"{root} {operation.name}"
    description = operation.description
    if operation.deprecated is not None:
        note = f"Deprecated: {operation.deprecated}" if operation.deprecated else "Deprecated."
        description = f"{note}\n\n{description}" if description else note
    return ApiEntity(
        provider=about.provider,
        service=about.service,
        name=name,
        version=about.version,
        entity_type="operation",
        summary=first_sentence(operation.description or description),
        description=description,
        parameters=with_order(writer.arguments(operation.arguments)),
        returns=writer.result(operation.type),
        license=about.license,
        source=about.source,
        item_id=about.item_id,
        source_uri=f"{about.uri}#{name}",
        declaration=_declaration(operation),
    )


def _declaration(operation: Field) -> str:
    """As SDL writes it, one argument a line where they do not fit on one."""
    arguments = [_argument(argument) for argument in operation.arguments]
    on_one_line = f"{operation.name}({', '.join(arguments)}): {operation.type}"
    if not arguments:
        on_one_line = f"{operation.name}: {operation.type}"
    if len(on_one_line) > _LINE:
        on_one_line = "\n".join(
            [f"{operation.name}(", *(f"  {argument}" for argument in arguments), f"): {operation.type}"]
        )
    return cut(on_one_line, _MAX_DECLARATION)


def _argument(argument: Input) -> str:
    default = f" = {plain_text(argument.default.text)}" if argument.default is not None else ""
    return f"{argument.name}: {argument.type}{default}"


def _decision(about: About, reason: str, detail: str) -> Decision:
    return Decision(about.source, about.item_id, STEP, reason, plain_text(f"{about.item_id}: {detail}"))
