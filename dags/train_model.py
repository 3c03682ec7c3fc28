"""### train_model: a release becomes a model

Starts when the asset `release` gets an event, for the same night; continually pre-trains the base model on the release,
tunes it, evaluates it before and after, and promotes it when the evaluation allows it.

`choose_release` -> `estimate` -> (`approve`) -> `pretrain_i` -> `pretrain_ii` -> `finetune` -> `evaluate` -> `promote`

* **Approval:** with `training.approval` in the profile a person approves before compute is spent (a run that an asset
  starts carries no parameters, so the profile decides). The question shows what `estimate` found.
* **Where:** `training.launcher` of the profile of this Airflow: here, on a machine over SSH, or as a Kubernetes job.
* **Every task may be run again:** training resumes at its newest checkpoint with the same losses, a finished stage is
  recognised by its model, an evaluation goes on with the items that it has not measured. A command that is stopped
  saves first and is tried again.
* **To watch:** the link *TensorBoard* of each task, its log, `progress/<night>.jsonl`.
* **What came of it:** the link *Evaluation report* of `evaluate`: figures with intervals before and after each stage,
  and whether the model may be promoted.
* **`promote` failed:** that is how a worse model, or one whose items are too few to tell, is stopped. `models/promoted`
  stays where it was, nothing is tried again, and the run counts as failed, so that whoever is alerted by failed runs
  hears of it. The reason stands at the end of the task's log, in its XCom `promotion`, and in the report; the trained
  model and its evaluation stay. To promote another night's model instead, do nothing; to judge by other limits, change
  `evaluation.promotion` and clear the task.
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

CHECKPOINTS = ("base", "I", "II", "III")
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
        [argument for name in CHECKPOINTS for argument in ("--checkpoint", name)],
        doc_md="The base model and every stage on the same items, with intervals, and the report (link *Evaluation "
        "report*). Goes on with the items that are not measured yet.",
    )
    promote = training_task(
        settings,
        "promote",
        "promote",
        release,
        doc_md="Moves `models/promoted` to the tuned model when the checks of the evaluation allow it. **Failed at the "
        "first try: refused**; the model that was promoted before stays, the reason is at the end of the log.",
    )
    chain(*first, pretrain_i, pretrain_ii, finetune, evaluate, promote)


train_model()
