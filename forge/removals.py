"""Requests to remove documents (table ``removals``), which every later release honours, also one of an old night.

All requests lie in one slice whose key sorts before every night: a night that is run again honours them too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

import pyarrow as pa
import pyarrow.compute as pc

from forge.lake import CommitRefused, Lake
from forge.schema import canonical_json, content_hash, table_of

Selector = Literal["doc_id", "source", "uri_prefix"]
SELECTORS: tuple[Selector, ...] = get_args(Selector)
EVERY_NIGHT = "0000-00-00"
_TRIES = 5


class RemovalRefused(Exception):
    """The request cannot be recorded; the message says why."""


@dataclass(frozen=True, slots=True)
class Removal:
    """One request. ``selector`` says what ``value`` is: a document's id, its source, its URI's beginning."""

    selector: Selector
    value: str
    reason: str
    requested_at: str

    @property
    def request_id(self) -> str:
        """Hash of what is to go: asking twice is one request."""
        return content_hash(self.selector, self.value)

    def row(self) -> dict[str, Any]:
        return {
            "request_id": self.request_id,
            "selector": self.selector,
            "value": self.value,
            "reason": self.reason,
            "requested_at": self.requested_at,
            "partition_key": EVERY_NIGHT,
        }


def removals(lake: Lake) -> list[Removal]:
    """All requests, oldest first."""
    rows = lake.read("removals", ["selector", "value", "reason", "requested_at"]).to_pylist()
    return sorted((Removal(**row) for row in rows), key=lambda removal: (removal.requested_at, removal.request_id))


def request_removal(lake: Lake, selector: Selector, value: str, reason: str) -> tuple[Removal, bool]:
    """Record a request beside the earlier ones. Returns it and whether it is new; one that was recorded already is
    returned as it was. Raises :class:`RemovalRefused` for an empty value or reason."""
    value, reason = value.strip(), reason.strip()
    if selector not in SELECTORS:
        raise RemovalRefused(f"selector {selector!r}: allowed are {', '.join(SELECTORS)}")
    if not value or not reason:
        raise RemovalRefused("a removal needs a value and a reason, both not empty")
    asked = Removal(selector, value, reason, datetime.now(UTC).isoformat(timespec="seconds"))
    for attempt in range(_TRIES):
        fence = lake.fence("removals", EVERY_NIGHT)  # read before the rows: another request in between is refused below
        earlier = lake.read("removals", partition_key=EVERY_NIGHT).to_pylist()
        for row in earlier:
            if row["request_id"] == asked.request_id:
                return Removal(row["selector"], row["value"], row["reason"], row["requested_at"]), False
        rows = sorted([*earlier, asked.row()], key=lambda row: (row["requested_at"], row["request_id"]))
        fingerprint = content_hash(canonical_json(rows))
        try:
            lake.write("removals", table_of("removals", rows), EVERY_NIGHT, fingerprint, fence=fence)
        except CommitRefused:
            if attempt == _TRIES - 1:
                raise
            continue
        return asked, True
    raise AssertionError("unreachable")


def matching_documents(lake: Lake, selector: Selector, value: str) -> set[str]:
    """doc_ids of all documents that a selector names, wherever they came from, dropped ones included."""
    columns = ["doc_id"] if selector == "doc_id" else ["doc_id", "uri" if selector == "uri_prefix" else "source"]
    places = lake.read("document_sources", columns)
    compared: Any = places[columns[-1]]
    chosen = pc.starts_with(compared, value) if selector == "uri_prefix" else pc.equal(compared, pa.scalar(value))
    return {str(doc_id) for doc_id in places.filter(pc.fill_null(chosen, False))["doc_id"].to_pylist()}


def applies_to(removal: Removal, doc_id: str, places: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a request names a document, given its rows of ``document_sources``."""
    if removal.selector == "doc_id":
        return doc_id == removal.value
    if removal.selector == "source":
        return any(row["source"] == removal.value for row in places)
    return any(str(row["uri"] or "").startswith(removal.value) for row in places)
