"""Operations out of the lake or straight from a source: of each API the one row that stands for it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from importlib import import_module
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from forge.apis.readers import READERS
from forge.apis.versions import version_rank
from forge.config import ConfigurationError, Settings
from forge.lake import Lake
from forge.schema import TABLES, ApiEntity, entity_from_row

_NAMES = ("entity_key", "provider", "service", "name", "entity_type", "source", "item_id", "source_uri")
_CALLABLE = ("operation", "tool")


def elected_names(lake: Lake) -> list[ApiEntity]:
    """The elected operations and tools of the lake's newest night, by name only: no parameters, nothing described."""
    places = _elected_places(lake)
    found: dict[str, ApiEntity] = {}
    for row in _rows(lake, _NAMES, pc.field("entity_type").isin(_CALLABLE)):
        key = row["entity_key"]
        if key not in found and places.get(key) == (row["source"], row["item_id"], row["source_uri"]):
            known: dict[str, Any] = {name: row[name] for name in _NAMES if name != "entity_key"}
            found[key] = ApiEntity(
                **known, version="", summary="", description="", license="", parameters={}, returns={}
            )
    return [found[key] for key in sorted(found)]


def elected_entities(lake: Lake, keys: Collection[str]) -> dict[str, ApiEntity]:
    """Key -> the elected row, whole. Of several rows at one place the first by description and parameters, of the
    newest night that has one."""
    places = _elected_places(lake)
    found: dict[str, ApiEntity] = {}
    for row in _rows(lake, TABLES["api_entities"].names, pc.field("entity_key").isin(sorted(keys))):
        key = row["entity_key"]
        if key not in found and places.get(key) == (row["source"], row["item_id"], row["source_uri"]):
            found[key] = entity_from_row(row)
    return found


def _elected_places(lake: Lake) -> dict[str, tuple[str, str, str]]:
    """Key -> (source, item_id, source_uri) of the row that stands for it."""
    columns = ["entity_key", "source", "item_id", "source_uri", "state", "partition_key"]
    rows: Any = lake.read("entity_versions", columns)
    found: dict[str, tuple[str, str, str]] = {}
    for row in rows.sort_by([("partition_key", "ascending")]).to_pylist():
        if row["state"] == "present":
            found[row["entity_key"]] = (row["source"], row["item_id"], row["source_uri"])
        else:
            found.pop(row["entity_key"], None)
    return found


def _rows(lake: Lake, columns: Collection[str], wanted: pc.Expression) -> Iterator[Mapping[str, Any]]:
    """Rows of ``api_entities``, newest night first, read file by file; of one night in an order of their own."""
    by_night: dict[str, list[Any]] = {}
    for file in lake.files("api_entities"):
        by_night.setdefault(file.partition_values["partition_key"], []).append(file)
    for night in sorted(by_night, reverse=True):
        tables = [table.filter(wanted) for table in lake.read_files("api_entities", by_night[night], list(columns))]
        rows = pa.concat_tables(tables).to_pylist()
        yield from sorted(rows, key=lambda row: (row["entity_key"], row.get("description"), row.get("parameters")))


def source_entities(settings: Settings, name: str) -> list[ApiEntity]:
    """The operations and tools of one source of API documentation, read now, of each API the newest version. Raises
    :class:`ConfigurationError` for a source that is none or has no items."""
    source = settings.sources.get(name)
    if source is None or source.type not in READERS:
        known = sorted(each for each, found in settings.sources.items() if found.type in READERS)
        raise ConfigurationError(f"no source {name!r} of API documentation; such sources: {', '.join(known)}")
    reader = import_module(READERS[source.type])
    found: dict[str, ApiEntity] = {}
    for item in reader.list_items(name, source, settings):
        for entity in reader.read_item(item, source, settings):
            if isinstance(entity, ApiEntity) and entity.entity_type in _CALLABLE:
                known_entity = found.get(entity.entity_key)
                if known_entity is None or _rank(entity) > _rank(known_entity):
                    found[entity.entity_key] = entity
    return [found[key] for key in sorted(found)]


def _rank(entity: ApiEntity) -> str:
    return version_rank(entity.version, entity.mirror)
