"""Training as a job of a Kubernetes cluster, by the job operator of Airflow's Kubernetes provider.

The provider builds, creates and (when the task is killed) deletes the job. Following it is ours: the provider's
operator shows the log when the job has ended, and says of its end only that it failed. The job's name is that of the
task and night: a try that finds the job of an earlier one still running goes on following it, so no try trains beside
another.

What the pod needs beyond ``training.launcher`` (a volume for ``home``, secrets with AWS_* variables, node selectors)
stands in ``conf/training_pod.yaml``, a pod template whose first container is ours.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from forge.config import LauncherSettings, checkout
from forge_airflow.operators import (
    RETRY_POLICY,
    InvalidConfigurationError,
    TemporarilyUnavailableError,
    job_key_of,
    raise_for_code,
    result_of,
    run_variables,
    setting_variables,
)
from forge_airflow.remote import REQUEST_VARIABLE, Request
from forge_airflow.training_operators import (
    CHECKPOINT_SECONDS,
    clear_links,
    links_of,
    module_command,
    note_line,
    training_defaults,
)

try:
    from airflow.providers.cncf.kubernetes.operators.job import KubernetesJobOperator
    from kubernetes.client import models
    from kubernetes.client.rest import ApiException
    from urllib3.exceptions import HTTPError
except ImportError as error:
    raise ImportError(
        "training.launcher.kind: kubernetes needs apache-airflow-providers-cncf-kubernetes: install the extra "
        "`remote` of this project"
    ) from error

if TYPE_CHECKING:
    from airflow.sdk import Context

POD_TEMPLATE = "training_pod.yaml"
CONTAINER = "base"
POLL_SECONDS = 5.0
CONNECT_SECONDS = 30.0
SILENCE_SECONDS = 300.0
"""Without a line for so long, the log is asked for again: the connection may be dead."""
KEPT_SECONDS = 24 * 3600
"""How long a finished job stays to be looked at; the next try of its task deletes it before."""

SAME_REQUEST = "forge/request"
RESULT_MARK = "forge/result-mark"
"""Annotations of a job: what it runs (a hash), and the word that marks the result in its output."""

HOPELESS = ("InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError")


def pod_template() -> str | None:
    """Path of the pod template, None when there is none."""
    path = Path(os.environ.get("FORGE_CONF") or checkout() / "conf") / POD_TEMPLATE
    return str(path) if path.is_file() else None


class KubernetesTrainingOperator(KubernetesJobOperator):
    """Run ``training.COMMAND`` in one pod of a job, as `processes` ranks on `gpus` devices."""

    def __init__(
        self,
        *,
        command: str,
        release: str,
        launcher: LauncherSettings,
        arguments: Sequence[str] = (),
        processes: int = 1,
        gpus: int = 0,
        **kwargs: Any,
    ) -> None:
        if not launcher.image:
            raise ValueError("training.launcher.image: the Kubernetes launcher needs the image that holds this project")
        kwargs.setdefault("retry_policy", RETRY_POLICY)
        limits = {"nvidia.com/gpu": str(gpus)} if gpus else {}
        super().__init__(
            **training_defaults(kwargs),
            kubernetes_conn_id=launcher.connection,
            namespace=launcher.namespace,
            image=launcher.image,
            cmds=["python", "-m", "forge_airflow.remote"],
            arguments=["--release", release, *arguments],
            pod_template_file=pod_template(),
            container_resources=models.V1ResourceRequirements(limits=limits),
            # Ranks exchange data through shared memory; a container has 64 MiB of it otherwise.
            volumes=[models.V1Volume(name="shm", empty_dir=models.V1EmptyDirVolumeSource(medium="Memory"))],
            volume_mounts=[models.V1VolumeMount(name="shm", mount_path="/dev/shm")],  # noqa: S108 - in the pod
            base_container_name=CONTAINER,
            random_name_suffix=False,
            backoff_limit=0,  # Airflow retries
            parallelism=1,
            completions=1,
            ttl_seconds_after_finished=KEPT_SECONDS,
            termination_grace_period=int(CHECKPOINT_SECONDS) + 30,
            automount_service_account_token=False,
            do_xcom_push=False,
        )
        self.module = f"training.{command}"
        self.processes = processes
        self.operator_extra_links = links_of(command)
        self.arguments: list[str]

    def execute(self, context: Context) -> dict[str, Any] | None:
        """Create the job or take up the one that runs, relay its output, return its result object."""
        clear_links(self.operator_extra_links, context)
        job = self.build_job_request_obj(context)
        self.job = self._running_job(job) or self.create_job(job)
        mark = self.job.metadata.annotations[RESULT_MARK]
        pod = self._started_pod(self.job)
        result: dict[str, Any] | None = None
        for line in self._lines(pod):
            if line.startswith(mark):
                result = result_of(line.removeprefix(mark).encode(), "the result of the pod")
            else:
                self.log.info(line)
                note_line(self.task_id, line, context)
        raise_for_code(self._exit_code(pod), self.module)
        return result

    def build_job_request_obj(self, context: Context | None = None) -> models.V1Job:
        """The job: the provider's object with our name, our request and our marks."""
        if context is None:
            raise AirflowFailException("a job is built for a run")
        variables = {**setting_variables(context), **run_variables(context)}
        request = Request(
            job_key=job_key_of(context),
            command=tuple(
                module_command(self.module, self.processes, [*self.arguments, "--profile", variables["FORGE_PROFILE"]])
            ),
            variables={},
            result_mark=f"result-{secrets.token_hex(16)} ",
            checkpoint_seconds=CHECKPOINT_SECONDS,
        )
        self.name = f"forge-{self.task_id.replace('_', '-')[:30]}-{_short_hash(request.job_key)}"
        self.env_vars = {**variables, REQUEST_VARIABLE: request.to_json()}
        same = _short_hash(repr((self.image, request.command, sorted(variables.items()))))
        self.annotations = {SAME_REQUEST: same, RESULT_MARK: request.result_mark}
        given, self.arguments = self.arguments, []  # the request holds them
        try:
            return super().build_job_request_obj(context)
        finally:
            self.arguments = given

    def _running_job(self, wanted: models.V1Job) -> models.V1Job | None:
        """The job of an earlier try, if it runs the same; any other of that name is deleted first."""
        name, namespace = wanted.metadata.name, wanted.metadata.namespace
        found = self._read_job(name, namespace)
        if found is None:
            return None
        same = (found.metadata.annotations or {}).get(SAME_REQUEST) == wanted.metadata.annotations[SAME_REQUEST]
        if same and not self.hook.is_job_complete(found) and found.metadata.deletion_timestamp is None:
            self.log.info("job %s of an earlier try is running: following it", name)
            return found
        self.log.info("deleting job %s of an earlier try", name)
        try:
            self.job_client.delete_namespaced_job(name=name, namespace=namespace, propagation_policy="Foreground")
        except ApiException as error:
            if error.status != 404:
                raise
        while self._read_job(name, namespace) is not None:
            time.sleep(POLL_SECONDS)
        return None

    def _read_job(self, name: str, namespace: str) -> models.V1Job | None:
        try:
            return self.job_client.read_namespaced_job(name=name, namespace=namespace)
        except ApiException as error:
            if error.status == 404:
                return None
            raise

    def _started_pod(self, job: models.V1Job) -> models.V1Pod:
        """The pod of the job as soon as its container runs or has ended. GPUs may be waited for, for hours."""
        said = ""
        while True:
            pods = self.hook.core_v1_client.list_namespaced_pod(
                namespace=job.metadata.namespace, label_selector=f"job-name={job.metadata.name}"
            ).items
            for pod in pods:
                state = container_state(pod)
                if state is not None and (state.running or state.terminated):
                    self.log.info("pod %s", pod.metadata.name)
                    return pod
                reason = state.waiting.reason if state is not None and state.waiting else pod.status.phase
                if reason in HOPELESS:
                    raise InvalidConfigurationError(f"pod {pod.metadata.name}: {reason}: {state.waiting.message}")
                if reason != said:
                    self.log.info("pod %s: %s", pod.metadata.name, reason)
                    said = reason
            if not pods and (found := self._read_job(job.metadata.name, job.metadata.namespace)) is None:
                raise TemporarilyUnavailableError(f"job {job.metadata.name} was deleted before it ran")
            if not pods and self.hook.is_job_complete(found):
                raise TemporarilyUnavailableError(f"job {job.metadata.name} ended without a pod")
            time.sleep(POLL_SECONDS)

    def _lines(self, pod: models.V1Pod) -> Iterator[str]:
        """Lines of output until the container has ended. A broken connection is taken up after the last line."""
        last = ""
        while True:
            is_over = self._has_ended(pod)  # asked first: what is read after the end is all there is
            try:
                answer = self.hook.core_v1_client.read_namespaced_pod_log(
                    name=pod.metadata.name,
                    namespace=pod.metadata.namespace,
                    container=CONTAINER,
                    follow=True,
                    timestamps=True,
                    _preload_content=False,
                    _request_timeout=(CONNECT_SECONDS, SILENCE_SECONDS),
                )
                for stamp, line in _stamped_lines(answer):
                    if stamp > last:
                        last = stamp
                        yield line
            except ApiException as error:
                if error.status == 404:
                    return
                self.log.warning("the log of %s cannot be read: %s", pod.metadata.name, error.reason)
            except (HTTPError, OSError) as error:
                self.log.info("the connection to %s is taken up again: %s", pod.metadata.name, error)
            if is_over:
                return
            time.sleep(POLL_SECONDS)

    def _has_ended(self, pod: models.V1Pod) -> bool:
        found = self._read_pod(pod)
        state = container_state(found) if found is not None else None
        return found is None or (state is not None and state.terminated is not None)

    def _exit_code(self, pod: models.V1Pod) -> int:
        """Of our container. A pod that is gone was taken away: that is worth another try."""
        found = self._read_pod(pod)
        state = container_state(found) if found is not None else None
        if found is None or state is None or state.terminated is None:
            raise TemporarilyUnavailableError(f"pod {pod.metadata.name} was taken away")
        code = int(state.terminated.exit_code)
        if code == 137 and state.terminated.reason != "OOMKilled":
            raise TemporarilyUnavailableError(f"pod {pod.metadata.name} was killed: {found.status.reason or 'SIGKILL'}")
        return code

    def _read_pod(self, pod: models.V1Pod) -> models.V1Pod | None:
        try:
            return self.hook.core_v1_client.read_namespaced_pod(pod.metadata.name, pod.metadata.namespace)
        except ApiException as error:
            if error.status == 404:
                return None
            raise


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def container_state(pod: models.V1Pod) -> Any:
    """State (waiting, running, terminated) of our container, None before the kubelet knows it."""
    for status in pod.status.container_statuses or []:
        if status.name == CONTAINER:
            return status.state
    return None


def _stamped_lines(answer: Any) -> Iterator[tuple[str, str]]:
    """(time stamp, line) of a log that is being followed."""
    rest = b""
    for chunk in answer.stream(64 * 1024, decode_content=False):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            stamp, _, text = line.decode("utf-8", errors="replace").partition(" ")
            yield stamp, text
    if rest:
        stamp, _, text = rest.decode("utf-8", errors="replace").partition(" ")
        yield stamp, text
