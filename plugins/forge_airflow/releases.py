"""What the DAGs and the local driver ask the lake: which release, which model, which evaluations there are.

The lake is opened inside the functions: a DAG file that imports this module stays fast.
"""

from __future__ import annotations

from typing import Any

from forge.config import Settings

PARTITION_KEY_PATTERN = r"^\d{4}-\d{2}-\d{2}$"
"""A night, as ``YYYY-MM-DD`` (UTC)."""


def _rows(settings: Settings, table: str, columns: list[str]) -> list[dict[str, Any]]:
    from forge.lake import Lake

    rows: list[dict[str, Any]] = Lake.of(settings).read(table, columns=columns).to_pylist()
    return rows


def release_of_night(settings: Settings, partition_key: str) -> str | None:
    """The release to train on for a night: the newest published for it or for a night before; None without any."""
    from forge.lake import Lake
    from forge.release import releases

    found = [release for release in releases(Lake.of(settings)) if release.partition_key <= partition_key]
    return found[-1].release_id if found else None


def has_classifier(settings: Settings) -> bool:
    """Whether a filter model is registered that the configuration can use."""
    classifier = settings.corpus.classifier
    return any(
        row["name"] == classifier.name and classifier.model in (None, row["model_hash"])
        for row in _rows(settings, "models", ["name", "model_hash"])
    )


def evaluated_stages(settings: Settings, release_id: str) -> set[str]:
    """Stages of training on a release whose checkpoint was evaluated."""
    rows = _rows(settings, "evaluations", ["release_id", "stage"])
    return {str(row["stage"]) for row in rows if row["release_id"] == release_id}
