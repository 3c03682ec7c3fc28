"""The DAG files as the dag-processor sees them: complete, fast, light, stable, documented."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.airflow

ROOT = Path(__file__).resolve().parents[2]

FILES = {
    "corpus_refresh.py": "corpus_refresh",
    "train_classifier.py": "train_classifier",
    "train_model.py": "train_model",
}
"""Every file of dags/ and the one DAG in it."""

HEAVY = (
    "torch",
    "pyspark",
    "faiss",
    "boto3",
    "fasttext",
    "sentence_transformers",
    "transformers",
    "accelerate",
    "pyarrow",
)

PARSE = """
import json, sys, time, warnings
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization
from airflow.models.serialized_dag import SerializedDagModel
import forge.config
from pathlib import Path
before = set(sys.modules)
found = {"dags": {}, "heavy": {}, "seconds": {}}
warnings.simplefilter("error")
for path in sorted(Path(sys.argv[1]).glob("*.py")):
    started = time.monotonic()
    bag = DagBag(str(path))
    found["seconds"][path.name] = time.monotonic() - started
    found.setdefault("errors", {}).update(bag.import_errors)
    for dag_id, dag in bag.dags.items():
        found["dags"][dag_id] = {
            "file": path.name,
            "hash": SerializedDagModel.hash(DagSerialization.to_dict(dag)),
            "doc": dag.doc_md,
            "tags": sorted(dag.tags),
            "max_active_runs": dag.max_active_runs,
            "schedule": type(dag.timetable).__name__,
            "params": sorted(dag.params),
            "tasks": {
                task.task_id: {
                    "doc": task.doc_md, "retries": task.retries, "pool": task.pool,
                    "downstream": sorted(task.downstream_task_ids), "policy": type(task.retry_policy).__name__,
                    "outlets": [outlet.name for outlet in task.outlets], "arguments": getattr(task, "arguments", None),
                    "operator": type(task).__name__, "links": [link.name for link in task.operator_extra_links],
                }
                for task in dag.tasks
            },
        }
found["heavy"] = sorted({name.split(".")[0] for name in set(sys.modules) - before} & set(sys.argv[2].split(",")))
print("RESULT" + json.dumps(found, default=str))
"""


def parse(home: Path, seed: str = "0", profile: str = "demo", path: str = "", **variables: str) -> dict[str, Any]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "FORGE_"))},
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "FORGE_PROFILE": profile,
        "PYTHONHASHSEED": seed,
        **variables,
        "PYTHONPATH": os.pathsep.join([*filter(None, [path]), str(ROOT), str(ROOT / "plugins")]),
    }
    done = subprocess.run(
        [sys.executable, "-c", PARSE, str(ROOT / "dags"), ",".join(HEAVY)],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    assert lines, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(lines[0].removeprefix("RESULT"))
    return found


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return parse(tmp_path_factory.mktemp("airflow"))


def test_no_import_errors_and_the_file_list_is_complete(parsed: dict[str, Any]) -> None:
    assert parsed["errors"] == {}
    assert {path.name for path in (ROOT / "dags").rglob("*.py")} == set(FILES)
    assert {dag["file"]: dag_id for dag_id, dag in parsed["dags"].items()} == FILES


def test_parsing_is_fast_and_loads_nothing_heavy(parsed: dict[str, Any]) -> None:
    assert parsed["heavy"] == []
    # The first file also pays for importing airflow.sdk; a loaded machine may take a multiple of the usual 0.1 s.
    assert max(list(parsed["seconds"].values())[1:]) < 1.0
    assert sum(parsed["seconds"].values()) < 10.0


@pytest.mark.parametrize("seed", ["1", "2"])
def test_serialisation_does_not_depend_on_the_hash_seed(parsed: dict[str, Any], tmp_path: Path, seed: str) -> None:
    again = parse(tmp_path, seed)
    assert {name: dag["hash"] for name, dag in again["dags"].items()} == {
        name: dag["hash"] for name, dag in parsed["dags"].items()
    }


def test_every_dag_and_task_is_documented_tagged_and_retried(parsed: dict[str, Any]) -> None:
    for dag_id, dag in parsed["dags"].items():
        assert dag["doc"], dag_id
        assert f"### {dag_id}" in dag["doc"]
        assert dag["tags"], dag_id
        assert dag["max_active_runs"] == 1
        assert {"partition_key", "profile"} <= set(dag["params"])
        for task_id, task in dag["tasks"].items():
            where = f"{dag_id}.{task_id}"
            assert task["doc"], where
            assert task["retries"] >= 1, where
            if task["arguments"] is not None:
                assert task["policy"] == "ExceptionRetryPolicy", where


def test_corpus_refresh_runs_every_job_of_the_corpus_once_in_order(parsed: dict[str, Any]) -> None:
    dag = parsed["dags"]["corpus_refresh"]
    assert dag["schedule"] == "CronPartitionTimetable"
    order = ["crawl", "read", "render", "judge", "retrieve", "publish", "announce"]
    assert list(dag["tasks"]) == order
    assert [task["downstream"] for task in dag["tasks"].values()] == [[name] for name in order[1:]] + [[]]
    jobs = [job for name in order[:-1] for job in dag["tasks"][name]["arguments"] if job.isidentifier()]
    assert jobs == [
        "crawl",
        "extract_web",
        "parse_apis",
        "parse_trajectories",
        "read_texts",
        "elect_versions",
        "mine_usages",
        "pair_usages",
        "link_calls",
        "render",
        "measure",
        "deduplicate",
        "decontaminate",
        "retrieve",
        "mix",
        "audit",
        "publish",
    ]
    assert {dag["tasks"][name]["pool"] for name in order[:-1]} == {"spark"}
    assert [name for name in order if dag["tasks"][name]["outlets"]] == ["announce"], "only a new release is an event"


def test_no_nightly_run_trains_the_classifier(parsed: dict[str, Any]) -> None:
    dags = parsed["dags"]
    using = {name for name, dag in dags.items() if "train_classifier" in dag["tasks"]}
    assert using == {"train_classifier"}
    assert dags["train_classifier"]["schedule"] == "PartitionedAtRuntime"


def test_training_is_estimated_and_waits_for_approval_where_the_profile_says_so(
    parsed: dict[str, Any], tmp_path: Path
) -> None:
    spending = ["pretrain_i", "pretrain_ii", "finetune", "evaluate", "promote"]
    for order, found in (
        (["choose_release", "estimate", *spending], parsed),
        (["choose_release", "estimate", "approve", *spending], parse(tmp_path, profile="cluster")),
    ):
        dag = found["dags"]["train_model"]
        assert dag["schedule"] == "PartitionedAssetTimetable"
        assert list(dag["tasks"]) == order
        # The release reaches every command; beside that, one follows the other: nothing is spent before the approval.
        for name, following in itertools.pairwise(order):
            assert following in dag["tasks"][name]["downstream"]
        assert all(dag["tasks"][name]["retries"] >= 8 for name in spending), "a machine may be taken away often"
        for name in spending:
            report = ["Evaluation report"] if name in ("evaluate", "promote") else []
            assert dag["tasks"][name]["links"] == ["TensorBoard", *report]
        checkpoints = [argument for argument in dag["tasks"]["evaluate"]["arguments"] if not argument.startswith("-")]
        assert checkpoints[-4:] == ["base", "I", "II", "III"], "before and after in one task"


@pytest.mark.parametrize(
    ("kind", "operator"), [("ssh", "SshTrainingOperator"), ("kubernetes", "KubernetesTrainingOperator")]
)
def test_the_launcher_of_the_settings_is_used(tmp_path: Path, kind: str, operator: str) -> None:
    image = "registry.invalid/forge:1"
    found = parse(tmp_path, FORGE__TRAINING__LAUNCHER__KIND=kind, FORGE__TRAINING__LAUNCHER__IMAGE=image)
    assert found["errors"] == {}
    assert found["heavy"] == []
    tasks = found["dags"]["train_model"]["tasks"]
    assert {task["operator"] for name, task in tasks.items() if name != "choose_release"} == {operator}
    assert {task["policy"] for name, task in tasks.items() if name != "choose_release"} == {"ExceptionRetryPolicy"}


def test_a_launcher_whose_provider_is_missing_names_the_extra(tmp_path: Path) -> None:
    for name, kind in (("paramiko", "ssh"), ("kubernetes", "kubernetes")):
        # A package that cannot be imported, before the installed one on the path.
        (tmp_path / kind / name).mkdir(parents=True)
        (tmp_path / kind / name / "__init__.py").write_text("raise ImportError('not installed')")
        found = parse(tmp_path, path=str(tmp_path / kind), FORGE__TRAINING__LAUNCHER__KIND=kind)
        (error,) = found["errors"].values()
        assert f"training.launcher.kind: {kind} needs" in error
        assert "extra `remote`" in error
        assert set(found["dags"]) == {"corpus_refresh", "train_classifier"}
