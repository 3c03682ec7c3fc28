"""### corpus_refresh: the night's corpus

Every night, for the partition of that night (`YYYY-MM-DD`, UTC), turn API documentation, agent trajectories, web pages,
code and general text into a published release.

`crawl` -> `read` -> `render` -> `judge` -> `retrieve` -> `publish` -> `announce`

* **Every task may be run again.** A job whose inputs did not change is skipped; a job that runs again replaces its
  night's partition in one commit.
* **The asset `release`** gets an event only when a *new* release was published; identical content publishes nothing.
  `train_model` starts on that event, for the same night.
* **By hand:** trigger it with a partition key (REST, `airflow backfill create`), or set *Night* in the form. A run with
  neither is refused: nobody should have to guess which night it acted on.
* **Backfill:** `airflow backfill create --dag-id corpus_refresh --from-date ... --to-date ...`; nights are replaced,
  never counted twice.
* The filter model is pinned; this DAG never trains one (`train_classifier` does).
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import CronPartitionTimetable, dag, task
from airflow.sdk.exceptions import AirflowSkipException

from forge.config import settings_of
from forge_airflow.steps import RELEASE, corpus_chain, corpus_params

SETTINGS = settings_of()


@dag(
    schedule=CronPartitionTimetable(SETTINGS.airflow.schedule, timezone="UTC", key_format="%Y-%m-%d"),
    catchup=False,
    max_active_runs=1,
    params=corpus_params(SETTINGS),
    tags=["corpus", "nightly"],
    doc_md=__doc__,
)
def corpus_refresh() -> None:
    *_, publish = corpus_chain(["crawl", "read", "render", "judge", "retrieve", "publish"])

    @task(
        outlets=[RELEASE],
        retries=3,
        doc_md="Emit the asset event for a release that this run published; skipped when the content was not new.\n\n"
        "A task of its own, so that a run that is killed between the commit and the event announces on its next try: "
        "`publish` reports a release of this run as published however often it is asked.",
    )
    def announce(published: dict[str, Any] | None, outlet_events: Any = None) -> str:
        if not published or not published.get("published"):
            raise AirflowSkipException("the content of this night is that of an earlier release: nothing to announce")
        release_id = str(published["release_id"])
        outlet_events[RELEASE].extra = {"release_id": release_id}
        return release_id

    announce(publish.output)


corpus_refresh()
