"""A small lake with two releases, written without Spark, for the tests of what reads releases."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forge.config import Settings
from forge.lake import Lake
from forge.mixture.recipe import recipe_of
from forge.release import Release, corpus_files, release_id_of
from forge.report import build_report
from forge.schema import Document, content_hash, table_of

FIRST, SECOND = "2026-11-20", "2026-11-21"
_DOMAINS = {"api_doc": "agent", "web": "agent", "code": "code", "text": "text"}


@dataclass(frozen=True)
class Published:
    """Two releases of nights FIRST and SECOND; ``ids`` names documents by what they are for."""

    lake: Lake
    settings: Settings
    first: Release
    second: Release
    ids: dict[str, str]


def _corpus_row(document: Document, source: str, night: str) -> dict[str, Any]:
    return {
        "doc_id": document.doc_id, "kind": document.kind, "form": document.form, "domain": _DOMAINS[document.kind],
        "stages": ["I"], "split": document.split, "entity_key": document.entity_key, "source": source,
        "license": "MIT", "text": document.text, "tokens": len(document.text.split()), "weight": 1.0,
        "partition_key": night,
    }  # fmt: skip


def _publish(settings: Settings, lake: Lake, night: str, parent: str | None, corpus: list[dict[str, Any]]) -> Release:
    lake.write("corpus", table_of("corpus", sorted(corpus, key=lambda row: row["doc_id"])), night, f"corpus {night}")
    versions = {table: version for table, version in lake.versions().items() if table != "releases"}
    tokens: dict[str, int] = {}
    for row in corpus:
        tokens[row["domain"]] = tokens.get(row["domain"], 0) + row["tokens"]
    recipe = recipe_of(tokens, settings.corpus.mix)
    files = corpus_files(lake, versions["corpus"], night)
    release = Release(
        release_id=release_id_of(files, recipe),
        parent=parent,
        created_at=f"{night}T03:00:00+00:00",
        partition_key=night,
        run_id="test",
        versions=versions,
        files=files,
        recipe=recipe,
        configuration_hash=content_hash(night),
        code_hash="code",
        gates=[{"name": "entities", "value": 2.0, "limit": ">= 1", "passed": True, "detail": "distinct"}],
        report=build_report(lake, versions, night),
    )
    lake.write("releases", table_of("releases", [release.row()]), night, release.release_id)
    return release


@pytest.fixture
def published(settings: Settings) -> Published:
    """Night FIRST: two API documents (one with hostile characters), code, a near-duplicate that was dropped. Night
    SECOND: a text is added, one API document is gone. One training run on the first release."""
    lake = Lake.of(settings)
    weather = "get_weather(city)\nWeather of a city.\n" + "More. " * 400
    hostile = "set_title(\x1b]0;owned\x07)\nSets [bold]a title[/bold]."
    documents = {
        "api": Document("api_doc", "reference", weather, "train", "w/api/get"),
        "hostile": Document("api_doc", "reference", hostile, "train", "w/api/set"),
        "code": Document("code", "file", "def f():\n\treturn 1\n", "train"),
        "duplicate": Document("api_doc", "cli", "get-weather --city. Weather of a city.", "train", "w/api/get"),
        "page": Document("web", "page", "A page about weather functions.", "held_out"),
    }  # fmt: skip
    text = Document("text", "article", "An article about the weather in general.", "train")
    ids = {name: document.doc_id for name, document in [*documents.items(), ("text", text)]}
    sources = {
        "api": "apis",
        "hostile": "apis",
        "code": "sources",
        "duplicate": "apis",
        "page": "site",
        "text": "articles",
    }

    def places(names: list[str], night: str) -> pa.Table:
        return table_of("document_sources", [
            {"doc_id": ids[name], "source": sources[name], "item_id": f"{name}.json",
             "uri": f"https://example.org/{sources[name]}/{name}", "license": "MIT", "partition_key": night}
            for name in names
        ])  # fmt: skip

    def items(names: list[str], night: str, state: str) -> pa.Table:
        return table_of("source_items", [
            {"source": sources[name], "item_id": f"{name}.json", "content_hash": "h", "state": state,
             "step": "parse_apis", "partition_key": night}
            for name in names
        ])  # fmt: skip

    lake.write("documents", table_of("documents", [one.row(FIRST) for one in documents.values()]), FIRST, "a")
    lake.write("document_sources", places(list(documents), FIRST), FIRST, "a")
    lake.write("source_items", items(list(documents), FIRST, "present"), FIRST, "a", step="parse_apis")
    signals = {
        "doc_id": ids["page"], "tokens": 5, "language": "en", "language_score": 0.99, "agent_score": 0.8,
        "quality": [{"name": "characters", "value": 31.0}], "quality_failures": [], "model_hash": "m", "pii_spans": [],
        "secrets": 0, "partition_key": FIRST,
    }  # fmt: skip
    lake.write("signals", table_of("signals", [signals]), FIRST, "a")
    duplicates = [
        {"doc_id": ids[name], "component_id": "c1", "survivor_id": ids["api"], "method": "near", "jaccard": 0.9,
         "partition_key": FIRST}
        for name in ("api", "duplicate")
    ]  # fmt: skip
    lake.write("duplicates", table_of("duplicates", duplicates), FIRST, "a")
    neighbours = [
        {"seed_id": ids["api"], "doc_id": ids["page"], "score": score, "rank": rank, "partition_key": FIRST}
        for score, rank in ((0.7, 1), (0.1, 0))
    ]
    lake.write("neighbours", table_of("neighbours", neighbours), FIRST, "a")
    contamination = {
        "doc_id": ids["code"], "benchmark": "bfcl", "item": "simple_1", "method": "ngram", "evidence": "def f",
        "partition_key": FIRST,
    }  # fmt: skip
    lake.write("contamination", table_of("contamination", [contamination]), FIRST, "a")
    drops = [
        {"source": "apis", "item_id": "duplicate.json", "doc_id": ids["duplicate"], "step": "mix",
         "reason": "near_duplicate", "score": 0.9, "detail": "component c1", "partition_key": FIRST},
        {"source": "apis", "item_id": "broken.json", "doc_id": None, "step": "mix", "reason": "other", "score": None,
         "detail": "another item", "partition_key": FIRST},
    ]  # fmt: skip
    lake.write("decisions", table_of("decisions", drops), FIRST, "a", step="mix")
    rejected = {
        "source": "apis", "item_id": "api.json", "doc_id": None, "step": "parse_apis", "reason": "no_description",
        "score": None, "detail": "one operation of it", "partition_key": FIRST,
    }  # fmt: skip
    lake.write("decisions", table_of("decisions", [rejected]), FIRST, "a", step="parse_apis")
    kept = ["api", "hostile", "code", "page"]
    first = _publish(settings, lake, FIRST, None, [_corpus_row(documents[name], sources[name], FIRST) for name in kept])
    lake.write("documents", table_of("documents", [text.row(SECOND)]), SECOND, "b")
    lake.write("document_sources", places(["text"], SECOND), SECOND, "b")
    lake.write("source_items", items(["hostile"], SECOND, "removed"), SECOND, "b", step="parse_apis")
    rows = [_corpus_row(documents[name], sources[name], SECOND) for name in ("api", "code", "page")]
    second = _publish(settings, lake, SECOND, first.release_id, [*rows, _corpus_row(text, "articles", SECOND)])
    _train(settings.home_path / "runs" / "run1", first, ids, lake)
    return Published(lake, settings, first, second, ids)


def _train(folder: Path, release: Release, ids: dict[str, str], lake: Lake) -> None:
    """What training leaves in a run's folder (training/run.py)."""
    model = folder / "models" / "stage-I"
    model.mkdir(parents=True)
    state = {
        "run_id": "run1",
        "release_id": release.release_id,
        "stage": "I",
        "step": 3,
        "steps": 3,
        "tokens": 300,
        "order_hash": "oh",
    }
    manifest = orjson.dumps({"state": state, "files": {}})
    (model / "manifest.json").write_bytes(manifest)
    (model / "_COMPLETE").write_text(content_hash(manifest))
    summary = {"run_id": "run1", "release_id": release.release_id, "base_model": {"sha": "s"}, "stages": {}}
    stage = {"steps": 3, "tokens": 300, "first_loss": 3.0, "last_loss": 2.0}
    (folder / "run.json").write_bytes(orjson.dumps({**summary, "stages": {"I": stage}}))
    lines = [
        orjson.dumps({"stage": "I", "step": step, "loss": 4.0 - step, "loss_by_kind": {"api_doc": 4.5 - step}})
        for step in (1, 2, 3)
    ]
    measured = {"event": "benchmark", "stage": "I", "step": 2, "tokens": 200, "metrics": {"bfcl": 1.75}}
    lines.insert(2, orjson.dumps(measured))
    (folder / "metrics.jsonl").write_bytes(b"\n".join(lines) + b'\n{"stage": "II", "st')
    seen = {"doc_id": sorted([ids["api"], ids["code"]]), "tokens": [10, 20], "first_step": [1, 2]}
    pq.write_table(pa.table(seen), folder / "seen-I.parquet")
    for checkpoint, value in (("base", 3.5), ("I", 3.25)):
        row = {
            "run_id": "run1", "release_id": release.release_id, "checkpoint": checkpoint, "stage": checkpoint,
            "benchmark": "bfcl", "metric": "nats_per_token", "value": value, "items": 24, "prompt_hash": "p",
            "detail": "{}", "created_at": "now", "partition_key": f"run1-{checkpoint}",
        }  # fmt: skip
        lake.write("evaluations", table_of("evaluations", [row]), f"run1-{checkpoint}", "e")
