"""Links that the Airflow UI shows beside a task."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink
from airflow.sdk.execution_time.xcom import XCom

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

SPARK_INTERFACE_KEY = "spark_interface"
"""XCom key under which an operator leaves the address of the Spark application's web interface."""

SPARK_INTERFACE_LINE = re.compile(r"\bSpark UI: (https?://\S+)")
"""How a Spark application says in its output where its web interface is."""


class SparkInterfaceLink(BaseOperatorLink):
    """The web interface of the Spark application that the task runs; empty before it has started one."""

    name = "Spark UI"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002
        """Address that the running operator left in XCom."""
        found: Any = XCom.get_value(key=SPARK_INTERFACE_KEY, ti_key=ti_key)
        return str(found or "")
