"""Tasks of training, by the launcher of the settings: on this machine, over SSH, or as a job of Kubernetes.

The providers of the last two are imported only when the settings choose them (extra ``remote``).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import BaseOperator

from forge.config import Settings
from forge_airflow.training_operators import TrainingOperator

RANKED_COMMANDS = ("pretrain", "finetune")
"""Commands that run as several ranks; the others use one process."""

COMMANDS_WITHOUT_GPU = ("estimate", "promote")

APPROVAL_HOURS = 20
"""An unanswered question is a no, before the next night's release asks its own."""

MAX_BODY_CHARACTERS = 12_000


def training_task(
    settings: Settings, task_id: str, command: str, release: Any, arguments: Sequence[str] = (), *, doc_md: str
) -> BaseOperator:
    """Task that runs ``training.COMMAND --release RELEASE ARGUMENT...`` where ``training.launcher`` says.

    Raises ImportError when the launcher's provider is not installed.
    """
    launcher = settings.training.launcher
    is_ranked = command in RANKED_COMMANDS
    common: dict[str, Any] = {
        "task_id": task_id,
        "command": command,
        "release": release,
        "arguments": arguments,
        "processes": launcher.processes if is_ranked else 1,
        "doc_md": doc_md,
    }
    if launcher.kind == "ssh":
        from forge_airflow.ssh_training import SshTrainingOperator

        return SshTrainingOperator(launcher=launcher, **common)
    if launcher.kind == "kubernetes":
        from forge_airflow.kubernetes_training import KubernetesTrainingOperator

        gpus = 0 if command in COMMANDS_WITHOUT_GPU else launcher.gpus
        return KubernetesTrainingOperator(launcher=launcher, gpus=gpus, **common)
    return TrainingOperator(**common)


def approval_task(estimate_id: str) -> BaseOperator:
    """A person's approval, with what the task `estimate_id` found: tokens, mix, hours, cost. Unanswered: rejected."""
    found = f"ti.xcom_pull(task_ids='{estimate_id}')"
    return ApprovalOperator(
        task_id="approve",
        subject=f"Train on release {{{{ ({found} or {{}}).get('release_id', '?') }}}}?",
        body=f"Night {{{{ dag_run.partition_key or params.partition_key }}}}.\n\n"
        f"{{{{ ({found} or {{}}).get('markdown', 'There is no estimate.')[:{MAX_BODY_CHARACTERS}] }}}}",
        defaults=ApprovalOperator.REJECT,
        response_timeout=timedelta(hours=APPROVAL_HOURS),
        retries=1,
        doc_md=f"A person's approval before compute is spent, given under *Required Actions*. After {APPROVAL_HOURS} "
        "hours without an answer the release is not trained on.",
    )
