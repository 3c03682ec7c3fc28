"""Loss on held-out documents of the release: never trained on, chosen by the hash of their group before any model."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from forge.config import Settings
from forge.schema import CHAT_FORM, content_hash
from training.control_tokens import encode_text
from training.corpus_input import CorpusText, Release, opened, shard_of, texts_at
from training.evaluation.benchmark_loss import text_measures
from training.evaluation.records import ItemRecord
from training.evaluation.scoring import ScoredText, token_nats
from training.evaluation.subject import LocalSubject, Subject
from training.evaluation.task import NotEvaluated, Task, sample
from training.shard import OpenFile
from training.shard_cache import ShardCache

if TYPE_CHECKING:
    from training.run import Run

VERSION = "1"
TOO_SHORT = "fewer than two tokens"


def held_out_documents(
    release: Release, open_file: OpenFile, cache: ShardCache, documents_per_kind: int, seed: int
) -> Mapping[str, list[CorpusText]]:
    """The first ``documents_per_kind`` held-out documents of each kind by hash of seed and doc_id; no chats.

    Narrow columns are read of every file, texts from the verified files that hold a chosen document.
    """
    ranked: dict[str, list[tuple[str, int, int]]] = {}  # rank, file, row
    for number, file in enumerate(release.files):
        with opened(file, open_file) as parquet:
            table: Any = parquet.read(columns=["doc_id", "kind", "form", "split"], use_threads=False)
        is_held_out = pc.equal(table["split"], pa.scalar("held_out")).to_numpy()
        is_chat = pc.equal(pc.fill_null(table["form"], ""), pa.scalar(CHAT_FORM)).to_numpy()
        rows = np.flatnonzero(is_held_out & ~is_chat)
        table = table.take(rows)
        columns = table["doc_id"].to_pylist(), table["kind"].to_pylist(), rows.tolist()
        for doc_id, kind, row in zip(*columns, strict=True):
            ranked.setdefault(kind, []).append((content_hash("held_out", str(seed), doc_id), number, row))
        ranked = {kind: heapq.nsmallest(documents_per_kind, entries) for kind, entries in ranked.items()}
    found: dict[tuple[int, int], CorpusText] = {}
    kind_of = {(number, row): kind for kind, entries in ranked.items() for _, number, row in entries}
    for number in sorted({number for number, _ in kind_of}):
        file = release.files[number]
        shard = shard_of(file)
        chosen = np.array(sorted(row for other, row in kind_of if other == number), dtype=np.int64)
        with pq.ParquetFile(cache.get(shard)) as parquet:
            for rows, texts in texts_at(parquet, chosen):
                for row, text in zip(rows.tolist(), texts.to_pylist(), strict=True):
                    found[number, row] = CorpusText(text["doc_id"], kind_of[number, row], text["text"])
        cache.done(shard)
    return {kind: [found[number, row] for _, number, row in entries] for kind, entries in sorted(ranked.items())}


def score_document(model: Any, tokenizer: Any, text: str, max_tokens: int) -> ScoredText | None:
    """The loss of the first ``max_tokens`` tokens but the very first, which is context, as in training: nothing
    precedes it there. The bytes are those of the scored tokens. None for a text of fewer than two tokens."""
    encoded = encode_text(tokenizer, text)
    tokens, offsets = encoded.ids[:max_tokens], encoded.offsets[:max_tokens]
    if len(tokens) < 2:
        return None
    scored = text[offsets[1][0] : offsets[-1][1]]
    return ScoredText(token_nats(model, tokens[:1], tokens[1:]), len(scored.encode()))


def task(settings: Settings, run: Run | None, max_items: int) -> Task:
    """Task ``held_out_loss``: a category per kind, items by ``doc_id``."""
    if run is None:
        raise NotEvaluated("held-out documents are those of a run's release")
    by_kind = run.held_out_documents()
    documents = [document for documents in by_kind.values() for document in documents]
    if not documents:
        raise NotEvaluated(f"release {run.release.release_id} has no held-out documents")
    chosen = sample(
        documents, max_items, settings.evaluation.seed, "held_out_loss", item_id=lambda document: document.doc_id,
        category=lambda document: document.kind,
    )  # fmt: skip
    by_id = {document.doc_id: document for document in chosen}
    max_tokens = settings.evaluation.held_out_max_tokens
    return Task(
        "held_out_loss",
        content_hash(VERSION, str(max_tokens), *(part for item in chosen for part in (item.kind, item.text))),
        list(by_id),
        lambda subject, ids: measure(subject, [by_id[doc_id] for doc_id in ids], max_tokens),
        needs_weights=True,
        notes={"release": run.release.release_id, "max_tokens": max_tokens},
    )


def measure(subject: Subject, documents: Sequence[CorpusText], max_tokens: int) -> Iterator[ItemRecord]:
    """The loss of each document's first ``max_tokens`` tokens; none of a document that is too short."""
    if not isinstance(subject, LocalSubject):
        raise TypeError("the probabilities of given texts need the model's weights")
    for document in documents:
        scored = score_document(subject.model, subject.tokenizer, document.text, max_tokens)
        measures = text_measures(scored) if scored else {}
        yield ItemRecord(document.doc_id, document.kind, measures, problem="" if scored else TOO_SHORT)
