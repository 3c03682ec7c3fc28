"""A model is promoted when its evaluation allows it, a damaged one is not."""

from __future__ import annotations

from typing import Any

import pytest

from forge.config import Settings
from tests.training.evaluated_run import damage, evaluation_settings, train
from training.evaluate import evaluate_checkpoint
from training.evaluation.judgement import models_folder
from training.evaluation.promotion import NotPromoted, promoted_model
from training.promote import promote_checkpoint
from training.run import Run, StageMissing

CHECKS = {
    "tasks": ["piqa", "arc_easy"],
    "items": {"piqa": 40, "arc_easy": 30},
    "promotion": {"max_fall_points": 30, "max_loss_rise": 0.3, "max_function_loss_rise": 0.3, "require_resolved": True},
}
"""The tiny model guesses: limits within which forty items can tell a guess from a damage."""


def quiet(_line: str) -> None:
    pass


def evaluated(run: Run) -> Settings:
    settings = evaluation_settings(run, **CHECKS)
    for checkpoint in ("base", "III"):
        evaluate_checkpoint(run, settings, checkpoint, say=quiet)
    return settings


def test_a_damaged_checkpoint_is_not_promoted(make_run: Any) -> None:
    """Done when 5, without Airflow."""
    good, bad = make_run(), make_run(seed=2)
    train(good)
    settings = evaluation_settings(good, **CHECKS)
    with pytest.raises(StageMissing, match="base and III not evaluated yet"):
        promote_checkpoint(good, settings, "III", quiet)
    settings = evaluated(good)
    said: list[str] = []
    promote_checkpoint(good, settings, "III", said.append)
    assert said[-1].startswith("promotion: promoted: ")
    link = models_folder(settings) / "promoted"
    assert link.resolve() == good.model_folder("III").resolve()
    promote_checkpoint(good, settings, "III", said.append)  # again: nothing happens

    train(bad)
    damage(bad, "III")
    evaluated(bad)
    with pytest.raises(NotPromoted, match=r"piqa bits_per_byte against base: .* failed"):
        promote_checkpoint(bad, settings, "III", said.append)
    assert link.resolve() == good.model_folder("III").resolve()
    standing = promoted_model(models_folder(settings))
    assert standing is not None
    assert (standing.run_id, standing.checkpoint) == (good.run_id, "III")


def test_a_checkpoint_that_changed_after_its_evaluation_is_not_promoted(make_run: Any) -> None:
    run = make_run()
    train(run)
    settings = evaluated(run)
    damage(run, "III")
    with pytest.raises(StageMissing, match="trained again after it was evaluated"):
        promote_checkpoint(run, settings, "III", quiet)
    assert promoted_model(models_folder(settings)) is None
