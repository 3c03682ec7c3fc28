"""The one plugin file that Airflow's loader sees; everything else of ours is the package ``forge_airflow``.

The loader imports a plugin file under its bare name, so a package below this folder must not be walked:
``.airflowignore`` names it.
"""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from forge_airflow.links import REPORTS_PREFIX, EvaluationReportLink, SparkInterfaceLink, TensorBoardLink


class ForgePlugin(AirflowPlugin):
    """Registers what the API server must know of our operators."""

    name = "forge"
    operator_extra_links = [SparkInterfaceLink(), TensorBoardLink(), EvaluationReportLink()]  # noqa: RUF012 - Airflow's convention

    @property
    def fastapi_apps(self) -> list[Any]:  # type: ignore[override]
        """The evaluation reports. Only the API server asks for it: no task and no scheduler pays for the import."""
        from forge_airflow.reports import reports_app

        return [{"app": reports_app(), "url_prefix": REPORTS_PREFIX, "name": "Evaluation reports"}]
