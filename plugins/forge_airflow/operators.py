"""Operators that run our own command lines as supervised child processes.

The commands do the work and are idempotent; an operator starts one, relays its output into the task log, kills it when
the task is killed and translates its exit code. XCom carries a small reference at most: what the command wrote, as one
JSON object, to the file named by ``FORGE_RESULT``.

Exit codes: 0 done; 3 the result was refused (a gate failed); 4 the trained model was not promoted (a check of its
evaluation failed); 75 (EX_TEMPFAIL) try again later; 78 (EX_CONFIG) the configuration is wrong; any other, and death by
a signal, is a failure that may be retried.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, ExceptionRetryPolicy, RetryAction, RetryRule
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from forge.config import ConfigurationError, Settings, checkout, load_settings
from forge_airflow.components import SPARK_POOL
from forge_airflow.links import SPARK_INTERFACE_LINE, SparkInterfaceLink
from forge_airflow.process import Job, ProcessIdentity, Stopping, is_alive, kill_until_gone
from forge_airflow.releases import PARTITION_KEY_PATTERN

if TYPE_CHECKING:
    from airflow.sdk import Context

EXIT_REFUSED = 3
EXIT_NOT_PROMOTED = 4
EXIT_TEMPORARY = 75
EXIT_CONFIGURATION = 78
MAX_RESULT_BYTES = 16 * 1024


PARTITION_TEMPLATE = "{{ dag_run.partition_key or params.partition_key }}"
"""The night of a run, for templates. An operator checks it with :func:`partition_key_of` before anything starts."""


class CommandFailedError(AirflowException):
    """The command ended with an exit code that says nothing special, or by a signal."""


class TemporarilyUnavailableError(CommandFailedError):
    """The command asked to be run again later."""


class ResultRefusedError(CommandFailedError):
    """A quality gate failed, or a loss was not finite: running again gives the same. The previous release stays."""


class NotPromotedError(AirflowFailException):
    """A check of the evaluation failed: ``models/promoted`` stays where it was. The same evaluation fails again."""


class InvalidConfigurationError(CommandFailedError):
    """The command refused its configuration."""


RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception="forge_airflow.operators.ResultRefusedError",
            action=RetryAction.FAIL,
            reason="the result was refused: the same input gives the same result",
        ),
        RetryRule(
            exception="forge_airflow.operators.InvalidConfigurationError",
            action=RetryAction.FAIL,
            reason="the configuration is wrong",
        ),
        RetryRule(
            exception="forge_airflow.operators.TemporarilyUnavailableError",
            action=RetryAction.RETRY,
            retry_delay=timedelta(seconds=30),
            reason="the command asked to be run again later",
        ),
    ]
)
"""What is worth another try."""

_ERRORS: Mapping[int, type[AirflowException]] = {
    EXIT_REFUSED: ResultRefusedError,
    EXIT_NOT_PROMOTED: NotPromotedError,
    EXIT_TEMPORARY: TemporarilyUnavailableError,
    EXIT_CONFIGURATION: InvalidConfigurationError,
}


def partition_key_of(context: Context) -> str:
    """The night of a run: its partition key, else the parameter ``partition_key`` of a run that was started by hand.

    Raises AirflowFailException when there is neither, or it is no date: a guess ("today") would act on a night that
    nobody named, and on another one after midnight.
    """
    key = context["dag_run"].partition_key or context["params"].get("partition_key")
    if not key or not re.fullmatch(PARTITION_KEY_PATTERN, str(key)):
        raise AirflowFailException(
            f"partition key {key!r}: expected YYYY-MM-DD. Trigger the run with a partition key, or set the parameter "
            "partition_key of the form"
        )
    return str(key)


def settings_of_run(context: Context) -> Settings:
    """Settings of the profile that the run names, else of the instance. Raises AirflowFailException."""
    try:
        return load_settings(context["params"].get("profile") or None, environment=_overridden_environment(context))
    except ConfigurationError as error:
        raise AirflowFailException(str(error)) from None


def _overridden_environment(context: Context) -> dict[str, str]:
    """This process's environment with the choices of the trigger form, as the settings read them."""
    environment = dict(os.environ)
    for source in sorted(context["params"].get("disabled_sources") or []):
        if not re.fullmatch(r"[a-z0-9_]{1,64}", str(source)):
            raise AirflowFailException(f"disabled_sources: {source!r} is no source name")
        environment[f"FORGE__SOURCES__{source.upper()}__ENABLED"] = "false"
    return environment


class CommandOperator(BaseOperator):
    """Run ``python -m MODULE ARGUMENT...`` for the run's partition, as a process that never outlives the task.

    `module`: a module of ours; `arguments`: templated, passed as they are, without a shell. ``--profile`` is added;
    night and run stand in ``FORGE_PARTITION`` and ``FORGE_RUN_ID``. The task's XCom is the command's result object, if
    it wrote one.
    """

    template_fields: Sequence[str] = ("arguments",)
    ui_color = "#e8f0fe"
    stopping = Stopping()

    def __init__(self, *, module: str, arguments: Sequence[str] = (), **kwargs: Any) -> None:
        kwargs.setdefault("retries", 2)
        kwargs.setdefault("retry_delay", timedelta(seconds=10))
        kwargs.setdefault("retry_policy", RETRY_POLICY)
        super().__init__(**kwargs)
        self.module = module
        self.arguments = list(arguments)
        self._job: Job | None = None

    def execute(self, context: Context) -> dict[str, Any] | None:
        """Start the command, relay its output, return its result object."""
        key = partition_key_of(context)
        settings = settings_of_run(context)
        instance = context["ti"]
        folder = settings.home_path / "airflow" / "processes"
        result = settings.home_path / "airflow" / "results" / instance.dag_id / key / f"{instance.task_id}.json"
        result.parent.mkdir(parents=True, exist_ok=True)
        result.unlink(missing_ok=True)
        command = self.command_line(settings)
        environment = {**_command_environment(context), **run_variables(context), "FORGE_RESULT": str(result)}
        self._job = Job(folder, job_key_of(context), command, environment, checkout(), self.stopping)
        self.log.info("job %s: %s", self._job.job_key, " ".join(command[1:]))
        store = context.get("task_state_store")
        _stop_recorded(store.get("process") if store is not None else None)
        process = self._job.start()
        if store is not None:
            store.set("process", {"host": socket.gethostname(), "pid": process.pid, "start_ticks": process.start_ticks})
        raise_for_code(self._job.relay(lambda line: self.on_line(line, context)), self.module)
        return _read_result(result)

    def command_line(self, settings: Settings) -> list[str]:
        """What is started."""
        return [sys.executable, "-m", self.module, *self.arguments, "--profile", settings.profile]

    def on_line(self, line: str, _context: Context) -> None:
        """What happens with one line of output: it goes to the task log."""
        self.log.info(line)

    def on_kill(self) -> None:
        """Stop the command and all that it started: SIGTERM, then SIGKILL (:class:`Stopping`)."""
        if self._job is not None:
            self.log.info("killed: stopping the command")
            self._job.stop()


def job_key_of(context: Context) -> str:
    """Name of the job of a task: the same for every try, so that a try finds what an earlier one left."""
    instance = context["ti"]
    return f"{instance.dag_id}/{instance.task_id}/{instance.map_index}/{partition_key_of(context)}"


def run_variables(context: Context) -> dict[str, str]:
    """Environment variables that tell a command its night, its run and its profile."""
    return {
        "FORGE_PARTITION": partition_key_of(context),
        "FORGE_PROFILE": settings_of_run(context).profile,
        "FORGE_RUN_ID": str(context["run_id"]),
    }


def setting_variables(context: Context) -> dict[str, str]:
    """Settings that the environment overrides, for a command on another machine; its home is its own."""
    environment = _overridden_environment(context)
    return {
        name: value
        for name, value in sorted(environment.items())
        if name.startswith("FORGE__") and name != "FORGE__HOME"
    }


def raise_for_code(code: int, module: str) -> None:
    """Raise what the exit code of a command means; negative: killed by that signal."""
    if code == 0:
        return
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    raise _ERRORS.get(code, CommandFailedError)(f"python -m {module} ended with {how}; its output is above")


def _command_environment(context: Context) -> dict[str, str]:
    # Airflow's own settings hold its secrets (database, signing keys): no command of ours needs them.
    inherited = {
        name: value
        for name, value in _overridden_environment(context).items()
        if not name.startswith(("AIRFLOW_", "_AIRFLOW", "__AIRFLOW"))
    }
    return {
        **inherited,
        "HF_HUB_OFFLINE": "1",
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONUNBUFFERED": "1",
    }


def _stop_recorded(record: Any) -> None:
    """Stop the process that an earlier try of the task left in the task state store, if it runs on this machine."""
    if not isinstance(record, dict) or record.get("host") != socket.gethostname():
        return
    process = ProcessIdentity(int(record["pid"]), int(record["start_ticks"]))
    kill_until_gone(lambda: {process} if is_alive(process) else set(), grace_seconds=5.0)


def _read_result(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    with path.open("rb") as file:
        return result_of(file.read(MAX_RESULT_BYTES + 1), str(path))


def result_of(content: bytes, where: str) -> dict[str, Any]:
    """The object that a command left as its result. Raises CommandFailedError when it is none, or too large."""
    if len(content) > MAX_RESULT_BYTES:
        raise CommandFailedError(f"{where}: a result is a reference of at most {MAX_RESULT_BYTES} bytes")
    try:
        found = json.loads(content)
    except ValueError as error:
        raise CommandFailedError(f"{where}: not JSON: {error}") from None
    if not isinstance(found, dict):
        raise CommandFailedError(f"{where}: expected one JSON object")
    return found


class SparkJobsOperator(CommandOperator):
    """Run jobs of ``spark_jobs``, one after another in one Spark application, in the pool for Spark applications."""

    operator_extra_links = (SparkInterfaceLink(),)

    def __init__(self, *, jobs: Sequence[str], **kwargs: Any) -> None:
        kwargs.setdefault("pool", SPARK_POOL)
        night = ["--partition-key", PARTITION_TEMPLATE, "--run-id", "{{ run_id }}"]
        super().__init__(module="spark_jobs", arguments=[*jobs, *night], **kwargs)

    def execute(self, context: Context) -> dict[str, Any] | None:
        """Start without an address of Spark's web interface, then as every command."""
        SparkInterfaceLink().leave(context, "")
        return super().execute(context)

    def on_line(self, line: str, context: Context) -> None:
        """Also keep the address of Spark's web interface, as soon as the application says it."""
        super().on_line(line, context)
        if found := SPARK_INTERFACE_LINE.search(line):
            SparkInterfaceLink().leave(context, found[1])
