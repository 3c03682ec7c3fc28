"""Serialised descriptors (``FileDescriptorSet``: what ``protoc --descriptor_set_out --include_source_info`` writes) ->
:class:`forge.apis.proto_schema.ProtoSchema`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from forge.apis.proto_schema import ProtoField, ProtoMethod, ProtoSchema, ProtoService

_LABEL = {1: "", 2: "required", 3: "repeated"}
_MESSAGE, _NESTED, _FIELD, _METHOD = 4, 3, 2, 2
_SERVICE = 6


class DescriptorError(ValueError):
    """The bytes are no descriptor set."""


def read_descriptors(data: bytes) -> ProtoSchema:
    """The schema of all files of a set, or of one ``FileDescriptorProto``. Raises :class:`DescriptorError`."""
    from google.api import annotations_pb2  # registers the option that says a method's HTTP path
    from google.protobuf import descriptor_pb2
    from google.protobuf.message import DecodeError

    found = descriptor_pb2.FileDescriptorSet()
    try:
        found.ParseFromString(data)
        if not found.file or not all(file.name for file in found.file):
            raise DescriptorError("a descriptor set names at least one file")
    except (DecodeError, UnicodeDecodeError) as error:
        raise DescriptorError(f"no descriptor set: {error}") from None
    schema = ProtoSchema()
    for file in found.file:
        _File(file, schema, annotations_pb2.http).read()
    return schema


class _File:
    def __init__(self, file: Any, schema: ProtoSchema, http: Any) -> None:
        self.file, self.schema, self.http = file, schema, http
        self.comments: Mapping[tuple[int, ...], str] = {
            tuple(place.path): (place.leading_comments or place.trailing_comments).strip()
            for place in file.source_code_info.location
        }

    def read(self) -> None:
        package = self.file.package
        # The depth is bounded by the parser: a message holds at most 100 levels.
        stack: list[tuple[Any, str, tuple[int, ...]]] = [
            (message, package, (_MESSAGE, place)) for place, message in enumerate(self.file.message_type)
        ]
        for enum in self.file.enum_type:
            self._enum(enum, package)
        while stack:
            message, scope, path = stack.pop()
            name = f"{scope}.{message.name}" if scope else message.name
            self._message(message, name, path)
            for enum in message.enum_type:
                self._enum(enum, name)
            stack.extend((inner, name, (*path, _NESTED, place)) for place, inner in enumerate(message.nested_type))
        for place, service in enumerate(self.file.service):
            path = (_SERVICE, place)
            methods = [self._method(one, (*path, _METHOD, number)) for number, one in enumerate(service.method)]
            full = f"{package}.{service.name}" if package else service.name
            self.schema.services.append((package, ProtoService(full, tuple(methods), self.comments.get(path, ""))))

    def _enum(self, enum: Any, scope: str) -> None:
        self.schema.enums[f"{scope}.{enum.name}" if scope else enum.name] = tuple(value.name for value in enum.value)

    def _message(self, message: Any, name: str, path: Sequence[int]) -> None:
        entries = {f".{name}.{inner.name}": inner for inner in message.nested_type if inner.options.map_entry}
        fields = []
        for place, one in enumerate(message.field):
            entry = entries.get(one.type_name)
            kind = entry.field[1] if entry is not None and len(entry.field) == 2 else one
            in_oneof = one.HasField("oneof_index") and not one.proto3_optional
            in_oneof = in_oneof and one.oneof_index < len(message.oneof_decl)
            fields.append(
                ProtoField(
                    name=one.name,
                    type=kind.type_name or _scalar(kind.type),
                    label="map" if entry is not None else _LABEL.get(one.label, ""),
                    oneof=message.oneof_decl[one.oneof_index].name if in_oneof else "",
                    comment=self.comments.get((*path, _FIELD, place), ""),
                    deprecated=one.options.deprecated,
                )
            )
        self.schema.messages[name] = tuple(fields)
        self.schema.comments[name] = self.comments.get(tuple(path), "")

    def _method(self, method: Any, path: tuple[int, ...]) -> ProtoMethod:
        rule = method.options.Extensions[self.http]
        verb = rule.WhichOneof("pattern") or ""
        return ProtoMethod(
            name=method.name,
            request=method.input_type,
            response=method.output_type,
            request_is_stream=method.client_streaming,
            response_is_stream=method.server_streaming,
            comment=self.comments.get(path, ""),
            http=f"{verb.upper()} {getattr(rule, verb)}" if verb and verb != "custom" else "",
            deprecated=method.options.deprecated,
        )


def _scalar(number: int) -> str:
    from google.protobuf import descriptor_pb2

    try:
        name: str = descriptor_pb2.FieldDescriptorProto.Type.Name(number)  # "TYPE_INT32"
    except ValueError:
        return "bytes"
    return name.removeprefix("TYPE_").lower()
