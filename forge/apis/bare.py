"""An entity with what all entities of one file share, and nothing else: readers fill in copies of it."""

from __future__ import annotations

from forge.config import SourceSettings
from forge.schema import ApiEntity, Item


def bare_entity(
    item: Item, source: SourceSettings, uri: str, *, provider: str = "", service: str = "", version: str = ""
) -> ApiEntity:
    """A function without name, text or parameters. ``uri`` is where the file lies; an entity adds its fragment."""
    return ApiEntity(
        provider=provider,
        service=service,
        name="",
        version=version,
        entity_type="function",
        summary="",
        description="",
        parameters={"type": "object", "properties": {}},
        returns={},
        license=source.license or "",
        source=item.source,
        item_id=item.item_id,
        source_uri=uri,
    )
