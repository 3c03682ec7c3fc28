"""Service models of botocore's format."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import orjson
import pytest

from forge.apis import botocore
from forge.apis.botocore import SchemaExpander
from forge.config import ConfigurationError, Settings, SourceSettings
from forge.schema import ApiEntity, Decision, Item

MODEL: dict[str, Any] = {
    "metadata": {"apiVersion": "2020-02-02", "auth": ["aws.auth#sigv4"]},
    "operations": {
        "PutThing": {
            "name": "PutThing",
            "http": {"method": "POST", "requestUri": "/"},
            "input": {"shape": "PutThingInput"},
            "output": {"shape": "Thing"},
            "errors": [{"shape": "TooMany"}],
            "documentation": "<p>Puts a <code>Thing</code>. More follows.</p><note><p>Careful.</p></note>",
        },
        "Ping": {"name": "Ping", "deprecated": True, "authtype": "none", "documentation": "<p>Says hello.</p>"},
        "Broken": {"name": "Broken", "input": {"shape": "Missing"}},
    },
    "shapes": {
        "PutThingInput": {
            "type": "structure",
            "required": ["Name"],
            "members": {
                "Name": {"shape": "Name", "documentation": "<p>Its name.</p>"},
                "Kind": {"shape": "Kind"},
                "Thing": {"shape": "Thing"},
                "Labels": {"shape": "Labels", "deprecated": True},
            },
        },
        "Name": {"type": "string", "min": 1, "max": 9, "pattern": "[a-z]+"},
        "Kind": {"type": "string", "enum": ["BIG", "SMALL"], "documentation": "<p>The kind.</p>"},
        "Labels": {"type": "map", "key": {"shape": "Kind"}, "value": {"shape": "Name"}},
        "Thing": {
            "type": "structure",
            "union": True,
            "members": {
                "parts": {"shape": "Things", "documentation": "<p>What it is made of. Not shown below.</p>"},
                "made": {"shape": "Time"},
            },
        },
        "Things": {"type": "list", "member": {"shape": "Thing"}, "max": 5},
        "Time": {"type": "timestamp"},
        "TooMany": {"type": "structure", "exception": True, "documentation": "<p>There are too many.</p>"},
    },
}
EXAMPLES = {
    "version": "1.0",
    "examples": {
        "PutThing": [{"input": {"Name": "a"}, "output": {"made": "2020"}, "title": "To put", "description": "Puts a."}]
    },
}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    for version in ("2019-01-01", "2020-02-02"):
        folder = root / "thing" / version
        folder.mkdir(parents=True)
        (folder / "service-2.json.gz").write_bytes(gzip.compress(orjson.dumps(MODEL), mtime=0))
    (root / "thing" / "2020-02-02" / "examples-1.json").write_bytes(orjson.dumps(EXAMPLES))
    (root / "cut" / "2020").mkdir(parents=True)
    (root / "cut" / "2020" / "service-2.json.gz").write_bytes(gzip.compress(orjson.dumps(MODEL), mtime=0)[:-40])
    (root / "empty" / "2020").mkdir(parents=True)
    (root / "other" / "2020").mkdir(parents=True)
    (root / "other" / "2020" / "service-2.json").write_bytes(b'{"operations": 3}')
    return root


def _source(models: Path, **options: object) -> SourceSettings:
    return SourceSettings(type="botocore", license="Apache-2.0", options={"folder": str(models), **options})


def _items(models: Path, settings: Settings, **options: object) -> dict[str, Item]:
    return {item.item_id: item for item in botocore.list_items("aws", _source(models, **options), settings)}


def test_items_are_services_at_their_latest_version(models: Path, settings: Settings) -> None:
    items = _items(models, settings)
    assert list(items) == ["cut", "other", "thing"]
    assert "2020-02-02" in items["thing"].locator["model"]
    assert list(_items(models, settings, services=["t*"])) == ["thing"]
    assert list(_items(models, settings, denied=["c*", "other"])) == ["thing"]
    (models / "thing" / "2020-02-02" / "examples-1.json").write_bytes(b"{}")
    again = _items(models, settings)
    assert again["thing"].content_hash != items["thing"].content_hash
    assert again["other"].content_hash == items["other"].content_hash


def test_an_unknown_option_is_refused(models: Path, settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="service"):
        _items(models, settings, service=["s3"])


def test_operations_become_entities(models: Path, settings: Settings) -> None:
    rows = list(botocore.read_item(_items(models, settings)["thing"], _source(models), settings))
    assert [(row.item_id, row.reason) for row in rows if isinstance(row, Decision)] == [
        ("thing#Broken", "malformed_operation")
    ]
    ping, put = (row for row in rows if isinstance(row, ApiEntity))
    assert (ping.name, ping.auth, ping.parameters) == ("Ping", "none", {"type": "object", "properties": {}})
    assert ping.description == "Deprecated.\n\nSays hello."
    assert put.entity_key == "aws/thing/PutThing"
    assert put.signature_key == "putthing(kind,labels,name,thing)"
    assert (put.version, put.auth, put.license) == ("2020-02-02", "sigv4", "Apache-2.0")
    assert put.summary == "Puts a `Thing`."
    assert put.description == "Puts a `Thing`. More follows.\n\nNote: Careful."
    assert put.parameters["required"] == ["Name"]
    properties = put.parameters["properties"]
    assert properties["Name"] == {
        "description": "Its name.", "type": "string", "minLength": 1, "maxLength": 9, "pattern": "[a-z]+",
    }  # fmt: skip
    assert properties["Kind"] == {"description": "The kind.", "type": "string", "enum": ["BIG", "SMALL"]}
    assert properties["Labels"]["propertyNames"] == {"enum": ["BIG", "SMALL"]}
    assert properties["Labels"]["deprecated"] is True
    thing = properties["Thing"]
    assert thing["properties"]["parts"] == {
        "description": "What it is made of.",
        "type": "array",
        "maxItems": 5,
        "items": {"type": "object", "title": "Thing"},
    }
    assert thing["maxProperties"] == 1
    assert [(error.name, error.description) for error in put.errors] == [("TooMany", "There are too many.")]
    assert [(shown.description, shown.input, shown.output) for shown in put.examples] == [
        ("Puts a.", '{"Name":"a"}', '{"made":"2020"}')
    ]


@pytest.mark.parametrize("service", ["cut", "other"])
def test_a_model_that_cannot_be_read_is_one_decision(models: Path, settings: Settings, service: str) -> None:
    rows = list(botocore.read_item(_items(models, settings)[service], _source(models), settings))
    assert [(type(row), row.item_id) for row in rows] == [(Decision, service)]


def test_expansion_is_bounded_and_keeps_the_first_level() -> None:
    shapes: dict[str, Any] = {"String": {"type": "string"}}
    for level in range(8):
        inner = f"Level{level + 1}" if level < 7 else "String"
        shapes[f"Level{level}"] = {
            "type": "structure",
            "members": {f"m{number}": {"shape": inner} for number in range(300 if level == 0 else 20)},
        }
    schema = SchemaExpander(shapes).expand("Level0")
    assert len(schema["properties"]) == 300
    assert len(orjson.dumps(schema)) < 60_000


def test_the_installed_models(settings: Settings) -> None:
    source = SourceSettings(type="botocore", license="Apache-2.0", options={"services": ["dynamodb", "sts"]})
    items = list(botocore.list_items("aws", source, settings))
    assert [item.item_id for item in items] == ["dynamodb", "sts"]
    entities = [row for item in items for row in botocore.read_item(item, source, settings)]
    assert all(isinstance(row, ApiEntity) for row in entities)
    assert len({row.entity_key for row in entities if isinstance(row, ApiEntity)}) == len(entities) > 50
