"""Importing airflow writes into AIRFLOW_HOME: give it a folder of the test run's own. The context of a task."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="forge-airflow-tests-")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"


class Store(dict[str, Any]):
    """The two calls of Airflow's task state store that an operator makes."""

    def set(self, key: str, value: Any) -> None:
        self[key] = json.loads(json.dumps(value))


def _context(key: str | None = "2026-11-21", **params: Any) -> Any:
    pushed: dict[str, Any] = {}
    instance = SimpleNamespace(
        dag_id="dag",
        task_id="task",
        map_index=-1,
        pushed=pushed,
        xcom_push=lambda key, value: pushed.update({key: value}),
    )
    return {
        "dag_run": SimpleNamespace(partition_key=key),
        "params": {"partition_key": None, "profile": None, "disabled_sources": [], **params},
        "run_id": "manual__1",
        "ti": instance,
        "task_state_store": Store(),
    }


@pytest.fixture
def context() -> Callable[..., Any]:
    """A function that makes the part of a task's context which operators use: of a night, with parameters."""
    return _context
