"""### train_model: a release becomes a model

Starts when the asset `release` gets an event, for the same night; continually pre-trains the base model on the release,
tunes it, and evaluates it before and after.

`choose_release` -> `estimate` -> (`approve`) -> `evaluate_base` -> `pretrain_i` -> `pretrain_ii` -> `finetune` ->
`evaluate`

* **Approval:** with `training.approval` in the profile a person approves before compute is spent (a run that an asset
  starts carries no parameters, so the profile decides). The question shows what `estimate` found.
* **Where:** `training.launcher` of the profile of this Airflow: here, on a machine over SSH, or as a Kubernetes job.
* **Every task may be run again:** training resumes at its newest checkpoint with the same losses, a finished stage is
  recognised by its model, evaluations are replaced. A command that is stopped saves first and is tried again.
* **To watch:** the link *TensorBoard* of each task, its log, `progress/<night>.jsonl`.
* **By hand:** trigger it with a partition key, or set *Night* in the form.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import IdentityMapper, PartitionedAssetTimetable, chain, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from forge.config import settings_of
from forge_airflow.operators import partition_key_of, settings_of_run
from forge_airflow.releases import release_of_night
from forge_airflow.steps import RELEASE, partition_params
from forge_airflow.training_tasks import approval_task, training_task

RESUMES = "Goes on with its newest checkpoint; does nothing when its model is there."


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

    settings = settings_of()
    release: Any = choose_release()
    estimate = training_task(
        settings, "estimate", "estimate", release, doc_md="What training would take: tokens, mix, hours, cost."
    )
    first: list[Any] = [release, estimate]
    if settings.training.approval:
        first.append(approval_task("estimate"))
    evaluate_base = training_task(
        settings,
        "evaluate_base",
        "evaluate",
        release,
        ["--checkpoint", "base"],
        doc_md="Benchmark loss and exactness of the base model, to compare with.",
    )
    pretrain_i = training_task(
        settings, "pretrain_i", "pretrain", release, ["--stage", "I"], doc_md=f"Stage I: the whole mix. {RESUMES}"
    )
    pretrain_ii = training_task(
        settings,
        "pretrain_ii",
        "pretrain",
        release,
        ["--stage", "II"],
        doc_md=f"Stage II: seed data (API documentation, trajectories) and a share of replay. {RESUMES}",
    )
    finetune = training_task(
        settings,
        "finetune",
        "finetune",
        release,
        doc_md=f"Stage III: trajectories as conversations, loss on the assistant's tokens. {RESUMES}",
    )
    evaluate = training_task(
        settings,
        "evaluate",
        "evaluate",
        release,
        ["--checkpoint", "III"],
        doc_md="The same measures for the trained model.",
    )
    chain(*first, evaluate_base, pretrain_i, pretrain_ii, finetune, evaluate)


train_model()
