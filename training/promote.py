"""Promote a run's model: ``python -m training.promote --release ID|current``.

Judges a checkpoint (III, unless another is named) against the base model, and against the model that is promoted now,
by the records that ``training.evaluate`` left, and moves ``models/promoted`` when every check passes. Exit codes: 0
promoted, now or before; 4 refused by the checks; 78 there is nothing to judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from forge.config import Settings, load_settings
from training.command import REFUSALS, parser_of, refuse, run_of
from training.evaluation.candidate import candidate_of_run
from training.evaluation.evaluator import read_evaluation, read_measured
from training.evaluation.judgement import judge, models_folder
from training.evaluation.promotion import LINK, NotPromoted, promote
from training.evaluation.report import HTML
from training.process import die_with_parent
from training.run import STAGES, Run, StageMissing

EXIT_NOT_PROMOTED = 4


def promote_checkpoint(run: Run, settings: Settings, checkpoint: str, say: Any = print) -> None:
    """Judge and promote. Raises :class:`training.evaluation.promotion.NotPromoted` when the checks refuse it, and
    :class:`training.run.StageMissing` when base or checkpoint were not evaluated."""
    candidate = candidate_of_run(run, checkpoint)
    base, trained = (read_measured(run.folder, name) for name in ("base", checkpoint))
    missing = [name for name, measured in (("base", base), (checkpoint, trained)) if not measured]
    if missing:
        raise StageMissing(f"run {run.run_id}: {' and '.join(missing)} not evaluated yet: python -m training.evaluate")
    evaluation = read_evaluation(run.folder, checkpoint)
    if evaluation["model_sha"] != candidate.sha:
        raise StageMissing(f"run {run.run_id}: stage {checkpoint} was trained again after it was evaluated")
    judgement = judge(settings, candidate.folder, checkpoint, base, trained, evaluation["not_evaluated"])
    for check in judgement.promotion.checks:
        if check.state != "not evaluated":
            say(check.sentence)
    promoted = promote(
        models_folder(settings),
        candidate.folder,
        run_id=run.run_id,
        checkpoint=checkpoint,
        release_id=run.release.release_id,
        promotion=judgement.promotion,
        instead_of=judgement.standing,
    )
    say(
        f"promotion: promoted: {models_folder(settings) / LINK} is stage {promoted.checkpoint} of run {promoted.run_id}"
    )


def main(given: Sequence[str] | None = None) -> int:
    parser = parser_of("Promote a run's model when its evaluation allows it.")
    parser.add_argument("--checkpoint", choices=STAGES, default="III", help="default: III")
    arguments = parser.parse_args(given)
    die_with_parent()
    try:
        settings = load_settings(arguments.profile)
        run = run_of(settings, arguments.release)
        _say(f"run {run.run_id} release {run.release.release_id}")
        _say(f"evaluation report: {run.folder / HTML}")
        promote_checkpoint(run, settings, arguments.checkpoint, _say)
    except NotPromoted as reason:
        _say(f"promotion: refused: {reason}")
        return EXIT_NOT_PROMOTED
    except REFUSALS as reason:
        return refuse(reason)
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
