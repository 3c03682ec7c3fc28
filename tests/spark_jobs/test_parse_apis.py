"""parse_apis over every type of documentation at once, good files beside hostile ones.

No file ends the job, none is lost without a reason, and the good ones are all there.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from pyspark.sql import SparkSession

from forge.config import Settings, SourceSettings
from forge.lake import Lake
from spark_jobs.job import Context, execute
from spark_jobs.parse_apis import JOB
from tests.spark_jobs.wrong_values import replaced

pytestmark = pytest.mark.spark
NIGHT = "2026-11-21"

_OPENAPI = {
    "openapi": "3.0.0",
    "info": {"title": "Pets", "version": "1", "license": {"name": "MIT"}},
    "paths": {
        "/pets/{id}": {
            "get": {
                "summary": "Returns one pet.",
                "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
                "responses": {"200": {"description": "The pet."}},
            }
        }
    },
}
_DISCOVERY = {
    "kind": "discovery#restDescription", "name": "pets", "version": "v1", "id": "pets:v1", "title": "Pets API",
    "rootUrl": "https://pets.example.com/", "servicePath": "",
    "resources": {"pets": {"methods": {"get": {
        "id": "pets.pets.get", "path": "v1/pets/{id}", "httpMethod": "GET", "description": "Returns one pet.",
        "parameters": {"id": {"type": "string", "location": "path", "required": True}}, "parameterOrder": ["id"],
    }}}},
}  # fmt: skip
_TOOLS = [
    {"name": "get_pet", "description": "Returns one pet.",
     "parameters": {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}}
]  # fmt: skip
_POSTMAN = {
    "info": {"name": "Pets", "schema": "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"},
    "item": [{"name": "Get a pet", "request": {
        "method": "GET", "description": "Returns one pet.", "url": {"raw": "https://pets.example.com/pets/:id",
        "host": ["pets", "example", "com"], "path": ["pets", ":id"], "variable": [{"key": "id", "value": "7"}]}}}],
}  # fmt: skip
_SPHINX = """<!DOCTYPE html><html><head><meta name="generator" content="Docutils 0.19" /></head><body>
<div class="documentwrapper"><div class="body" role="main">
<dl class="py function"><dt class="sig sig-object py" id="pets.get"><span class="sig-prename descclassname">
<span class="pre">pets.</span></span><span class="sig-name descname"><span class="pre">get</span></span>
<span class="sig-paren">(</span><em class="sig-param"><span class="n"><span class="pre">id</span></span></em>
<span class="sig-paren">)</span></dt><dd><p>Returns one pet.</p></dd></dl></div></div></body></html>"""
_MAN = """.TH GETPET 3 2026-01-01 "Pets"
.SH NAME
getpet \\- return one pet
.SH SYNOPSIS
.nf
.B #include <pets.h>
.PP
.BI "int getpet(int " id );
.fi
.SH DESCRIPTION
Returns the pet that
.I id
names.
"""
_POD = """=head1 NAME

Pets - pets

=head1 METHODS

=head2 get($id)

Returns one pet.

=cut
"""
GOOD: dict[str, tuple[str, bytes, dict[str, object]]] = {
    "openapi": ("json", orjson.dumps(_OPENAPI), {}),
    "google_discovery": ("json", orjson.dumps(_DISCOVERY), {}),
    "tool_schemas": ("json", orjson.dumps(_TOOLS), {}),
    "postman": ("json", orjson.dumps(_POSTMAN), {}),
    "graphql": ("graphql", b'type Query {\n  "Returns one pet."\n  pet(id: ID!): String\n}\n', {}),
    "protobuf": (
        "proto",
        (
            b'syntax = "proto3";\npackage pets;\nmessage Id { string id = 1; }\nmessage Pet { string name = 1; }\n'
            b"service Pets {\n  // Returns one pet.\n  rpc Get(Id) returns (Pet);\n}\n"
        ),
        {},
    ),
    "html_reference": ("html", _SPHINX.encode(), {"provider": "python", "service": "pets"}),
    "man_pages": ("3", _MAN.encode(), {}),
    "perl_pod": ("pod", _POD.encode(), {}),
}


def _deep(opening: bytes, closing: bytes, middle: bytes = b"1", levels: int = 10_000) -> Callable[[bytes], bytes]:
    return lambda _: opening * levels + middle + closing * levels


HOSTILE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut": lambda good: good[: len(good) // 2],
    "lists": _deep(b"[", b"]"),
    "objects": _deep(b'{"a":', b"}"),
    "paths": _deep(b'{"openapi":"3.0.0","paths":{"/a":{"get":{"parameters":[{"schema":', b"}]}}}}", b"{}", 2_000),
    "elements": _deep(b"<dl class='py function'><dt id='a'>a()</dt><dd>", b"</dd></dl>", b"x", 5_000),
    "braces": _deep(b"message A { ", b"}", b""),
    "selections": _deep(b"type Query { a: ", b" }", b"[" * 9_000, 1),
    "not_a_number": lambda _: b'{"openapi": "3.0.0", "info": NaN, "paths": {"/a": {"get": Infinity}}}',
    "surrogate": lambda _: b'[{"name": "a\\ud800", "description": "\\udfff", "parameters": {}}]',
    "controls": lambda good: good.replace(b"pet", b"p\x00\x1b\x7ft"),
    "utf_16": lambda good: good.decode().encode("utf-16"),
    "latin": lambda good: good.replace(b"pet", b"p\xe9t"),
    "null": lambda _: b"null",
    "number": lambda _: b"17",
    "circle": lambda _: b'{"openapi":"3.0.0","paths":{"/a":{"$ref":"#/paths/~1b"},"/b":{"$ref":"#/paths/~1a"}}}',
    "laughs": lambda _: b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
        b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n" % (98 + n, 98 + n, *[97 + n] * 9) for n in range(12)
    ),
    "tag": lambda _: b"openapi: 3.0.0\npaths: !!python/object/apply:os.system ['true']\n",
    "long_word": lambda good: good + b'"' + b"a" * 3_000_000,
}  # fmt: skip
_WRONG = ([], {}, 7, None, "x", [None, {"a": 1}])
"""What stands in place of each field of a good file in JSON."""


def _write(folder: Path, kind: str) -> None:
    suffix, good, _ = GOOD[kind]
    folder.mkdir(parents=True)
    (folder / f"good.{suffix}").write_bytes(good)
    (folder / f"packed.{suffix}.gz").write_bytes(gzip.compress(good.replace(b"Returns one pet", b"Gives a pet")))
    for name, make in HOSTILE.items():
        (folder / f"{name}.{suffix}").write_bytes(make(good))
    (folder / f"cut_stream.{suffix}.gz").write_bytes(gzip.compress(good * 50)[:-9])
    (folder / f"no_stream.{suffix}.gz").write_bytes(b"\x1f\x8bnothing of the kind")
    if kind == "openapi":
        (folder / "long_string.json").write_bytes(b'{"openapi":"3.0.0","info":{"title":"' + b"a" * 200_000_000 + b'"}}')
    if suffix == "json":
        for number, changed in enumerate(replaced(orjson.loads(good), _WRONG)):
            (folder / f"wrong{number:03d}.json").write_bytes(orjson.dumps(changed))


def test_hostile_files_of_every_type(settings: Settings, spark: SparkSession, tmp_path: Path) -> None:
    sources = {}
    for kind, (suffix, _, options) in GOOD.items():
        _write(tmp_path / kind, kind)
        patterns = [str(tmp_path / kind / f"*.{suffix}"), str(tmp_path / kind / f"*.{suffix}.gz")]
        sources[kind] = SourceSettings.model_validate(
            {"type": kind, "license": "MIT", "options": {"paths": patterns, **options}}
        )
    settings = settings.model_copy(update={"sources": sources})
    lake = Lake.of(settings)
    started = time.monotonic()
    assert execute(JOB, Context(lake, settings, NIGHT, "test", lambda: spark))
    seconds = time.monotonic() - started

    entities = lake.read("api_entities").to_pylist()
    decisions = lake.read("decisions").to_pylist()
    listed = {(row["source"], row["item_id"]) for row in lake.read("source_items").to_pylist()}
    assert sum(1 for _ in tmp_path.glob("*/*.*")) == len(listed)
    for kind in GOOD:
        found = {row["item_id"].partition(".")[0] for row in entities if row["source"] == kind}
        assert {"good", "packed"} <= found, kind
        # What cannot be read at all has a reason that names the file.
        rejected = {row["item_id"].partition(".")[0]: row for row in decisions if row["source"] == kind}
        assert {"empty", "cut_stream", "no_stream"} <= set(rejected), kind
        assert all(row["reason"] != "reader_failed" for row in rejected.values()), [
            (row["item_id"], row["detail"]) for row in rejected.values() if row["reason"] == "reader_failed"
        ]
    assert [row["reason"] for row in decisions if row["item_id"] == "long_string.json"] == ["oversized"]
    for row in entities:  # nothing that a text file or a terminal could not hold
        text = row["name"] + row["summary"] + row["description"] + row["declaration"]
        assert not any(character in text for character in "\x00\x1b\x7f")
    assert seconds < 240  # for some 700 files; none may take 10 s
