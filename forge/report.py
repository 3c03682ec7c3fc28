"""The roll-up of one night at pinned table versions: what is in the corpus, where it came from, what was dropped.

Every figure is counted from the tables. Where a step's input can be counted independently of its outcome (``mix``), the
funnel says whether the two agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from forge.lake import Lake
from forge.ledger import current_items
from forge.schema import DOMAINS, KINDS

READING_STEPS: Mapping[str, str] = {
    "parse_apis": "api_entities",
    "mine_usages": "usages",
    "parse_trajectories": "trajectories",
    "crawl": "fetches",
    "extract_web": "web_pages",
    "read_texts": "texts",
}


class PinnedLake:
    """A lake at fixed table versions, as of one night."""

    def __init__(self, lake: Lake, versions: Mapping[str, int], night: str) -> None:
        self.lake, self.versions, self.night = lake, versions, night
        self._alive: set[tuple[str, str, str]] | None = None

    def read(
        self, table: str, columns: Sequence[str], *, only_night: bool = False, step: str | None = None
    ) -> pa.Table:
        if table not in self.versions:
            return self.lake.read(table, columns, up_to="")  # not yet there at that time: empty
        night = self.night if only_night else None
        return self.lake.read(
            table, columns, version=self.versions[table], partition_key=night, up_to=self.night, step=step
        )

    def current(self, table: str, columns: Sequence[str]) -> pa.Table:
        """Rows of an item table whose item is still there in its newest version."""
        if self._alive is None:
            items = current_items(self.read("source_items", ["source", "item_id", "state", "partition_key"]))
            self._alive = {tuple(row.values()) for row in items.to_pylist()}
        keys = ["source", "item_id", "partition_key"]
        rows = self.read(table, list(dict.fromkeys([*columns, *keys])))
        mask = [key in self._alive for key in zip(*(rows[key].to_pylist() for key in keys), strict=True)]
        return rows.filter(pa.array(mask, pa.bool_())).select(list(columns))


def build_report(lake: Lake, versions: Mapping[str, int], night: str) -> dict[str, Any]:
    """The report of DESIGN section 7 without its ``release``, ``created_at`` and ``gates``, which the release adds."""
    pinned = PinnedLake(lake, versions, night)
    entities = pinned.current("api_entities", ["entity_key", "source"])
    trajectories = pinned.current("trajectories", ["source"])
    links = pinned.read("call_links", ["entity_key"], only_night=True)
    corpus = pinned.read(
        "corpus", ["doc_id", "kind", "domain", "entity_key", "source", "tokens", "split"], only_night=True
    )
    items_by_source = _items_by_source(pinned)
    rejected = Counter(
        row["source"] for step in READING_STEPS for row in pinned.read("decisions", ["source"], step=step).to_pylist()
    )
    documents_by_source = Counter(corpus["source"].to_pylist())
    tokens_by_source: Counter[str] = Counter()
    for row in corpus.select(["source", "tokens"]).to_pylist():
        tokens_by_source[row["source"]] += row["tokens"]
    names = sorted({*items_by_source, *rejected, *documents_by_source})
    return {
        "entities": pc.count_distinct(entities["entity_key"]).as_py(),
        "entities_in_corpus": len(set(corpus["entity_key"].to_pylist()) - {None}),
        "entities_with_trajectories": pc.count_distinct(links["entity_key"]).as_py(),
        "entities_by_source": dict(sorted(Counter(entities["source"].to_pylist()).items())),
        "versions": _versions(entities),
        "documents": {kind: _rows(corpus, "kind", kind).num_rows for kind in KINDS},
        "tokens": {kind: _tokens(_rows(corpus, "kind", kind)) for kind in KINDS},
        "domain_tokens": {domain: _tokens(_rows(corpus, "domain", domain)) for domain in DOMAINS},
        "held_out_documents": {
            kind: _rows(_rows(corpus, "kind", kind), "split", "held_out").num_rows for kind in KINDS
        },
        "trajectory_sources": dict(sorted(Counter(trajectories["source"].to_pylist()).items())),
        "sources": {
            name: {
                "items": items_by_source.get(name, 0),
                "rejected": rejected.get(name, 0),
                "documents": documents_by_source.get(name, 0),
                "tokens": tokens_by_source.get(name, 0),
            }
            for name in names
        },
        "funnel": _funnel(pinned, corpus),
        "tables": dict(sorted(versions.items())),
    }


def _versions(entities: pa.Table) -> dict[str, int]:
    """``entities_with_several``: APIs that more than one row describes (versions, mirrors); ``superseded_rows``: the
    rows that another one of the same API stands for."""
    rows = Counter(entities["entity_key"].to_pylist())
    return {
        "entities_with_several": sum(1 for count in rows.values() if count > 1),
        "superseded_rows": entities.num_rows - len(rows),
    }


def _items_by_source(pinned: PinnedLake) -> dict[str, int]:
    """Rows that each source gave: entities, usages, trajectories, pages, texts."""
    found: Counter[str] = Counter()
    for table in ("api_entities", "usages", "trajectories", "web_pages", "texts"):
        found.update(row["source"] for row in pinned.current(table, ["source"]).to_pylist())
    return dict(found)


def _rows(table: pa.Table, column: str, value: str) -> pa.Table:
    return table.filter(pc.equal(table[column], pa.scalar(value)))


def _tokens(table: pa.Table) -> int:
    return int(pc.sum(table["tokens"]).as_py() or 0)


def _dropped(pinned: PinnedLake, step: str, *, only_night: bool) -> dict[str, int]:
    decisions = pinned.read("decisions", ["reason"], step=step, only_night=only_night)
    return dict(sorted(Counter(str(reason) for reason in decisions["reason"].to_pylist()).items()))


def _funnel(pinned: PinnedLake, corpus: pa.Table) -> list[dict[str, Any]]:
    steps = []
    for step, table in READING_STEPS.items():
        kept = (
            pinned.read("fetches", ["source"], only_night=True).num_rows
            if table == "fetches"
            else pinned.current(table, ["source"]).num_rows
        )
        dropped = _dropped(pinned, step, only_night=table == "fetches")
        if step == "crawl":  # a failed exchange has a row in `fetches` too: it explains a fetch, it does not add one
            statuses = pinned.read("fetches", ["status"], only_night=True)["status"].to_pylist()
            kept = sum(1 for status in statuses if status in (200, 304))
        steps.append({"step": step, "input": kept + sum(dropped.values()), "kept": kept, "dropped": dropped})
    sources = pinned.current("document_sources", ["doc_id"])
    documents = int(pc.count_distinct(sources["doc_id"]).as_py() or 0)
    render_drops = _dropped(pinned, "render", only_night=False)
    repeated = sources.num_rows - documents
    steps.append(
        {
            "step": "render",
            "input": sources.num_rows + sum(render_drops.values()),
            "kept": documents,
            "dropped": {**render_drops, **({"same_text": repeated} if repeated else {})},
        }
    )
    # Counted on three sides: documents that are current, documents in the corpus, decisions of `mix`.
    steps.append(
        {
            "step": "mix",
            "input": documents,
            "kept": corpus.num_rows,
            "dropped": _dropped(pinned, "mix", only_night=True),
        }
    )
    return steps


def funnel_error(step: Mapping[str, Any]) -> int:
    """Input minus what is kept and dropped: 0 when the step lost nothing silently."""
    dropped: int = sum(step["dropped"].values())
    return int(step["input"]) - int(step["kept"]) - dropped
