"""gRPC methods from text and from descriptors: golden files, agreement of both, hostile input."""

from __future__ import annotations

import contextlib
import importlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forge.apis.proto_descriptors import DescriptorError, read_descriptors
from forge.apis.proto_schema import ProtoSchema
from forge.apis.proto_text import ProtoTextError, read_proto
from forge.apis.protobuf import list_items, read_item
from forge.config import Settings, SourceSettings
from forge.schema import ApiEntity, Decision

PETS = """// Licence text.

syntax = "proto3";
package shop.pets.v1;
import "google/api/annotations.proto";
option java_package = "com.example";

// A pet of the shop.
message Pet {
  string name = 1;      // What it is called.
  repeated string tags = 2 [deprecated = true];
  map<string, int64> prices = 3;
  Kind kind = 4;
  oneof home { string kennel = 5; Cage cage = 6; }
  message Cage { double width = 1; Pet owner = 2; }
  reserved 7, 8;
}
enum Kind { KIND_UNKNOWN = 0; DOG = 1; /* barks */ CAT = 2; }
message GetPetRequest {
  /* The pet's name.
   * Unique in the shop. */
  string name = 1;
  google.protobuf.Timestamp at = 2;
}

// Everything about pets.
service Pets {
  // Returns one pet. Fails for
  // a name that is not known.
  rpc GetPet(GetPetRequest) returns (Pet) {
    option (google.api.http) = { get: "/v1/{name=pets/*}" additional_bindings { get: "/v1/x" } };
  }
  rpc Watch(stream GetPetRequest) returns (stream .shop.pets.v1.Pet);

  // Old.
  rpc Find(other.Request) returns (google.protobuf.Empty) { option deprecated = true; }
}
"""


def outcomes(path: Path, settings: Settings, **options: Any) -> list[ApiEntity | Decision]:
    source = SourceSettings(type="protobuf", license="MIT", options={"paths": [str(path)], **options})
    return [found for item in list_items("mine", source, settings) for found in read_item(item, source, settings)]


@pytest.fixture
def methods(tmp_path: Path, settings: Settings) -> dict[str, ApiEntity]:
    (tmp_path / "pets.proto").write_text(PETS)
    found = outcomes(tmp_path / "*.proto", settings, provider="shop.example")
    return {one.name: one for one in found if isinstance(one, ApiEntity)}


def test_a_method_with_everything(methods: dict[str, ApiEntity]) -> None:
    assert list(methods) == ["shop.pets.v1.Pets/GetPet", "shop.pets.v1.Pets/Watch", "shop.pets.v1.Pets/Find"]
    get = methods["shop.pets.v1.Pets/GetPet"]
    assert get.entity_key == "shop.example/shop.pets.v1/shop.pets.v1.Pets/GetPet"
    assert get.summary == "Returns one pet."
    assert get.description == "Returns one pet. Fails for\na name that is not known."
    assert get.declaration == "rpc GetPet(GetPetRequest) returns (Pet)\nGET /v1/{name=pets/*}"
    assert get.parameters == {
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": "The pet's name.\nUnique in the shop."},
            "at": {"type": "string", "format": "date-time"},
        },
        "x-order": ["name", "at"],
    }
    assert get.returns["description"] == "A pet of the shop."
    pet = get.returns["properties"]
    assert pet["name"] == {"type": "string", "description": "What it is called."}
    assert pet["tags"] == {"type": "array", "items": {"type": "string"}, "deprecated": True}
    assert pet["prices"] == {"type": "object", "additionalProperties": {"type": "integer", "format": "int64"}}
    assert pet["kind"] == {"type": "string", "enum": ["KIND_UNKNOWN", "DOG", "CAT"]}
    assert pet["kennel"]["description"] == "One of the group home."
    cage = pet["cage"]["properties"]
    assert cage["owner"] == {"type": "object", "title": "shop.pets.v1.Pet"}  # a pet inside itself


def test_streams_unknown_types_and_deprecation(methods: dict[str, ApiEntity]) -> None:
    watch, find = methods["shop.pets.v1.Pets/Watch"], methods["shop.pets.v1.Pets/Find"]
    assert watch.declaration == "rpc Watch(stream GetPetRequest) returns (stream shop.pets.v1.Pet)"
    assert list(watch.returns["properties"])[:2] == ["name", "tags"]
    assert find.description == "Deprecated.\n\nOld."
    assert find.parameters == {"type": "object", "properties": {}}
    assert find.returns == {"type": "object"}


def _installed_files() -> Iterator[tuple[Path, Any]]:
    """(`.proto` text, its descriptor by protoc) of every file that the environment ships with its compiled module."""
    import google.protobuf

    root = Path(google.protobuf.__file__).parents[2]
    for path in sorted(root.glob("google/**/*.proto")):
        name = path.relative_to(root).with_suffix("").as_posix().replace("/", ".") + "_pb2"
        try:
            yield path, importlib.import_module(name).DESCRIPTOR
        except ImportError:
            continue


def _shape(schema: ProtoSchema) -> dict[str, Any]:
    """What both readers must agree on, with type names made full."""
    return {
        "messages": {
            name: [
                (one.name, schema.full_name(one.type, name), one.label.replace("optional", ""), one.oneof)
                for one in fields
            ]
            for name, fields in schema.messages.items()
            if not name.endswith("Entry")  # what protoc makes of a map
        },
        "enums": schema.enums,
        "services": [
            (service.full_name, method.name, schema.full_name(method.request, service.full_name),
             schema.full_name(method.response, service.full_name), method.request_is_stream,
             method.response_is_stream, method.http)
            for _, service in schema.services
            for method in service.methods
        ],
    }  # fmt: skip


def test_text_and_descriptors_of_installed_files_agree() -> None:
    from google.protobuf import descriptor_pb2

    methods = files = 0
    for path, descriptor in _installed_files():
        one = descriptor_pb2.FileDescriptorProto()
        descriptor.CopyToProto(one)
        # imported types must be known to name them in full
        texts = read_proto(path.read_text())
        compiled = read_descriptors(descriptor_pb2.FileDescriptorSet(file=[one]).SerializeToString())
        for schema in (texts, compiled):
            schema.messages |= {name: () for name in _imported(descriptor) if name not in schema.messages}
        own = {name: fields for name, fields in _shape(texts)["messages"].items() if fields}
        assert own == {name: fields for name, fields in _shape(compiled)["messages"].items() if fields}, path
        assert _shape(texts)["enums"] == _shape(compiled)["enums"], path
        assert _shape(texts)["services"] == _shape(compiled)["services"], path
        methods += sum(len(service.methods) for service in descriptor.services_by_name.values())
        assert len(_shape(compiled)["services"]) == sum(
            len(service.methods) for service in descriptor.services_by_name.values()
        )
        files += 1
    assert files > 40
    assert methods >= 5


def _imported(descriptor: Any) -> set[str]:
    found: set[str] = set()
    waiting, seen = list(descriptor.dependencies), set()
    while waiting:
        file = waiting.pop()
        if file.name in seen:
            continue
        seen.add(file.name)
        waiting.extend(file.dependencies)
        stack = list(file.message_types_by_name.values())
        while stack:
            message = stack.pop()
            found |= {message.full_name, *(enum.full_name for enum in message.enum_types)}
            stack.extend(message.nested_types)
        found |= {enum.full_name for enum in file.enum_types_by_name.values()}
    return found


def test_every_service_of_installed_modules_is_found(tmp_path: Path, settings: Settings) -> None:
    from google.protobuf import descriptor_pb2

    expected: set[str] = set()
    files = descriptor_pb2.FileDescriptorSet()
    for name in (
        "opentelemetry.proto.collector.trace.v1.trace_service_pb2",
        "opentelemetry.proto.collector.logs.v1.logs_service_pb2",
        "opentelemetry.proto.collector.metrics.v1.metrics_service_pb2",
        "google.longrunning.operations_proto_pb2",
        "google.cloud.location.locations_pb2",
    ):
        descriptor = importlib.import_module(name).DESCRIPTOR
        descriptor.CopyToProto(files.file.add())
        expected |= {
            f"{service.full_name}/{method.name}"
            for service in descriptor.services_by_name.values()
            for method in service.methods
        }
    (tmp_path / "all.pb").write_bytes(files.SerializeToString())
    found = [one for one in outcomes(tmp_path / "all.pb", settings) if isinstance(one, ApiEntity)]
    assert {one.name for one in found} == expected
    assert all(one.parameters["properties"] for one in found if one.name.endswith("/Export"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("service A { rpc B(C) returns (D);", "line 1: service 'A' is not closed"),
        ("}\n", "line 1: '}' closes nothing"),
        ("service A {\n rpc B returns C;\n}", "method 'rpc B returns C'"),
        ("message A { " * 100, "more than 64 blocks"),
        ("option a = " + "[" * 100 + "]" * 100 + ";", "more than 64 open brackets"),
        ("hello", "'hello' begins nothing"),
    ],
)
def test_what_is_no_proto_says_where(text: str, said: str) -> None:
    with pytest.raises(ProtoTextError) as caught:
        read_proto(text)
    assert said in str(caught.value)


def test_a_bad_file_is_one_decision(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "a.proto").write_text(PETS[:-30])
    (tmp_path / "b.pb").write_bytes(b"\xff\xff\xff")
    (tmp_path / "c.desc").write_bytes(b"")
    (tmp_path / "d.proto").write_bytes(PETS.encode("utf-16"))
    found = outcomes(tmp_path / "*.*", settings)
    decisions = {one.item_id: one.reason for one in found if isinstance(one, Decision)}
    assert decisions == {"a.proto": "malformed_spec", "b.pb": "malformed_spec", "c.desc": "empty_file"}
    assert sum(isinstance(one, ApiEntity) for one in found) == 3  # UTF-16 says what it is


@hypothesis_settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_text_raises_anything_else(data: Any) -> None:
    words = data.draw(st.lists(st.sampled_from([*PETS.split(), "{", "}", '"', "/*", "(", ";"]), max_size=60))
    cut = data.draw(st.integers(0, len(PETS)))
    for text in (" ".join(words), PETS[:cut], PETS[:cut] + " ".join(words)):
        try:
            schema = read_proto(text)
        except ProtoTextError:
            continue
        for _, service in schema.services:
            for method in service.methods:
                schema.json_schema(method.request, service.full_name)


@hypothesis_settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    with contextlib.suppress(DescriptorError):
        read_descriptors(data)


def test_large_input_takes_seconds() -> None:
    started = time.process_time()
    read_proto('"' * 1_000_000 + ";")
    read_proto("/*" * 300_000 + "*/;")
    fields = "".join(f"A{number} f{number} = {number};" for number in range(2000))
    text = "".join(f"message A{number} {{ {fields} }}" for number in range(20))
    schema = read_proto(text + "service S { rpc M(A1) returns (A2); }")
    assert len(schema.json_schema("A1", "S")["properties"]) == 2000
    assert time.process_time() - started < 10


def test_a_small_file_that_states_huge_schemas_is_cut(tmp_path: Path, settings: Settings) -> None:
    started = time.process_time()
    fields = "".join(f"A f{number} = {number};" for number in range(3000))
    methods = "".join(f"rpc M{number}(A) returns (A);" for number in range(30_000))
    (tmp_path / "a.proto").write_text(f"message A {{ {fields} }} service S {{ {methods} }}")
    *found, last = outcomes(tmp_path / "a.proto", settings)
    assert isinstance(last, Decision)
    assert last.reason == "too_large"
    assert 0 < len(found) < 200
    assert time.process_time() - started < 10
