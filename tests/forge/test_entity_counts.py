"""Counts of APIs by source, over the nights that are current."""

from __future__ import annotations

from forge.entity_counts import EntityCounts, entity_counts
from forge.lake import Lake
from forge.schema import ApiEntity, Decision, table_of


def entity(name: str, item: str, source: str = "docs", description: str = "", parameters: bool = False) -> ApiEntity:
    properties = {"x": {"type": "string"}} if parameters else {}
    return ApiEntity(
        provider="p", service="s", name=name, version="1", entity_type="function", summary="", description=description,
        parameters={"type": "object", "properties": properties}, returns={}, license="MIT", source=source,
        item_id=item, source_uri=item,
    )  # fmt: skip


def sighting(item: str, night: str, source: str = "docs", state: str = "present") -> dict[str, str]:
    return {"source": source, "item_id": item, "content_hash": night, "state": state, "step": "parse_apis",
            "partition_key": night}  # fmt: skip


def test_distinct_documented_and_rejected_by_source(lake: Lake) -> None:
    first, second = "2026-01-01", "2026-01-02"

    def write(night: str, entities: list[ApiEntity], items: list[dict[str, str]]) -> None:
        lake.write("source_items", table_of("source_items", items), night, night, step="parse_apis")
        lake.write("api_entities", table_of("api_entities", [found.row(night) for found in entities]), night, night)

    dropped = [Decision("docs", "bad", "parse_apis", "malformed_spec").row(first)]
    lake.write("decisions", table_of("decisions", dropped), first, first, step="parse_apis")
    write(
        first,
        [entity("a", "one", description="Adds."), entity("a", "two", parameters=True), entity("b", "two"),
         entity("gone", "three", description="Was."), entity("a", "other", source="mirror", description="Adds.")],
        [sighting("one", first), sighting("two", first), sighting("three", first), sighting("other", first, "mirror")],
    )  # fmt: skip
    write(
        second,
        [entity("c", "one", description=" \n")],
        [sighting("one", second), sighting("three", second, state="removed")],
    )
    assert entity_counts(lake, first) == {
        "docs": EntityCounts(rows=4, entities=3, documented=2, rejected=1),
        "mirror": EntityCounts(rows=1, entities=1, documented=1, rejected=0),
        "": EntityCounts(rows=5, entities=3, documented=2, rejected=1),
    }
    assert entity_counts(lake, second)["docs"] == EntityCounts(rows=3, entities=3, documented=1, rejected=1)
