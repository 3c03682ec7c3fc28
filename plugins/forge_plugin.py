"""The one plugin file that Airflow's loader sees; everything else of ours is the package ``forge_airflow``.

The loader imports a plugin file under its bare name, so a package below this folder must not be walked:
``.airflowignore`` names it.
"""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from forge_airflow.links import SparkInterfaceLink, TensorBoardLink


class ForgePlugin(AirflowPlugin):
    """Registers what the API server must know of our operators."""

    name = "forge"
    operator_extra_links = [SparkInterfaceLink(), TensorBoardLink()]  # noqa: RUF012 - Airflow's convention
