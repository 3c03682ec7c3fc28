"""Links that the Airflow UI shows beside a task. An operator leaves the address in XCom as soon as it knows it."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink
from airflow.sdk.configuration import conf
from airflow.sdk.execution_time.xcom import XCom

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context
    from airflow.sdk.types import TaskInstanceKey

SPARK_INTERFACE_LINE = re.compile(r"\bSpark UI: (https?://\S+)")
"""How a Spark application says in its output where its web interface is."""

TENSORBOARD_LINE = re.compile(r"\bTensorBoard: (https?://\S+)")
"""How a training command says that its curves are to be seen elsewhere."""

RUN_ID = r"[0-9a-f]{16}"
RUN_LINE = re.compile(rf"^run ({RUN_ID}) release ")
"""How a training command says which folder of ``runs/`` is its own."""

REPORT_LINE = re.compile(r"^evaluation report: (.+)$")
"""How an evaluation says where its report is: a path, or an address."""

PROMOTION_LINE = re.compile(r"^promotion: ((?:promoted|refused)\b.*)$")
"""How a command says what became of the trained model."""

REPORT = "report.html"
REPORTS_PREFIX = "/forge/reports"
"""Where the API server shows reports (:mod:`forge_airflow.reports`)."""


class _AddressLink(BaseOperatorLink):
    """An address that the operator left in XCom under `key`; empty before."""

    key: str

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002
        """Address that the running operator left in XCom."""
        found: Any = XCom.get_value(key=self.key, ti_key=ti_key)
        return str(found or "")

    def leave(self, context: Context, address: str) -> None:
        """Make the link lead to `address` from now on; empty: nowhere."""
        context["ti"].xcom_push(key=self.key, value=address)
        context["ti"].xcom_push(key=self.xcom_key, value=address)


class SparkInterfaceLink(_AddressLink):
    """The web interface of the Spark application that the task runs; empty before it has started one."""

    name = "Spark UI"
    key = "spark_interface"


class TensorBoardLink(_AddressLink):
    """TensorBoard with the curves of the run that the task trains or measures; empty where no TensorBoard is known."""

    name = "TensorBoard"
    key = "tensorboard"


class EvaluationReportLink(_AddressLink):
    """The report of the evaluation: figures with intervals, before and after. Empty until it is written."""

    name = "Evaluation report"
    key = "evaluation_report"


def address_of_report(said: str) -> str:
    """Where the web interface shows the report that a command has written: ``runs/<run_id>/report.html`` of some home.
    An address is left as it is; "" for any other file, which nothing serves."""
    if re.fullmatch(r"https?://\S+", said):
        return said
    parts = PurePosixPath(said).parts[-3:]
    if len(parts) < 3 or parts[0] != "runs" or parts[2] != REPORT or not re.fullmatch(RUN_ID, parts[1]):
        return ""
    return f"{conf.get('api', 'base_url', fallback='').rstrip('/')}{REPORTS_PREFIX}/{parts[1]}/{REPORT}"


def tensorboard_of_run(base: str, run_id: str) -> str:
    """Address of the curves of one run. `base`: address of a TensorBoard whose log folder is ``runs/``."""
    return f"{base.rstrip('/')}/?runFilter={run_id}#timeseries"
