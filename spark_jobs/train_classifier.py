"""``models``: the fastText agent filter, trained on seed documents against general text (a DAG of its own).

Positives are API documents and trajectories, thinned so that no provider dominates. Negatives are general text and the
pages of web sites that the configuration names as no agent data. A tenth of both, and everything held out, is kept for
measuring. The nightly run never trains: `measure` takes the pinned model, or the newest one of the configured name.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from forge.classify.agent_filter import (
    AGENT,
    OTHER,
    AgentFilter,
    Example,
    as_metrics,
    distribution,
    is_validation,
    judge,
    model_hash,
    save,
    train,
)  # fmt: skip
from forge.config import Settings
from forge.schema import CHAT_FORM, canonical_json, table_of
from spark_jobs.job import Context, Data, Job
from spark_jobs.thinning import stratum_column, thinned

_COLUMNS = ("doc_id", "kind", "entity_key", "split", "source", "stratum")


def _run(context: Context) -> Mapping[str, Data]:
    settings = context.settings.corpus.classifier
    sources = (
        context.current("document_sources", ["doc_id", "source"]).groupBy("doc_id").agg(F.min("source").alias("source"))
    )
    documents = context.table("documents").where(F.col("form") != CHAT_FORM)
    narrow = (
        documents.select("doc_id", "kind", "entity_key", "split")
        .join(sources, "doc_id")
        .withColumn("stratum", stratum_column())
        .cache()
    )
    seeds = thinned(narrow.where(F.col("kind").isin("api_doc", "trajectory")), settings.max_documents_per_class)
    is_negative = (F.col("kind") == "text") | (
        (F.col("kind") == "web") & F.col("source").isin(*settings.negative_sources)
    )
    negatives = thinned(narrow.where(is_negative), settings.max_documents_per_class)
    web = thinned(narrow.where("kind = 'web'"), settings.max_documents_per_class)
    texts = documents.select("doc_id", "text")
    examples = _examples(seeds, texts, AGENT) + _examples(negatives, texts, OTHER)
    pages = _examples(web, texts, OTHER)
    narrow.unpersist()
    training = [example for example in examples if not is_validation(example)]
    validation = [example for example in examples if is_validation(example)]
    context.say(f"training on {len(training):,} documents, measuring on {len(validation):,}")
    data = train(training, settings)
    path = save(data, context.settings.home_path / "models", settings.name)
    metrics = _metrics(data, validation, pages, settings.threshold)
    context.say(f"held-out {metrics['held_out']}; web pages by source {metrics['web_pages_by_source']}")
    row = {
        "name": settings.name,
        "model_hash": model_hash(data),
        "uri": path.relative_to(context.settings.home_path).as_posix(),
        "size_bytes": len(data),
        "metrics": canonical_json(metrics),
        "inputs": canonical_json(
            {
                "settings": settings.model_dump(mode="json"),
                "training_documents": {label: sum(one.label == label for one in training) for label in (AGENT, OTHER)},
                "documents_by_source": _counts(training),
                "documents": context.lake.version("documents"),
            }
        ),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "partition_key": context.partition_key,
    }
    return {"models": table_of("models", [row])}


def _examples(chosen: DataFrame, texts: DataFrame, label: str) -> list[Example]:
    """The chosen documents with their texts, in the order of their ids."""
    found = texts.join(F.broadcast(chosen.select(*_COLUMNS)), "doc_id").toArrow().sort_by("doc_id").to_pylist()
    return [
        Example(row["text"], label, row["entity_key"] or row["doc_id"], row["source"], row["split"]) for row in found
    ]


def _metrics(data: bytes, validation: list[Example], pages: list[Example], threshold: float) -> dict[str, object]:
    with tempfile.TemporaryDirectory(prefix="agent-filter-") as folder:
        file = Path(folder) / "model.bin"
        file.write_bytes(data)
        model = AgentFilter(file)
        by_source: defaultdict[str, list[float]] = defaultdict(list)
        for page, score in zip(pages, model.scores([page.text for page in pages]), strict=True):
            by_source[page.source].append(score)
        return {
            "held_out": as_metrics(judge(model, validation, threshold)),
            "web_pages_by_source": {source: distribution(scores) for source, scores in sorted(by_source.items())},
        }


def _counts(examples: list[Example]) -> dict[str, int]:
    counts: defaultdict[str, int] = defaultdict(int)
    for example in examples:
        counts[example.source] += 1
    return dict(sorted(counts.items()))


def _settings(settings: Settings) -> object:
    return settings.corpus.classifier


JOB = Job(
    name="train_classifier",
    writes=("models",),
    reads=("documents", "document_sources", "source_items"),
    run=_run,
    settings=_settings,
    rate_of=None,
)
