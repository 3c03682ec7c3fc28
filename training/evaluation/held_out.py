"""Loss on held-out documents of the release: never trained on, chosen by the hash of their group before any model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from forge.schema import content_hash
from training.base_model import end_of_document
from training.corpus_input import CorpusText, OpenFile, Release, strata_of, texts_of
from training.evaluation.scoring import ScoredText, token_nats


def held_out_documents(
    release: Release, open_file: OpenFile, documents_per_kind: int, seed: int
) -> Mapping[str, list[CorpusText]]:
    """The first ``documents_per_kind`` held-out documents of each kind by hash of seed and doc_id; no chats."""
    chosen = {}
    for name, stratum in strata_of(release, open_file, "", split="held_out", by_kind=True).items():
        ranked = sorted(
            range(len(stratum.doc_ids)), key=lambda index: content_hash("held_out", str(seed), stratum.doc_ids[index])
        )
        kind = name.partition("/")[2]
        chosen[kind] = texts_of(release, open_file, stratum, ranked[:documents_per_kind])
    return chosen


def score_document(model: Any, tokenizer: Any, text: str, max_tokens: int) -> ScoredText | None:
    """The loss of the first ``max_tokens`` tokens after an end-of-document token; None for an empty text."""
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    tokens = encoded["input_ids"][:max_tokens]
    if not tokens:
        return None
    scored = text[: encoded["offset_mapping"][len(tokens) - 1][1]]
    return ScoredText(token_nats(model, [end_of_document(tokenizer)], tokens), len(scored.encode()))
