"""The dataset card of an exported release: front matter that dataset tools read, then what a person wants to know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from forge.release import Release

_CARD = """---
pretty_name: Hephaestus Forge release {short_id}
license: other
license_name: per-document
task_categories: [text-generation]
configs:
  - config_name: default
    data_files: data/*.parquet
---

# Release `{release_id}`

A pre-training corpus of API documentation, agent trajectories, related web pages, code and text:
{documents:,} documents, {tokens:,} tokens (tokenizer: {tokenizer}). Night {night}, published {created_at}.

## How to load

```python
import pyarrow.dataset

corpus = pyarrow.dataset.dataset("data", format="parquet")
train = corpus.to_table(filter=pyarrow.dataset.field("split") == "train")
```

Or `datasets.load_dataset("parquet", data_files="data/*.parquet")`, `polars.scan_parquet("data/*.parquet")`,
`SELECT * FROM 'data/*.parquet'` in DuckDB.

Columns: `doc_id` (hash of the text), `kind`, `form`, `domain`, `stages` (training stages), `split` (`train`,
`held_out`: never train on it), `entity_key`, `source`, `license` (SPDX), `text`, `tokens`, `weight`.
Documents of stage `III` (form `chat_messages`) are JSON objects `{{tools, messages}}`.

## Documents and tokens

{by_kind}
{by_split}
## Sources

{by_source}
`{provenance}` names every place (source, item, URI, licence) that each document came from.

## Licences

Each document keeps the licence of its source; obey it document by document, attribution included.

{by_license}
## Recipe

Shares by tokens: {shares}. Every eligible document is here once; a loader that draws tokens in proportion to `weight`
realises the shares.{scarce}

## Gates

{gates}
## Verify

`{manifest}` holds the sha256 of every file.
"""


def dataset_card(release: Release, counts: Mapping[str, Any], *, provenance: str, manifest: str) -> str:
    """README.md of an export. ``counts`` has ``total_documents``, ``total_tokens``, and ``documents`` and ``tokens`` by
    kind, split, source and license; ``provenance`` and ``manifest`` are paths in the export."""
    documents, tokens, recipe = counts["documents"], counts["tokens"], release.recipe
    shares = ", ".join(f"{name} {share:.0%}" for name, share in dict(recipe.get("domain_shares", {})).items())
    return _CARD.format(
        short_id=release.release_id[:12],
        release_id=release.release_id,
        documents=counts["total_documents"],
        tokens=counts["total_tokens"],
        tokenizer=recipe.get("reference_tokenizer", "not stated"),
        night=release.partition_key,
        created_at=release.created_at,
        shares=shares or "not stated",
        scarce=_scarce(recipe),
        gates=_gates(release),
        provenance=provenance,
        manifest=manifest,
        **{
            f"by_{name}": _counted(name, documents[name], tokens[name])
            for name in ("kind", "split", "source", "license")
        },
    )


def _counted(name: str, documents: Mapping[str, int], tokens: Mapping[str, int]) -> str:
    rows = [
        f"| {_cell(value)} | {count:,} | {tokens.get(value, 0):,} |"
        for value, count in sorted(documents.items(), key=lambda entry: (-entry[1], str(entry[0])))
    ]
    return "\n".join([f"| {name} | documents | tokens |", "|---|---:|---:|", *rows, ""])


def _scarce(recipe: Mapping[str, Any]) -> str:
    if not recipe.get("scarce_domain"):
        return ""
    epochs = ", ".join(f"{name} {value}" for name, value in dict(recipe.get("epochs_at_full_corpus", {})).items())
    return (
        f" Scarce: {recipe['scarce_domain']}. At these shares {recipe.get('one_pass_tokens', 0):,} tokens can be drawn "
        f"without showing any document twice. Epochs when drawing as many tokens as there are: {epochs}."
    )


def _gates(release: Release) -> str:
    verdicts = {True: "passed", False: "failed", None: "not evaluated"}
    rows = [
        f"| {_cell(gate.get('name'))} | {_cell(gate.get('value'))} | {_cell(gate.get('limit'))} "
        f"| {verdicts[gate.get('passed')]} |"
        for gate in release.gates
    ]
    return "\n".join(["| gate | value | limit | |", "|---|---:|---|---|", *rows, ""])


def _cell(value: object) -> str:
    """Text that stays inside its table cell."""
    if value is None:
        return "-"
    text = f"{value:,.6g}" if isinstance(value, float) else str(value)
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split()) or "(not stated)"
