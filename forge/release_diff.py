"""What changed from one release to another: documents by kind and source, tokens, recipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from forge.lake import Lake
from forge.release import Release


def release_diff(lake: Lake, before: Release, after: Release) -> dict[str, Any]:
    """``documents`` ({added, removed, kept}), ``changes`` (rows of kind, source, added, removed, tokens_added,
    tokens_removed), ``recipe`` ({path: [before, after]}), ``tokens``, and whether configuration and code are the same.
    """
    old, new = _documents(lake, before), _documents(lake, after)
    added, removed = new.keys() - old.keys(), old.keys() - new.keys()
    counts: dict[tuple[str, str], Counter[str]] = {}
    for name, ids, documents in (("added", added, new), ("removed", removed, old)):
        for doc_id in ids:
            kind, source, tokens = documents[doc_id]
            counter = counts.setdefault((kind, source), Counter())
            counter[name] += 1
            counter[f"tokens_{name}"] += tokens
    recipes = _flat(before.recipe), _flat(after.recipe)
    return {
        "before": before.release_id,
        "after": after.release_id,
        "documents": {"added": len(added), "removed": len(removed), "kept": len(old.keys() & new.keys())},
        "tokens": {"before": _tokens(old), "after": _tokens(new)},
        "changes": [
            {
                "kind": kind,
                "source": source,
                **{name: counter[name] for name in ("added", "removed", "tokens_added", "tokens_removed")},
            }
            for (kind, source), counter in sorted(counts.items())
        ],
        "recipe": {
            path: [recipes[0].get(path), recipes[1].get(path)]
            for path in sorted(recipes[0].keys() | recipes[1].keys())
            if recipes[0].get(path) != recipes[1].get(path)
        },
        "same_configuration": before.configuration_hash == after.configuration_hash,
        "same_code": before.code_hash == after.code_hash,
    }


def _documents(lake: Lake, release: Release) -> dict[str, tuple[str, str, int]]:
    columns = ["doc_id", "kind", "source", "tokens"]
    rows = lake.read("corpus", columns, version=release.versions["corpus"], partition_key=release.partition_key)
    return {
        doc_id: (kind, source, tokens or 0)
        for doc_id, kind, source, tokens in zip(*(rows[name].to_pylist() for name in columns), strict=True)
    }


def _tokens(documents: Mapping[str, tuple[str, str, int]]) -> int:
    return sum(tokens for _, _, tokens in documents.values())


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            found.update(_flat(value, f"{path}."))
        else:
            found[path] = value
    return found
