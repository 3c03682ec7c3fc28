"""``signals``: what can be said about each new document by looking at it alone.

One pass per document: reference tokens, language, quality signals and the rules of its kind that it fails, personal
data and secrets, and for web pages and general text the agent filter's score. Each document is measured once, in the
first night that sees it, by the models that apply that night (``model_hash`` records the filter).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
from pyspark.sql import functions as F

from forge.classify.agent_filter import AgentFilter, newest_model
from forge.config import ConfigurationError, QualitySettings, Settings
from forge.schema import TABLES
from forge.text.language import LanguageModel, language_model_path
from forge.text.pii import Span, pii_spans, secret_spans
from forge.text.quality import quality_failures, quality_signals
from forge.text.tokens import TokenCounter, reference_tokenizer_path
from forge.trajectories.spoken import spoken_text
from spark_jobs.job import Context, Data, Job
from spark_jobs.session import spark_schema

SCORED_KINDS = ("web", "text")
"""Kinds that the agent filter judges; seeds define what agent data is, and code is a domain of its own."""


def _run(context: Context) -> Mapping[str, Data]:
    documents = context.table("documents", ["doc_id", "kind", "text"])
    measured = context.table("signals", ["doc_id", "partition_key"]).where(
        F.col("partition_key") < context.partition_key
    )
    new = documents.join(measured.select("doc_id"), "doc_id", "left_anti")
    model = agent_model(context)
    if model is None:
        context.say("no agent filter yet: agent_score stays empty")
    measure = measure_batches(
        str(reference_tokenizer_path(context.settings)),
        _text(language_model_path(context.settings)),
        None if model is None else str(context.settings.home_path / model["uri"]),
        None if model is None else str(model["model_hash"]),
        context.settings.corpus.quality,
        context.partition_key,
    )
    return {"signals": new.select("doc_id", "kind", "text").mapInArrow(measure, spark_schema("signals"))}


def agent_model(context: Context) -> Mapping[str, Any] | None:
    """The row of ``models`` that applies this night; None when none was trained.

    Raises :class:`ConfigurationError` when a pinned model, or the file of the newest one, is not there.
    """
    settings = context.settings.corpus.classifier
    row = newest_model(context.arrow("models").to_pylist(), settings.name, settings.model)
    if row is None and settings.model is not None:
        raise ConfigurationError(
            f"corpus.classifier.model: no model {settings.model} of name {settings.name!r} in `models`"
        )
    if row is not None and not (context.settings.home_path / row["uri"]).is_file():
        raise ConfigurationError(
            f"model {row['model_hash']}: its file {row['uri']} is not below {context.settings.home_path}"
        )
    return row


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def measure_batches(
    tokenizer_file: str,
    language_file: str | None,
    agent_file: str | None,
    agent_hash: str | None,
    quality: QualitySettings,
    partition_key: str,
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """A function for ``mapInArrow``: batches of (doc_id, kind, text) to batches of ``signals``."""

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"  # every core has a worker already
        from tokenizers import Tokenizer

        counter = TokenCounter(Tokenizer.from_file(tokenizer_file))
        language = None if language_file is None else LanguageModel(Path(language_file))
        agent = None if agent_file is None else AgentFilter(Path(agent_file))
        for batch in batches:
            kinds, texts = _strings(batch, "kind"), _strings(batch, "text")
            prose = [
                spoken_text(text) if kind == "trajectory" else text for kind, text in zip(kinds, texts, strict=True)
            ]
            languages = language.predict(prose) if language is not None else [(None, None)] * len(texts)
            scores = _agent_scores(agent, kinds, texts)
            tokens = counter.count(texts)
            signals = [quality_signals(text, count) for text, count in zip(texts, tokens, strict=True)]
            columns = {
                "doc_id": batch.column("doc_id"),
                "tokens": pa.array(tokens, pa.int64()),
                "language": pa.array([name for name, _ in languages], pa.string()),
                "language_score": pa.array([score for _, score in languages], pa.float64()),
                "quality": _quality_column(signals),
                "quality_failures": pa.array(
                    [quality_failures(found, kind, quality) for found, kind in zip(signals, kinds, strict=True)],
                    pa.list_(pa.string()),
                ),
                "agent_score": pa.array(scores, pa.float64()),
                "model_hash": pa.array([None if score is None else agent_hash for score in scores], pa.string()),
                "pii_spans": _spans_column([pii_spans(text) for text in texts]),
                "secrets": pa.array([len(secret_spans(text)) for text in texts], pa.int64()),
                "partition_key": pa.array([partition_key] * len(texts), pa.string()),
            }
            schema = TABLES["signals"]
            yield pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)

    return run


def _agent_scores(agent: AgentFilter | None, kinds: Sequence[str], texts: Sequence[str]) -> list[float | None]:
    scores: list[float | None] = [None] * len(texts)
    if agent is None:
        return scores
    chosen = [index for index, kind in enumerate(kinds) if kind in SCORED_KINDS]
    for index, score in zip(chosen, agent.scores([texts[index] for index in chosen]), strict=True):
        scores[index] = score
    return scores


def _strings(batch: pa.RecordBatch, name: str) -> list[str]:
    return cast("list[str]", batch.column(name).to_pylist())


def _spans_column(spans: Sequence[Sequence[Span]]) -> Any:
    rows: list[Any] = [[{"start": one.start, "end": one.end, "kind": one.kind} for one in found] for found in spans]
    return pa.array(rows, TABLES["signals"].field("pii_spans").type)


def _quality_column(signals: Sequence[Mapping[str, float]]) -> Any:
    """The list column without a Python object per entry: every document has the same signals in the same order."""
    kind = TABLES["signals"].field("quality").type
    names = list(signals[0]) if signals else []
    values = pa.StructArray.from_arrays(
        [
            pa.array(names * len(signals), pa.string()),
            pa.array([value for found in signals for value in found.values()], pa.float64()),
        ],
        fields=list(kind.value_type),
    )
    offsets = pa.array(range(0, len(names) * len(signals) + 1, max(1, len(names)))[: len(signals) + 1], pa.int32())
    return pa.ListArray.from_arrays(offsets, values, type=kind)


def _settings(settings: Settings) -> object:
    pinned = {name: settings.artifacts[name].sha256 for name in ("langdetect", "smollm2") if name in settings.artifacts}
    tokenizer = settings.corpus.mix.reference_tokenizer
    return [settings.corpus.quality.model_dump(mode="json"), tokenizer, pinned]


def _external(context: Context) -> object:
    model = agent_model(context)
    return None if model is None else model["model_hash"]


JOB = Job(name="measure", writes=("signals",), reads=("documents",), run=_run, settings=_settings, external=_external)
