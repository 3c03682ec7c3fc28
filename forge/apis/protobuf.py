"""gRPC services from `.proto` files and descriptor sets -> ApiEntity, one a method, by gRPC's own full method name
(``package.Service/Method``)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pydantic import Field

from forge.apis.bare import bare_entity
from forge.apis.descriptions import plain_text
from forge.apis.proto_descriptors import DescriptorError, read_descriptors
from forge.apis.proto_schema import ProtoMethod, ProtoSchema, ProtoService
from forge.apis.proto_text import MAX_TEXT_BYTES, ProtoTextError, read_proto
from forge.config import Settings, SourceSettings, source_options
from forge.schema import ApiEntity, Decision, Item
from forge.stored_files import Problem, Size, StoredFile, StoredFilesOptions, list_stored_files
from forge.text.encoding import UnknownEncodingError, decode
from forge.text.markup import first_sentence

STEP = "parse_apis"
_MAX_METHODS = 20_000
_MAX_FIELDS = 400_000
"""Of all requests and responses of one file together."""
_DESCRIPTOR_SUFFIXES = frozenset({".pb", ".desc", ".binpb", ".protoset", ".bin"})


class ProtobufOptions(StoredFilesOptions):
    """Options of a source of type ``protobuf``."""

    max_file_bytes: Size = Field(MAX_TEXT_BYTES, le=MAX_TEXT_BYTES, description="larger files are rejected")
    provider: str = Field("", description="whose services they are; empty: the source's name")
    version: str = Field("", description="of the services")
    public_uri: str = Field("", description="what a file's path is appended to in the source_uri of its methods")


def list_items(name: str, source: SourceSettings, settings: Settings) -> Iterator[Item]:
    """One item a file. Raises :class:`ConfigurationError` when there is none."""
    return list_stored_files(name, source, settings, source_options(ProtobufOptions, name, source))


def read_item(item: Item, source: SourceSettings, settings: Settings) -> Iterator[ApiEntity | Decision]:
    """Every method of a file, or why there are none: a file that describes no service yields nothing."""
    options = source_options(ProtobufOptions, item.source, source)
    file = StoredFile(item, options, settings)
    content = file.problem() or file.whole(options.max_file_bytes)
    if isinstance(content, Problem):
        yield content.decision(item, STEP)
        return
    bare = bare_entity(
        item,
        source,
        options.public_uri + item.item_id,
        provider=options.provider or item.source,
        service=file.path.stem,
        version=options.version,
    )
    try:
        schema = schema_of(content, is_descriptor=file.path.suffix.lower() in _DESCRIPTOR_SUFFIXES)
    except UnknownEncodingError as error:
        yield Problem("", "unknown_encoding", str(error)).decision(item, STEP)
        return
    except (ProtoTextError, DescriptorError) as error:
        yield Problem("", "malformed_spec", str(error)).decision(item, STEP)
        return
    yield from entities(schema, bare)


def schema_of(content: bytes, is_descriptor: bool) -> ProtoSchema:
    """Raises UnknownEncodingError, ProtoTextError and DescriptorError."""
    return read_descriptors(content) if is_descriptor else read_proto(decode(content)[0])


def entities(schema: ProtoSchema, bare: ApiEntity) -> Iterator[ApiEntity | Decision]:
    """Every method of every service, in the order of the file."""
    count = 0
    for package, service in schema.services:
        for method in service.methods:
            count += 1
            if count > _MAX_METHODS or schema.written_fields > _MAX_FIELDS:
                limits = f"more than {_MAX_METHODS:,} methods or {_MAX_FIELDS:,} fields"
                yield Decision(bare.source, bare.item_id, STEP, "too_large", f"{limits} before {method.name}")
                return
            yield _entity(schema, package or bare.service, service, method, bare)


def _entity(
    schema: ProtoSchema, package: str, service: ProtoService, method: ProtoMethod, bare: ApiEntity
) -> ApiEntity:
    name = f"{service.full_name}/{method.name}"
    text = plain_text(method.comment)
    if method.deprecated:
        text = f"Deprecated.\n\n{text}".rstrip()
    parameters = schema.json_schema(method.request, service.full_name)
    parameters = {"type": "object", "properties": {}, **{key: parameters[key] for key in parameters if key != "title"}}
    returns = schema.json_schema(method.response, service.full_name)
    about = schema.comments.get(schema.full_name(method.response, service.full_name), "")
    if about:
        returns = {"description": plain_text(about), **returns}
    return replace(
        bare,
        service=package,
        name=name,
        entity_type="operation",
        summary=first_sentence(plain_text(method.comment)),
        description=text,
        parameters=parameters,
        returns=returns,
        source_uri=f"{bare.source_uri}#{name}",
        declaration=_declaration(method),
    )


def _declaration(method: ProtoMethod) -> str:
    def side(name: str, is_stream: bool) -> str:
        return f"({'stream ' if is_stream else ''}{name.removeprefix('.')})"

    request = side(method.request, method.request_is_stream)
    line = f"rpc {method.name}{request} returns {side(method.response, method.response_is_stream)}"
    return f"{line}\n{method.http}" if method.http else line
