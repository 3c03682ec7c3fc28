"""From verified pairs to components, and from components to survivors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Method = Literal["survivor", "exact", "near"]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two documents that were found equal (``exact``: the same ``text_key``) or similar."""

    left: str
    right: str
    jaccard: float
    exact: bool


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the choice of a survivor looks at."""

    doc_id: str
    text_key: str
    split: str
    characters: int


@dataclass(frozen=True, slots=True)
class Member:
    """One document of a component of at least two.

    ``jaccard`` is its highest similarity to another member; 1.0 for an exact duplicate. ``method`` says why it is
    dropped: "survivor" is kept, "exact" has the survivor's normalised text.
    """

    doc_id: str
    component_id: str
    survivor_id: str
    method: Method
    jaccard: float


def connected_components(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Component of each document that occurs in a pair. A component is named by its smallest document id, so the answer
    does not depend on the order of the pairs."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components as scipy_components

    nodes = sorted({node for pair in pairs for node in pair})
    if not nodes:
        return {}
    index = {node: position for position, node in enumerate(nodes)}
    left = np.fromiter((index[pair[0]] for pair in pairs), dtype=np.int64, count=len(pairs))
    right = np.fromiter((index[pair[1]] for pair in pairs), dtype=np.int64, count=len(pairs))
    graph = coo_matrix((np.ones(len(pairs), dtype=np.int8), (left, right)), shape=(len(nodes), len(nodes)))
    _, labels = scipy_components(graph, directed=False)
    smallest: dict[int, str] = {}
    for node, label in zip(nodes, labels.tolist(), strict=True):
        smallest.setdefault(label, node)
    return {node: smallest[label] for node, label in zip(nodes, labels.tolist(), strict=True)}


def survivor_order(candidate: Candidate) -> tuple[bool, int, str]:
    """Sort key: the first of a component survives. A held-out document comes first (were its copy kept for training
    instead, the held-out slice would be seen), then the longest text, then the smallest id."""
    return (candidate.split != "held_out", -candidate.characters, candidate.doc_id)


def members_of(pairs: Sequence[Pair], candidates: Mapping[str, Candidate]) -> list[Member]:
    """Every member of every component, sorted by document id. ``candidates`` holds each document of the pairs."""
    component_of = connected_components([(pair.left, pair.right) for pair in pairs])
    groups: defaultdict[str, list[Candidate]] = defaultdict(list)
    for doc_id, component in component_of.items():
        groups[component].append(candidates[doc_id])
    highest: defaultdict[str, float] = defaultdict(float)
    for pair in pairs:
        for doc_id in (pair.left, pair.right):
            highest[doc_id] = max(highest[doc_id], 1.0 if pair.exact else pair.jaccard)
    found = []
    for component, group in groups.items():
        survivor = min(group, key=survivor_order).doc_id
        for candidate in group:
            doc_id = candidate.doc_id
            method: Method = "survivor" if doc_id == survivor else "near"
            if doc_id != survivor and candidate.text_key == candidates[survivor].text_key:
                method = "exact"
            found.append(Member(doc_id, component, survivor, method, highest[doc_id]))
    return sorted(found, key=lambda member: member.doc_id)
