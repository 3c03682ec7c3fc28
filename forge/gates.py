"""The gates between a built corpus and a release: each a number, a limit and a verdict, kept as data (D4)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from forge.classify.agent_filter import is_kept_from_training
from forge.config import Settings
from forge.mixture.eligibility import license_reason
from forge.report import PinnedLake, funnel_error
from forge.retrieve.search import retrieval_margin
from forge.schema import DOMAINS


@dataclass(frozen=True, slots=True)
class Gate:
    """``passed`` is None when the gate could not be evaluated; that does not stop a release, and is shown."""

    gate: str
    value: float | None
    limit: str
    passed: bool | None
    detail: str = ""

    def figures(self) -> dict[str, Any]:
        return asdict(self)


def _at_least(name: str, value: float, limit: float, detail: str = "") -> Gate:
    return Gate(name, float(value), f">= {limit:g}", value >= limit, detail)


def _at_most(name: str, value: float, limit: float, detail: str = "") -> Gate:
    return Gate(name, float(value), f"<= {limit:g}", value <= limit, detail)


def evaluate_gates(pinned: PinnedLake, report: Mapping[str, Any], settings: Settings) -> list[Gate]:
    """Every gate of the corpus of ``pinned.night``."""
    return [
        *_coverage(report, settings),
        *_integrity(pinned, report, settings),
        _filter_margin(pinned, settings),
        _retrieval_margin(pinned, settings),
        *_sources(report, settings),
    ]


def _coverage(report: Mapping[str, Any], settings: Settings) -> Iterator[Gate]:
    limits = settings.corpus.gates
    yield _at_least("entities", report["entities"], limits.min_entities, "distinct entity_key over api_entities")
    for domain in DOMAINS:
        yield _at_least(f"tokens_{domain}", report["domain_tokens"][domain], limits.min_tokens.get(domain, 0))
    yield _at_least("trajectory_sources", len(report["trajectory_sources"]), limits.min_trajectory_sources)


def _integrity(pinned: PinnedLake, report: Mapping[str, Any], settings: Settings) -> Iterator[Gate]:
    lost = sum(abs(funnel_error(step)) for step in report["funnel"])
    yield _at_most("funnel_unexplained", lost, 0, "documents neither kept nor dropped with a reason")
    corpus = pinned.read("corpus", ["doc_id", "entity_key", "license"], only_night=True)
    ids = corpus["doc_id"].to_pylist()
    yield _at_most("corpus_repeated_documents", len(ids) - len(set(ids)), 0)
    mix = settings.corpus.mix
    bad = sum(count for name, count in Counter(corpus["license"].to_pylist()).items() if license_reason(name, mix))
    yield _at_most("corpus_licenses_not_allowed", bad, 0)
    contaminated = set(pinned.read("contamination", ["doc_id"])["doc_id"].to_pylist())
    yield _at_most("corpus_contaminated", len(contaminated.intersection(ids)), 0)
    # D5: deduplication alone must not take an entity out of the corpus.
    decisions = pinned.read("decisions", ["doc_id", "reason"], only_night=True, step="mix").to_pylist()
    duplicates = {row["doc_id"] for row in decisions if row["reason"] in ("exact_duplicate", "near_duplicate")}
    documents = pinned.read("documents", ["doc_id", "entity_key"])
    keys = {
        key
        for doc_id, key in zip(documents["doc_id"].to_pylist(), documents["entity_key"].to_pylist(), strict=True)
        if key is not None and doc_id in duplicates
    }
    lost_entities = keys - set(corpus["entity_key"].to_pylist())
    yield _at_most("entities_lost_by_deduplication", len(lost_entities), 0, ", ".join(sorted(lost_entities)[:3]))


def _roles(settings: Settings) -> dict[str, str]:
    return {
        name: str(source.options["role"])
        for name, source in settings.enabled_sources("website").items()
        if source.options.get("role") in ("api", "other")
    }


def _filter_margin(pinned: PinnedLake, settings: Settings) -> Gate:
    """Share of pages that the agent filter keeps: sites of role `api` minus sites of role `other`.

    Only pages that the filter was not trained on count: of a site that is among the classifier's negative sources, the
    part that is kept from training.
    """
    name, limit = "web_filter_margin", settings.corpus.gates.min_filter_margin
    roles = _roles(settings)
    trained_on = settings.corpus.classifier.negative_sources
    sources = pinned.current("document_sources", ["doc_id", "source"]).to_pylist()
    source_of = {row["doc_id"]: row["source"] for row in sources if row["source"] in roles}
    splits = {row["doc_id"]: row["split"] for row in pinned.read("documents", ["doc_id", "split"]).to_pylist()}
    role_of = {
        doc_id: roles[source]
        for doc_id, source in source_of.items()
        if source not in trained_on or is_kept_from_training(doc_id, splits[doc_id])
    }
    kept: dict[str, list[bool]] = defaultdict(list)
    for row in pinned.read("signals", ["doc_id", "agent_score"]).to_pylist():
        if row["doc_id"] in role_of and row["agent_score"] is not None:
            kept[role_of[row["doc_id"]]].append(row["agent_score"] >= settings.corpus.classifier.threshold)
    if not kept["api"] or not kept["other"]:
        return Gate(name, None, f">= {limit:g}", None, "not evaluated: needs pages of an API site and of another site")
    share = {role: sum(found) / len(found) for role, found in kept.items()}
    detail = f"kept: api {share['api']:.3f} of {len(kept['api'])}, other {share['other']:.3f} of {len(kept['other'])}"
    return _at_least(name, share["api"] - share["other"], limit, detail)


def _retrieval_margin(pinned: PinnedLake, settings: Settings) -> Gate:
    """Mean similarity to the seed, retrieved pages minus one random page a seed (rank 0): the paper's figure 2d."""
    name, limit = "retrieval_margin", settings.corpus.gates.min_retrieval_margin
    rows = pinned.read("neighbours", ["score", "rank"], only_night=True).to_pylist()
    margin = retrieval_margin(rows)
    other_site = any(role == "other" and _has_pages(pinned, source) for source, role in _roles(settings).items())
    if margin is None or not other_site:
        return Gate(name, None, f"> {limit:g}", None, "not evaluated: needs retrieved pages and a second, non-API site")
    return Gate(name, margin, f"> {limit:g}", margin > limit, f"over {len(rows):,} rows of neighbours")


def _has_pages(pinned: PinnedLake, source: str) -> bool:
    """Whether a source has any page."""
    return source in set(pinned.current("web_pages", ["source"])["source"].to_pylist())


def _sources(report: Mapping[str, Any], settings: Settings) -> Iterator[Gate]:
    for name, source in settings.enabled_sources().items():
        found = report["sources"].get(name, {"items": 0, "rejected": 0})
        seen = found["items"] + found["rejected"]
        if not source.required and found["items"] == 0:
            yield Gate(f"source_{name}", None, "", None, "not evaluated: the source is optional and absent")
            continue
        yield _at_least(f"source_{name}_items", found["items"], source.min_items)
        share = found["rejected"] / seen if seen else 0.0
        yield _at_most(
            f"source_{name}_rejected_share",
            round(share, 4),
            source.max_rejected_share,
            f"{found['rejected']:,} of {seen:,}",
        )
