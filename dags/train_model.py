"""### train_model: a release becomes a model

Starts when the asset `release` gets an event, for the same night; continually pre-trains the base model on the release,
tunes it, and evaluates it before and after.

`choose_release` -> (`approve`) -> `evaluate_base`, `pretrain_i` -> `pretrain_ii` -> `finetune` -> `evaluate`

* **Approval:** with `training.approval` in the profile a person approves before compute is spent (a run that an asset
  starts carries no parameters, so the profile decides).
* **Every task may be run again:** training resumes at its last checkpoint with the same losses, a finished stage is
  recognised by its checkpoint, evaluations are replaced.
* **By hand:** trigger it with a partition key, or set *Night* in the form.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import IdentityMapper, PartitionedAssetTimetable, chain, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from forge.config import settings_of
from forge_airflow.operators import TrainingOperator, partition_key_of, settings_of_run
from forge_airflow.releases import release_of_night
from forge_airflow.steps import RELEASE, partition_params


@dag(
    schedule=PartitionedAssetTimetable(assets=RELEASE, default_partition_mapper=IdentityMapper()),
    catchup=False,
    max_active_runs=1,
    params=partition_params(),
    tags=["training"],
    doc_md=__doc__,
)
def train_model() -> None:
    @task(retries=3, doc_md="The newest release that was published for this night or before it.")
    def choose_release() -> str:
        context = get_current_context()
        key = partition_key_of(context)
        release_id = release_of_night(settings_of_run(context), key)
        if release_id is None:
            raise AirflowFailException(f"no release was published up to {key}: run corpus_refresh first")
        return release_id

    release: Any = choose_release()
    first: list[Any] = [release]
    if settings_of().training.approval:
        first.append(
            ApprovalOperator(
                task_id="approve",
                subject="Train on release {{ ti.xcom_pull(task_ids='choose_release') }}?",
                body="Night {{ dag_run.partition_key }}. `forge report` shows tokens, mix and gates of the release.",
                doc_md="A person's approval before compute is spent.",
            )
        )
    evaluate_base = TrainingOperator(
        task_id="evaluate_base",
        command="evaluate",
        release=release,
        arguments=["--checkpoint", "base"],
        doc_md="Benchmark loss and exactness of the base model, to compare with.",
    )
    pretrain_i = TrainingOperator(
        task_id="pretrain_i",
        command="pretrain",
        release=release,
        arguments=["--stage", "I"],
        doc_md="Stage I: the whole mix.",
    )
    pretrain_ii = TrainingOperator(
        task_id="pretrain_ii",
        command="pretrain",
        release=release,
        arguments=["--stage", "II"],
        doc_md="Stage II: seed data only (API documentation, trajectories).",
    )
    finetune = TrainingOperator(
        task_id="finetune",
        command="finetune",
        release=release,
        doc_md="Stage III: trajectories as conversations, loss on the assistant's tokens.",
    )
    evaluate = TrainingOperator(
        task_id="evaluate",
        command="evaluate",
        release=release,
        arguments=["--checkpoint", "III"],
        doc_md="The same measures for the trained model.",
    )
    chain(*first, evaluate_base, pretrain_i, pretrain_ii, finetune, evaluate)


train_model()
