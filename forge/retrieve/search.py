"""Exact top-k search over parts, and the merge of their answers (D9).

Each part of the pages answers all seeds and keeps its best k; merged, that is the answer of one search over everything,
whatever the parts. Scores are recomputed in double precision, so they do not depend on how FAISS blocked its products.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from forge.retrieve.encoder import Vectors
from forge.schema import content_hash

_SPARE = 8  # candidates beyond k that FAISS returns, since ties and last bits are decided by the recomputed score
RANDOM_RANK = 0
"""Rank of a seed's baseline row: its similarity to one page that a hash chose, not the search."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One page near one seed. ``score`` is the cosine similarity; ``rank`` counts from 1, 0 is the random baseline."""

    seed_id: str
    doc_id: str
    score: float
    rank: int


def similarity(left: Vectors, right: Vectors) -> float:
    """Inner product of two unit vectors in double precision, rounded to 6 places."""
    return round(float(np.dot(left.astype(np.float64), right.astype(np.float64))), 6)


def search(seed_ids: Sequence[str], seeds: Vectors, page_ids: Sequence[str], pages: Vectors, k: int) -> list[Neighbour]:
    """The k most similar pages of each seed, best first, ties by page id.

    ``seeds`` (n, d) and ``pages`` (m, d) hold unit vectors. FAISS runs on the GPU when faiss-gpu sees one.
    """
    if not len(seed_ids) or not len(page_ids):
        return []
    import faiss

    index: Any = faiss.IndexFlatIP(pages.shape[1])
    if getattr(faiss, "get_num_gpus", lambda: 0)() > 0:
        index = faiss.index_cpu_to_all_gpus(index)
    index.add(pages)
    _, positions = index.search(seeds, min(k + _SPARE, len(page_ids)))
    found: list[Neighbour] = []
    for row, seed_id in enumerate(seed_ids):
        scored = [
            (-similarity(seeds[row], pages[position]), page_ids[position])
            for position in positions[row]
            if position >= 0
        ]
        found += [
            Neighbour(seed_id, page_id, -score, rank)
            for rank, (score, page_id) in enumerate(sorted(scored)[:k], start=1)
        ]
    return found


def merge(partial: Iterable[Neighbour], k: int) -> list[Neighbour]:
    """The k best of each seed over the answers of all parts, ordered by seed and rank. Baseline rows pass unchanged."""
    by_seed: defaultdict[str, list[Neighbour]] = defaultdict(list)
    baseline = []
    for neighbour in partial:
        if neighbour.rank == RANDOM_RANK:
            baseline.append(neighbour)
        else:
            by_seed[neighbour.seed_id].append(neighbour)
    best = [
        Neighbour(seed_id, one.doc_id, one.score, rank)
        for seed_id, found in by_seed.items()
        for rank, one in enumerate(heapq.nsmallest(k, found, key=lambda one: (-one.score, one.doc_id)), start=1)
    ]
    return sorted([*baseline, *best], key=lambda one: (one.seed_id, one.rank))


def random_pages(seed_ids: Iterable[str], page_ids: Sequence[str]) -> dict[str, str]:
    """For each seed one page chosen by a hash of the seed: the baseline of :func:`retrieval_margin`."""
    pages = sorted(page_ids)
    return {seed_id: pages[int(content_hash("random page", seed_id)[:12], 16) % len(pages)] for seed_id in seed_ids}


def retrieval_margin(rows: Iterable[Mapping[str, object]]) -> float | None:
    """Mean similarity of retrieved pages to their seeds minus that of random pages (the paper's acceptance statistic).

    ``rows`` are rows of ``neighbours`` of one night. None when there is nothing to compare.
    """
    retrieved: list[float] = []
    random: list[float] = []
    for row in rows:
        score = row["score"]
        if isinstance(score, float):
            (random if row["rank"] == RANDOM_RANK else retrieved).append(score)
    if not retrieved or not random:
        return None
    return float(np.mean(retrieved) - np.mean(random))
