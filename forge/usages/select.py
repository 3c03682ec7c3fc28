"""Which usages stand for an API: the clearest few, the same whatever the order in which they arrive."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from forge.schema import Usage, content_hash
from forge.text.licenses import is_allowed

MAX_PER_ENTITY = 3
_MAX_DISTANCE = 4.0


def paths_of(entity_keys: Iterable[str]) -> dict[str, list[str]]:
    """Public dotted path -> keys of the Python entities of that name, sorted: two distributions may offer one path."""
    found: dict[str, list[str]] = {}
    for key in sorted(set(entity_keys)):
        provider, _, rest = key.partition("/")
        if provider == "python":
            found.setdefault(rest.partition("/")[2].partition("(")[0], []).append(key)
    return found


def chosen_usages(
    usages: Iterable[Usage],
    entity_keys: Iterable[str],
    allowed_licenses: Collection[str] | None = None,
    count: int = MAX_PER_ENTITY,
) -> dict[str, list[Usage]]:
    """Entity key -> its usages, clearest first, for entities that have one. ``allowed_licenses``: usages under others
    are left out; None: none is."""
    keys = paths_of(entity_keys)
    known: dict[str, list[Usage]] = {}
    for usage in usages:
        name = next((name for name in usage.names if name in keys), None)
        if name is not None and (allowed_licenses is None or is_allowed(usage.license, allowed_licenses)):
            known.setdefault(name, []).append(usage)
    return {key: clearest(found, count) for name, found in sorted(known.items()) for key in keys[name]}


def clearest(usages: Iterable[Usage], count: int = MAX_PER_ENTITY) -> list[Usage]:
    """At most ``count`` usages of one API by score, then by the hash of their text; of one text the first by item. None
    that is far less clear than the first, and one that calls nothing else than an earlier one only when no other is
    left."""
    distinct: dict[str, Usage] = {}
    for usage in usages:
        known = distinct.get(usage.snippet)
        if known is None or _order(usage) < _order(known):
            distinct[usage.snippet] = usage
    ranked = sorted(distinct.values(), key=_order)
    ranked = [usage for usage in ranked if usage.score <= 2 * ranked[0].score + _MAX_DISTANCE]
    first: list[Usage] = []
    repeated: list[Usage] = []
    seen: set[tuple[str, ...]] = set()
    for usage in ranked:
        shape = tuple(usage.calls)
        (repeated if shape in seen else first).append(usage)
        seen.add(shape)
    return sorted([*first, *repeated][:count], key=_order)


def _order(usage: Usage) -> tuple[float, str, str, str]:
    return (usage.score, content_hash(usage.snippet), usage.source, usage.item_id)


def gained(entity_keys: Collection[str], chosen: Mapping[str, Sequence[Usage]]) -> tuple[int, int]:
    """(Python entities, those of them that have a usage): the figure of the report."""
    python = {key for key in entity_keys if key.startswith("python/")}
    return len(python), sum(1 for key in python if chosen.get(key))
