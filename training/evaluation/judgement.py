"""The verdict on a checkpoint, from records: against the base model, and against the model that is promoted now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from forge.config import Settings
from training.evaluation.comparison import TaskRecords, differences
from training.evaluation.evaluator import read_measured
from training.evaluation.promotion import Promoted, Promotion, promoted_model, verdict


@dataclass(frozen=True, slots=True)
class Judgement:
    """``standing``: the model that was promoted when this was said."""

    promotion: Promotion
    standing: Promoted | None


def models_folder(settings: Settings) -> Path:
    """Where ``promoted`` lies."""
    return settings.home_path / "models"


def judge(
    settings: Settings,
    model: Path,
    checkpoint: str,
    base: Mapping[str, TaskRecords],
    trained: Mapping[str, TaskRecords],
    not_evaluated: Mapping[str, str],
) -> Judgement:
    """The verdict on ``checkpoint``, whose weights lie in ``model``. Raises :class:`NotPromoted` when
    ``models/promoted`` is no link."""
    chosen = settings.evaluation
    compare = partial(differences, confidence=chosen.confidence, resamples=chosen.resamples, seed=chosen.seed)
    standing = promoted_model(models_folder(settings))
    against_promoted = None
    if standing is not None and standing.folder != model.resolve():
        run_folder = standing.folder.parents[1]  # of runs/<run_id>/models/stage-<stage>
        measured = read_measured(run_folder, standing.checkpoint)
        against_promoted = compare(f"promoted {standing.run_id[:8]}", checkpoint, measured, trained)
    promotion = verdict(
        compare("base", checkpoint, base, trained),
        chosen.promotion,
        against_promoted=against_promoted,
        not_evaluated=not_evaluated,
    )
    return Judgement(promotion, standing)
