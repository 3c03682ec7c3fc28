"""One command of ``training`` for a release: what all launchers share, and the one that runs it on this machine."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from forge.config import Settings
from forge_airflow.components import TENSORBOARD_VARIABLE
from forge_airflow.links import (
    PROMOTION_LINE,
    REPORT_LINE,
    RUN_LINE,
    TENSORBOARD_LINE,
    EvaluationReportLink,
    TensorBoardLink,
    address_of_report,
    tensorboard_of_run,
)
from forge_airflow.operators import CommandOperator, partition_key_of, settings_of_run
from forge_airflow.process import Stopping

if TYPE_CHECKING:
    from airflow.sdk import BaseOperatorLink, Context

TRAINING_RETRIES = 8
"""A machine may be taken away several times during a stage; each try goes on with the newest checkpoint."""

CHECKPOINT_SECONDS = 60.0
"""How long a command that is asked to stop may write its checkpoint."""

STOPPING = Stopping(CHECKPOINT_SECONDS, leader_only=True)

PROMOTION = "promotion"
"""XCom key of what became of the trained model, as the command said it."""
MAX_VERDICT_CHARACTERS = 1_000

_REPORTING_COMMANDS = ("evaluate", "promote")


def training_defaults(arguments: dict[str, Any]) -> dict[str, Any]:
    """Operator arguments with those that every training task has: tries, their delays, no time limit."""
    return {
        "retries": TRAINING_RETRIES,
        "retry_delay": timedelta(seconds=30),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=10),
        **arguments,
    }


def module_command(module: str, processes: int, arguments: Sequence[str]) -> list[str]:
    """What follows ``python -m`` to run `module` as that many ranks."""
    ranks = ["forge_airflow.ranks", "--processes", str(processes)] if processes > 1 else []
    return [*ranks, module, *arguments]


def links_of(command: str) -> tuple[BaseOperatorLink, ...]:
    """The links of a task that runs ``training.COMMAND``."""
    report = (EvaluationReportLink(),) if command in _REPORTING_COMMANDS else ()
    return (TensorBoardLink(), *report)


def clear_links(links: Iterable[BaseOperatorLink], context: Context) -> None:
    """Let links lead nowhere until the command has said where: an earlier try's addresses may be wrong."""
    for link in links:
        if isinstance(link, (TensorBoardLink, EvaluationReportLink)):
            link.leave(context, "")


def note_line(task_id: str, line: str, context: Context) -> None:
    """Append a line of output to ``progress/<night>.jsonl``, as Spark jobs do themselves; keep the addresses and the
    verdict on promotion that it tells."""
    path = settings_of_run(context).home_path / "progress" / f"{partition_key_of(context)}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    entry = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "job": task_id, "message": line}
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")
    base = os.environ.get(TENSORBOARD_VARIABLE)
    if said := TENSORBOARD_LINE.search(line):
        TensorBoardLink().leave(context, said[1])
    elif base and (run := RUN_LINE.match(line)):
        TensorBoardLink().leave(context, tensorboard_of_run(base, run[1]))
    if report := REPORT_LINE.match(line):
        EvaluationReportLink().leave(context, address_of_report(report[1]))
    if verdict := PROMOTION_LINE.match(line):
        context["ti"].xcom_push(key=PROMOTION, value=verdict[1][:MAX_VERDICT_CHARACTERS])


class TrainingOperator(CommandOperator):
    """Run ``training.COMMAND`` here, as `processes` ranks. It is asked to stop by SIGTERM and gets time to save."""

    stopping = STOPPING

    def __init__(
        self, *, command: str, release: str, arguments: Sequence[str] = (), processes: int = 1, **kwargs: Any
    ) -> None:
        super().__init__(
            module=f"training.{command}",
            arguments=["--release", release, *arguments],
            **training_defaults(kwargs),
        )
        self.processes = processes
        self.operator_extra_links = links_of(command)

    def execute(self, context: Context) -> dict[str, Any] | None:
        """Start without addresses, then as every command."""
        clear_links(self.operator_extra_links, context)
        return super().execute(context)

    def command_line(self, settings: Settings) -> list[str]:
        """The command, or the launcher of its ranks."""
        arguments = [*self.arguments, "--profile", settings.profile]
        return [sys.executable, "-m", *module_command(self.module, self.processes, arguments)]

    def on_line(self, line: str, context: Context) -> None:
        """Also to the night's progress file and into the links."""
        super().on_line(line, context)
        note_line(self.task_id, line, context)
