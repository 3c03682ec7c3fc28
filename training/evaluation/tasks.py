"""The evaluation tasks by name. A module is imported when its task is asked for: each brings libraries of its own."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping

from forge.config import EvaluationTask, Settings
from training.evaluation.task import Task
from training.run import Run

_FACTORIES: Mapping[EvaluationTask, str] = {
    "bfcl": "training.evaluation.bfcl.single_turn:task",
    "bfcl_multi_turn": "training.evaluation.bfcl.multi_turn:task",
    "bfcl_loss": "training.evaluation.bfcl.loss:task",
    "api_bank": "training.evaluation.api_bank:task",
    "api_bank_loss": "training.evaluation.api_bank:loss_task",
    "apibench_loss": "training.evaluation.apibench:loss_task",
    "held_out_loss": "training.evaluation.held_out:task",
    "code_loss": "training.evaluation.general.code_loss:task",
    "mmlu": "training.evaluation.general.tasks:mmlu",
    "arc_easy": "training.evaluation.general.tasks:arc_easy",
    "arc_challenge": "training.evaluation.general.tasks:arc_challenge",
    "hellaswag": "training.evaluation.general.tasks:hellaswag",
    "piqa": "training.evaluation.general.tasks:piqa",
    "winogrande": "training.evaluation.general.tasks:winogrande",
    "boolq": "training.evaluation.general.tasks:boolq",
    "agentdojo": "training.evaluation.interactive.agentdojo:task",
    "textworld": "training.evaluation.interactive.textworld:task",
    "scienceworld": "training.evaluation.interactive.scienceworld:task",
    "agentbench": "training.evaluation.interactive.agentbench:task",
}


def task_of(name: EvaluationTask, settings: Settings, run: Run | None, max_items: int) -> Task:
    """The task under the settings, of at most ``max_items`` items. ``run`` is None when something else than a run's
    checkpoint is evaluated. Raises :class:`training.evaluation.task.NotEvaluated` when it cannot be measured here."""
    module, _, function = _FACTORIES[name].partition(":")
    factory: Callable[[Settings, Run | None, int], Task] = getattr(importlib.import_module(module), function)
    return factory(settings, run, max_items)
