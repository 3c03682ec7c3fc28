"""Training as a Kubernetes job: the object that is sent, and what the operator makes of a job's life.

There is no cluster here. The API server is a stand-in that speaks the few routes over HTTP to the provider's client;
its one node runs the container's command as a process. It shows that the operator follows, maps and deletes; how a
real cluster schedules, mounts and evicts is not shown.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from forge.config import LauncherSettings
from forge_airflow import kubernetes_training, operators
from forge_airflow.kubernetes_training import KubernetesTrainingOperator
from forge_airflow.links import TensorBoardLink

pytestmark = pytest.mark.airflow

ROOT = Path(__file__).resolve().parents[2]
LAUNCHER = LauncherSettings(
    kind="kubernetes", connection="forge_training", namespace="ml", image="registry.invalid/forge:1", gpus=2
)


class Cluster:
    """Jobs by name, each with one pod, whose command runs as a process of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.jobs: dict[str, dict[str, Any]] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.waiting: dict[str, str] | None = None
        self.calls: list[str] = []
        self.cut_log_after: int | None = None

    def log_path(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def create(self, job: dict[str, Any]) -> dict[str, Any]:
        name = job["metadata"]["name"]
        container = job["spec"]["template"]["spec"]["containers"][0]
        variables = {entry["name"]: entry.get("value", "") for entry in container["env"]}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("FORGE", "AIRFLOW"))}
        home = {"FORGE__HOME": str(self.folder / "home")}
        path = os.pathsep.join([str(ROOT), str(ROOT / "plugins"), str(self.folder / "image")])
        self.jobs[name] = job
        if self.waiting is None:
            with self.log_path(name).open("wb") as log:
                self.processes[name] = subprocess.Popen(
                    [sys.executable, *container["command"][1:], *container.get("args", [])],
                    env={**kept, **home, **variables, "PYTHONPATH": path, "FORGE_CHECKOUT": str(self.folder / "image")},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
        return job

    def delete(self, name: str) -> None:
        process = self.processes.get(name)
        if process is not None and process.poll() is None:
            process.terminate()
            process.wait(30)
        self.jobs.pop(name)

    def job(self, name: str) -> dict[str, Any]:
        process = self.processes.get(name)
        code = process.poll() if process is not None else None
        ended = [{"type": "Failed" if code else "Complete", "status": "True"}] if code is not None else []
        return {**self.jobs[name], "status": {"conditions": ended}}

    def pod(self, name: str) -> dict[str, Any]:
        process = self.processes.get(name)
        state: dict[str, Any] = {"waiting": self.waiting}
        if process is not None:
            code = process.poll()
            ended = {"exitCode": code if code is None or code >= 0 else 128 - code, "reason": "Error"}
            state = {"running": {}} if code is None else {"terminated": ended}
        status = {"name": "base", "state": state, "ready": True, "restartCount": 0, "image": "", "imageID": ""}
        return {
            "metadata": {"name": f"{name}-x", "namespace": "ml"},
            "status": {"phase": "Pending" if self.waiting else "Running", "containerStatuses": [status]},
        }


def handler_of(cluster: Cluster) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: Any) -> None:
            pass

        def answer(self, content: Any, code: int = 200) -> None:
            body = json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def parts(self) -> tuple[list[str], dict[str, list[str]]]:
            cluster.calls.append(f"{self.command} {self.path}")
            found = urlsplit(self.path)
            return found.path.strip("/").split("/"), parse_qs(found.query)

        def do_POST(self) -> None:
            self.parts()
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if body["metadata"]["name"] in cluster.jobs:
                return self.answer({"reason": "AlreadyExists"}, 409)
            return self.answer(cluster.create(body), 201)

        def do_DELETE(self) -> None:
            parts, _ = self.parts()
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if parts[-1] not in cluster.jobs:
                return self.answer({"reason": "NotFound"}, 404)
            cluster.delete(parts[-1])
            return self.answer({})

        def do_GET(self) -> None:
            parts, query = self.parts()
            if parts[-1] == "log":
                return self.follow(parts[-2].removesuffix("-x"))
            if parts[-1] == "pods":
                name = query["labelSelector"][0].removeprefix("job-name=")
                return self.answer({"items": [cluster.pod(name)] if name in cluster.jobs else []})
            kind, name = parts[-2], parts[-1].removesuffix("-x")
            if name not in cluster.jobs:
                return self.answer({"reason": "NotFound"}, 404)
            return self.answer(cluster.job(name) if kind == "jobs" else cluster.pod(name))

        def follow(self, name: str) -> None:
            """The log with time stamps, in one go at the end of the process or, when it is to be cut, before."""
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            sent = 0
            while True:
                ended = cluster.processes[name].poll() is not None
                lines = cluster.log_path(name).read_bytes().splitlines(keepends=True)
                for number in range(sent, len(lines)):
                    stamped = f"2026-11-21T00:00:{number:012.9f}Z ".encode() + lines[number]
                    self.wfile.write(f"{len(stamped):x}\r\n".encode() + stamped + b"\r\n")
                    sent = number + 1
                    if cluster.cut_log_after == sent:
                        cluster.cut_log_after = None
                        self.close_connection = True
                        return
                if ended:
                    break
                time.sleep(0.02)
            self.wfile.write(b"0\r\n\r\n")

    return Handler


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    (tmp_path / "image" / "training").mkdir(parents=True)
    (tmp_path / "image" / "conf").symlink_to(ROOT / "conf")
    (tmp_path / "image" / "training" / "__init__.py").write_text("")
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(made))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    configuration = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_address[1]}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    connection = {"conn_type": "kubernetes", "extra": {"kube_config": json.dumps(configuration)}}
    monkeypatch.setenv("AIRFLOW_CONN_FORGE_TRAINING", json.dumps(connection))
    monkeypatch.setenv("FORGE__HOME", str(tmp_path / "near"))
    monkeypatch.setattr(kubernetes_training, "POLL_SECONDS", 0.05)
    yield made
    server.shutdown()
    server.server_close()
    for process in made.processes.values():
        process.kill()
        process.wait()


@pytest.fixture
def task_context(context: Callable[..., Any]) -> Any:
    """With what the provider asks of a context beside ours."""
    made = context()
    instance = made["ti"]
    instance.try_number, instance.run_id, instance.dag_run = 1, "manual__1", made["dag_run"]
    made["task_instance"] = instance
    made["dag"] = SimpleNamespace(dag_id="dag")
    made["dag_run"].logical_date = made["dag_run"].run_after = None
    return made


def task(cluster: Cluster, code: str, **kwargs: Any) -> KubernetesTrainingOperator:
    (cluster.folder / "image" / "training" / "pretrain.py").write_text(code)
    return KubernetesTrainingOperator(
        task_id="pretrain_i",
        command="pretrain",
        release="r1",
        arguments=["--stage", "I"],
        launcher=LAUNCHER,
        gpus=LAUNCHER.gpus,
        **kwargs,
    )


WAIT = """
import signal, time
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
print("working", flush=True)
while not asked:
    time.sleep(0.02)
print("saved", flush=True)
raise SystemExit(75)
"""


def test_the_job_that_is_sent(cluster: Cluster, task_context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORGE__TRAINING__SEED", "12")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-of-a-secret")
    job = task(cluster, "", processes=2).build_job_request_obj(task_context)
    again = task(cluster, "", processes=2).build_job_request_obj(task_context)
    assert job.metadata.name == again.metadata.name, "every try finds the same job"
    assert len(job.metadata.name) <= 63
    assert job.metadata.namespace == "ml"
    assert (job.spec.backoff_limit, job.spec.completions, job.spec.parallelism) == (0, 1, 1)
    pod = job.spec.template.spec
    assert pod.restart_policy == "Never"
    assert pod.termination_grace_period_seconds >= 60
    (container,) = pod.containers
    assert container.image == "registry.invalid/forge:1"
    assert container.command == ["python", "-m", "forge_airflow.remote"]
    assert container.resources.limits == {"nvidia.com/gpu": "2"}
    assert container.volume_mounts[0].mount_path == "/dev/shm"
    variables = {entry.name: entry.value for entry in container.env}
    assert variables["FORGE__TRAINING__SEED"] == "12"
    assert variables["FORGE_PARTITION"] == "2026-11-21"
    request = json.loads(variables["FORGE_REQUEST"])
    ranks = ["forge_airflow.ranks", "--processes", "2"]
    assert request["command"] == [
        *ranks, "training.pretrain", "--release", "r1", "--stage", "I", "--profile", "demo"
    ]  # fmt: skip
    assert "canary" not in str(job)
    assert "FORGE__HOME" not in variables, "the home is the pod's own"


def test_the_pod_template_is_completed(
    cluster: Cluster, task_context: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    conf = tmp_path / "conf"
    conf.mkdir()
    for path in (ROOT / "conf").iterdir():
        (conf / path.name).symlink_to(path)
    (conf / "training_pod.yaml").write_text(
        "spec:\n"
        "  nodeSelector: {gpu: h200}\n"
        "  containers:\n"
        "    - name: base\n"
        "      envFrom: [{secretRef: {name: object-store}}]\n"
        "      volumeMounts: [{name: home, mountPath: /home}]\n"
        "  volumes: [{name: home, persistentVolumeClaim: {claimName: forge}}]\n"
    )
    monkeypatch.setenv("FORGE_CONF", str(conf))
    pod = task(cluster, "").build_job_request_obj(task_context).spec.template.spec
    assert pod.node_selector == {"gpu": "h200"}
    assert {volume.name for volume in pod.volumes} == {"home", "shm"}
    assert pod.containers[0].env_from[0].secret_ref.name == "object-store"
    assert {mount.mount_path for mount in pod.containers[0].volume_mounts} == {"/home", "/dev/shm"}
    assert pod.containers[0].image == "registry.invalid/forge:1"


def test_output_result_and_link(cluster: Cluster, task_context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORGE_TENSORBOARD", "http://127.0.0.1:6006/")
    cluster.cut_log_after = 2
    code = (
        "import json, os, sys, time\n"
        "print('run 0123456789abcdef release r1', flush=True)\n"
        "for step in range(5):\n    print('step', step, flush=True)\n    time.sleep(0.05)\n"
        "json.dump({'arguments': sys.argv[1:]}, open(os.environ['FORGE_RESULT'], 'w'))\n"
    )
    found = task(cluster, code).execute(task_context)
    assert found == {"arguments": ["--release", "r1", "--stage", "I", "--profile", "demo"]}
    lines = (cluster.folder / "near" / "progress" / "2026-11-21.jsonl").read_text().splitlines()
    said = [json.loads(line)["message"] for line in lines]
    assert said == ["run 0123456789abcdef release r1", *(f"step {step}" for step in range(5))], "no line twice"
    link = "http://127.0.0.1:6006/?runFilter=0123456789abcdef#timeseries"
    assert task_context["ti"].pushed[TensorBoardLink.key] == link
    assert sum("/log" in call for call in cluster.calls) >= 2, "the log was taken up after the cut"


@pytest.mark.parametrize(
    ("ending", "error"),
    [
        ("raise SystemExit(1)", operators.CommandFailedError),
        ("raise SystemExit(3)", operators.ResultRefusedError),
        ("raise SystemExit(75)", operators.TemporarilyUnavailableError),
        ("raise SystemExit(78)", operators.InvalidConfigurationError),
        ("import os; os.kill(os.getppid(), 9)", operators.TemporarilyUnavailableError),  # the pod is killed
    ],
)
def test_exit_codes_mean_what_they_mean_here(
    cluster: Cluster, task_context: Any, ending: str, error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        task(cluster, ending).execute(task_context)
    assert type(caught.value) is error


def test_a_killed_task_deletes_the_job_and_the_command_saves(cluster: Cluster, task_context: Any) -> None:
    made = task(cluster, WAIT)

    def kill() -> None:
        while not any(path.read_text() for path in cluster.folder.glob("*.log")):
            time.sleep(0.05)
        made.on_kill()

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    with pytest.raises(operators.TemporarilyUnavailableError, match="taken away"):
        made.execute(task_context)
    killer.join()
    assert cluster.jobs == {}
    (log,) = cluster.folder.glob("*.log")
    assert log.read_text().split() == ["working", "saved"]
    assert [process.returncode for process in cluster.processes.values()] == [75]


def test_a_second_try_follows_the_job_of_the_first(cluster: Cluster, task_context: Any) -> None:
    first = task(cluster, WAIT)
    cluster.create(json.loads(json.dumps(first.hook.batch_v1_client.api_client.sanitize_for_serialization(
        first.build_job_request_obj(task_context)
    ))))  # fmt: skip
    (process,) = cluster.processes.values()
    threading.Timer(1.5, lambda: process.send_signal(signal.SIGTERM)).start()
    with pytest.raises(operators.TemporarilyUnavailableError, match="exit code 75"):
        task(cluster, WAIT).execute(task_context)
    assert len(cluster.processes) == 1
    assert not any(call.startswith(("POST", "DELETE")) for call in cluster.calls)


def test_a_job_that_runs_something_else_or_has_ended_is_replaced(cluster: Cluster, task_context: Any) -> None:
    with pytest.raises(operators.CommandFailedError):
        task(cluster, "raise SystemExit(1)").execute(task_context)
    assert task(cluster, "print('again')").execute(task_context) is None
    assert [call.split()[0] for call in cluster.calls if not call.startswith("GET")] == ["POST", "DELETE", "POST"]


def test_an_image_that_cannot_be_is_a_configuration_error(cluster: Cluster, task_context: Any) -> None:
    cluster.waiting = {"reason": "InvalidImageName", "message": "couldn't parse image name"}
    with pytest.raises(operators.InvalidConfigurationError, match="InvalidImageName"):
        task(cluster, "").execute(task_context)


def test_an_image_is_needed() -> None:
    with pytest.raises(ValueError, match=r"training\.launcher\.image"):
        KubernetesTrainingOperator(
            task_id="t", command="pretrain", release="r", launcher=LauncherSettings(kind="kubernetes")
        )
