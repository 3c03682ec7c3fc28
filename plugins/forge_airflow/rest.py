"""Airflow's REST API as the local driver needs it. A thin client: every call names its route."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import httpx

ACTIVE_STATES = ("queued", "running")
FINAL_STATES = ("success", "failed", "skipped", "upstream_failed", "removed")


class RestError(Exception):
    """The API server answered with an error; the message names route, status and answer."""


class AirflowRest:
    """One user's view on one API server. `url`: without a trailing slash."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url
        self._credentials = {"username": user, "password": password}
        self._client = httpx.Client(base_url=url, timeout=30.0, trust_env=False)
        self._token = ""

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _login(self) -> None:
        answer = self._client.post("/auth/token", json=self._credentials)
        if answer.status_code not in (200, 201):
            raise RestError(f"POST /auth/token: {answer.status_code} {answer.text[:300]}")
        self._token = str(answer.json()["access_token"])

    def call(self, method: str, route: str, *, json: object = None, params: Mapping[str, Any] | None = None) -> Any:
        """Answer of one call, as JSON. Logs in when needed, repeats after a connection error. Raises RestError."""
        for attempt in range(4):
            try:
                if not self._token:
                    self._login()
                answer = self._client.request(
                    method,
                    f"/api/v2{route}",
                    json=json,
                    params=dict(params or {}),
                    headers={"Authorization": f"Bearer {self._token}"},
                )
            except httpx.TransportError as error:
                if attempt == 3:
                    raise RestError(f"{method} {route}: {error}") from error
                time.sleep(1.0 + attempt)
                continue
            if answer.status_code == 401 and attempt == 0:
                self._token = ""
                continue
            if answer.status_code >= 500 and attempt < 3:
                time.sleep(1.0 + attempt)
                continue
            if answer.status_code >= 400:
                raise RestError(f"{method} {route}: {answer.status_code} {answer.text[:500]}")
            return answer.json() if answer.content else None
        raise RestError(f"{method} {route}: no answer")

    def health(self) -> dict[str, str]:
        """Status by component; empty while the server does not answer."""
        try:
            answer = self._client.get("/api/v2/monitor/health", timeout=5.0)
            content = answer.json() if answer.status_code == 200 else {}
        except (httpx.TransportError, ValueError):
            return {}
        return {name: str((part or {}).get("status")) for name, part in content.items()}

    def ensure_pool(self, name: str, slots: int) -> None:
        """Create a pool, or leave the one that exists."""
        pools = self.call("GET", "/pools", params={"limit": 100})["pools"]
        if all(pool["name"] != name for pool in pools):
            self.call("POST", "/pools", json={"name": name, "slots": slots, "description": "Spark applications"})

    def dag_ids(self) -> set[str]:
        """DAGs that the dag-processor has parsed."""
        return {
            dag["dag_id"] for dag in self.call("GET", "/dags", params={"limit": 100, "exclude_stale": True})["dags"]
        }

    def import_errors(self, since: datetime) -> list[str]:
        """Files that could not be parsed since then, with the last line of the error. Older ones may be mended."""
        errors = self.call("GET", "/importErrors", params={"limit": 100})["import_errors"]
        return [
            f"{error['filename']}: {error['stack_trace'].strip().splitlines()[-1]}"
            for error in errors
            if datetime.fromisoformat(error["timestamp"]) >= since
        ]

    def unpause(self, dag_id: str) -> None:
        """Let a DAG run."""
        self.call("PATCH", f"/dags/{dag_id}", json={"is_paused": False})

    def all_runs(self, dag_id: str) -> list[dict[str, Any]]:
        """The newest hundred runs of a DAG, newest first."""
        params = {"limit": 100, "order_by": "-run_after"}
        found: list[dict[str, Any]] = self.call("GET", f"/dags/{dag_id}/dagRuns", params=params)["dag_runs"]
        return found

    def runs(self, dag_id: str, partition_key: str) -> list[dict[str, Any]]:
        """Those of them for one partition."""
        return [run for run in self.all_runs(dag_id) if run["partition_key"] == partition_key]

    def trigger(self, dag_id: str, partition_key: str) -> str:
        """Start a run for a partition; returns its run id."""
        body = {"logical_date": None, "partition_key": partition_key}
        return str(self.call("POST", f"/dags/{dag_id}/dagRuns", json=body)["dag_run_id"])

    def clear_failed(self, dag_id: str, run_id: str) -> None:
        """Let the failed tasks of a run, and those after them, run again."""
        body = {"dag_run_id": run_id, "only_failed": True, "dry_run": False, "reset_dag_runs": True}
        self.call("POST", f"/dags/{dag_id}/clearTaskInstances", json=body)

    def run_state(self, dag_id: str, run_id: str) -> str:
        """State of a run."""
        return str(self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Task instances of a run, in the order of their start."""
        found = self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", params={"limit": 100})
        instances: list[dict[str, Any]] = found["task_instances"]
        return sorted(instances, key=lambda task: (task["start_date"] or "9", task["task_id"]))

    def xcom(self, task: Mapping[str, Any], key: str) -> str:
        """What a task instance left under a key, as text; empty where it left nothing."""
        route = f"/dags/{task['dag_id']}/dagRuns/{task['dag_run_id']}/taskInstances/{task['task_id']}/xcomEntries"
        entries = self.call("GET", route, params={"limit": 100})["xcom_entries"]
        if all(entry["key"] != key for entry in entries):
            return ""
        return str(self.call("GET", f"{route}/{key}")["value"])
