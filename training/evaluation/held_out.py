"""Loss on held-out documents of the release: never trained on, chosen by the hash of their group before any model."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from forge.schema import CHAT_FORM, content_hash
from training.control_tokens import encode_text
from training.corpus_input import CorpusText, Release, opened, shard_of, texts_at
from training.evaluation.scoring import ScoredText, token_nats
from training.shard import OpenFile
from training.shard_cache import ShardCache


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
