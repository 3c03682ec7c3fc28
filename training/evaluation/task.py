"""An evaluation task: items, how each is measured, and the overall scores that follow from its categories."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from forge.artifacts import artifact_path
from forge.config import ConfigurationError, Settings
from forge.schema import content_hash
from training.evaluation.records import ItemRecord
from training.evaluation.subject import Subject

Item = TypeVar("Item")


class NotEvaluated(Exception):
    """A task cannot be measured here; the message says why. It is reported, never passed over in silence."""


@dataclass(frozen=True, slots=True)
class OverallScore:
    """A weighted sum of a measure over categories. ``weights`` are those of the formula, whatever was sampled;
    ``leaves_out`` says in words which terms of the published formula are missing ("" when none is)."""

    name: str
    measure: str
    weights: Mapping[str, float]
    leaves_out: str = ""


@dataclass(frozen=True)
class Task:
    """``key`` hashes everything that decides what is measured but the model: items, prompts, judgement.

    ``measure`` takes some of ``item_ids`` and yields their records, in any order. A record must not depend on which
    other items are asked for: an evaluation that was killed goes on with the rest and ends with equal records.
    """

    name: str
    key: str
    item_ids: Sequence[str]
    measure: Callable[[Subject, Sequence[str]], Iterable[ItemRecord]]
    overall: Sequence[OverallScore] = ()
    needs_weights: bool = False
    """The probabilities of given texts are needed: an endpoint that only answers will not do."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """What a reader of the figures has to know: version of the data, items in all, protocol."""


def artifact_folder(settings: Settings, name: str) -> Path:
    """The unpacked artifact that holds a benchmark's files. Raises :class:`NotEvaluated` where it is not here."""
    try:
        folder = artifact_path(settings, name)
    except ConfigurationError as reason:
        raise NotEvaluated(str(reason)) from None
    if folder is None:
        raise NotEvaluated(f"artifact {name!r} is not here; python -m forge.artifacts fetches it")
    return folder


def sample(
    items: Sequence[Item],
    count: int,
    seed: int,
    purpose: str,
    *,
    item_id: Callable[[Item], str],
    category: Callable[[Item], str],
) -> list[Item]:
    """``count`` items, the same number of each category as far as there are, the first by hash of seed, purpose and id.

    A larger count adds items and keeps the others.
    """
    by_category: dict[str, list[Item]] = {}
    for item in sorted(items, key=lambda item: content_hash(purpose, str(seed), item_id(item))):
        by_category.setdefault(category(item), []).append(item)
    ranked = sorted(
        ((rank, name, item) for name, found in by_category.items() for rank, item in enumerate(found)),
        key=lambda entry: entry[:2],
    )
    return [item for _, _, item in ranked[:count]]
