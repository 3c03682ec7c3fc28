"""Evaluate a run: ``python -m training.evaluate --release ID|current``; or models of yours: ``--model FOLDER``.

Measures the tasks of ``evaluation.tasks`` for every checkpoint in turn (by default the base model and each stage that
is trained), compares them, and leaves in the run's folder::

    evaluation/<checkpoint>/<task>.jsonl   a line for each item: what was measured, what the model wrote
    evaluation-<checkpoint>.json           the figures, with intervals
    evaluation.json                        all checkpoints, their differences, the verdict on promotion
    report.html, report.md                 the same for people

and rows in table ``evaluations`` (partition ``<run_id>-<checkpoint>``). It may be killed and started again at any
moment: items that are measured are not measured again.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from forge.config import ConfigurationError, EvaluationTask, Settings, load_settings
from forge.lake import Lake
from forge.schema import content_hash
from training.command import REFUSALS, parser_of, refuse, run_of
from training.evaluation.candidate import Candidate, candidate_of_folder, candidate_of_run, load_subject
from training.evaluation.endpoint import EndpointError, EndpointSubject
from training.evaluation.evaluator import Evaluated, Say, evaluate
from training.evaluation.outcome import comparison_lines, write_comparison, write_evaluations, write_figures
from training.process import EXIT_STOPPED, StopRequest, die_with_parent
from training.run import CHECKPOINTS, Run, Stopped
from training.run_card import write_run_card


def evaluate_checkpoint(
    run: Run, settings: Settings, checkpoint: str, stop: object = False, say: Say = print
) -> tuple[Evaluated, dict[str, Any]]:
    """Measure one checkpoint of a run; also the object of ``evaluation-<checkpoint>.json``, which is written.

    Raises :class:`training.run.StageMissing`, :class:`training.run.Stopped`, and
    :class:`training.checkpoint.BadCheckpoint` when the checkpoint was trained on chats that were rendered otherwise.
    """
    return _evaluate(candidate_of_run(run, checkpoint), settings, run, run.folder, stop, say)


def _evaluate(
    candidate: Candidate, settings: Settings, run: Run | None, folder: Path, stop: object, say: Say
) -> tuple[Evaluated, dict[str, Any]]:
    import torch

    from training.precision import product_type

    subject = load_subject(candidate, settings)
    is_bf16 = settings.training.precision == "bf16" and product_type(subject.device, torch.bfloat16) == torch.bfloat16
    precision = "bf16" if is_bf16 else "fp32"
    with torch.inference_mode(), torch.autocast(subject.device, torch.bfloat16, enabled=is_bf16):
        evaluated = evaluate(
            candidate.name, subject, content_hash(candidate.sha, precision), settings, run,
            folder / "evaluation" / candidate.name, stop, say,
        )  # fmt: skip
    return evaluated, write_figures(evaluated, candidate.sha, precision, settings, run, folder)


def main(given: Sequence[str] | None = None) -> int:
    parser = parser_of(__doc__.split(":")[0] + ": its base model and every trained stage, with intervals and a report.")
    parser.add_argument("--checkpoint", action="append", choices=CHECKPOINTS, help="may be repeated; default: all")
    parser.add_argument(
        "--model",
        action="append",
        help="a Hugging Face folder or an artifact (smollm2) instead of a run's; may be repeated",
    )
    parser.add_argument("--endpoint", action="store_true", help="ask evaluation.endpoint instead of a model")
    parser.add_argument("--task", action="append", choices=get_args(EvaluationTask), help="instead of evaluation.tasks")
    parser.add_argument("--items", type=int, help="at most so many items of each task, instead of the settings'")
    arguments = parser.parse_args(given)
    die_with_parent()
    stop = StopRequest().listen()
    try:
        return _command(arguments, stop)
    except Stopped as reason:
        _say(str(reason))
        return EXIT_STOPPED
    except (*REFUSALS, EndpointError) as reason:
        return refuse(reason)


def _command(arguments: argparse.Namespace, stop: StopRequest) -> int:
    settings = _with_arguments(load_settings(arguments.profile), arguments)
    run: Run | None = None
    if arguments.endpoint:
        return _evaluate_endpoint(settings, stop)
    if arguments.model:
        candidates = _named_apart([candidate_of_folder(settings, model) for model in arguments.model])
        folder = _folder_of_models(settings, candidates)
    else:
        run = run_of(settings, arguments.release)
        _say(f"run {run.run_id} release {run.release.release_id}")
        chosen = arguments.checkpoint or [name for name in CHECKPOINTS if name == "base" or run.is_finished(name)]
        candidates = [candidate_of_run(run, name) for name in CHECKPOINTS if name in chosen]
        folder = run.folder
    found, results = [], []
    for candidate in candidates:
        own_folder = folder if run is not None else _folder_of_models(settings, [candidate])
        evaluated, result = _evaluate(candidate, settings, run, own_folder, stop, _say)
        write_evaluations(Lake.of(settings), result)
        found.append(evaluated)
        results.append(result)
        if run is not None:
            write_run_card(run)
    return _conclude(results, found, candidates, settings, run, folder)


def _named_apart(candidates: Sequence[Candidate]) -> list[Candidate]:
    """With part of the hash in the names of folders that are called alike."""
    names = [candidate.name for candidate in candidates]
    apart = [replace(candidate, name=f"{candidate.name}-{candidate.sha[:8]}") for candidate in candidates]
    return [one if names.count(one.name) == 1 else other for one, other in zip(candidates, apart, strict=True)]


def _folder_of_models(settings: Settings, candidates: Sequence[Candidate]) -> Path:
    """Where the evaluation of models without a run lies: of one, its records; of several, their comparison."""
    folder = settings.home_path / "evaluations" / content_hash(*(candidate.sha for candidate in candidates))[:16]
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _conclude(
    results: Sequence[Mapping[str, Any]], found: Sequence[Evaluated], candidates: Sequence[Candidate],
    settings: Settings, run: Run | None, folder: Path,
) -> int:  # fmt: skip
    report, promotion = write_comparison(results, found, candidates, settings, run, folder)
    for line in comparison_lines(results):
        _say(line)
    if promotion is not None:
        _say(f"may be promoted: {'yes' if promotion.promoted else 'no. ' + ' '.join(promotion.reasons)}")
    _say(f"evaluation report: {report}")
    return 0


def _evaluate_endpoint(settings: Settings, stop: StopRequest) -> int:
    """Ask the endpoint; tasks that need probabilities are named as not evaluated."""
    chosen = settings.evaluation.endpoint
    if chosen is None:
        raise ConfigurationError("--endpoint: evaluation.endpoint is not set: its url (up to /v1) and model are needed")
    subject = EndpointSubject(chosen, settings.evaluation.seed)
    candidate = Candidate(
        chosen.model.rsplit("/", 1)[-1], Path(), content_hash(chosen.url, chosen.model), is_checkpoint=False
    )
    folder = _folder_of_models(settings, [candidate])
    evaluated = evaluate(
        candidate.name, subject, candidate.sha, settings, None, folder / "evaluation" / candidate.name, stop, _say
    )
    result = write_figures(evaluated, candidate.sha, "unknown", settings, None, folder)
    write_evaluations(Lake.of(settings), result)
    return _conclude([result], [evaluated], [candidate], settings, None, folder)


def _with_arguments(settings: Settings, arguments: argparse.Namespace) -> Settings:
    chosen = settings.evaluation
    changes: dict[str, Any] = {}
    if arguments.task:
        changes["tasks"] = arguments.task
    if arguments.items is not None:
        if arguments.items < 1:
            raise ConfigurationError(f"--items: {arguments.items}; allowed: 1 and more")
        changes["items"] = dict.fromkeys(arguments.task or chosen.tasks, arguments.items)
    return settings.model_copy(update={"evaluation": chosen.model_copy(update=changes)})


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
