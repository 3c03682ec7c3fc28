"""What a file of specifications is said to be where it says nothing itself."""

from __future__ import annotations

from dataclasses import dataclass

from forge.config import SourceSettings
from forge.schema import Item


@dataclass(frozen=True, slots=True)
class About:
    """Where a file lies, and whose it is. ``license`` is the source's: it counts before what the file states."""

    source: str
    item_id: str
    uri: str
    provider: str
    service: str
    version: str = ""
    license: str = ""


def about_file(
    item: Item, source: SourceSettings, *, public_uri: str, provider: str, service: str, version: str
) -> About:
    """``provider`` and ``service`` as the options state them, with what stands for an empty one."""
    return About(
        source=item.source,
        item_id=item.item_id,
        uri=public_uri + item.item_id,
        provider=provider or item.source,
        service=service,
        version=version,
        license=source.license or "",
    )
