"""Evaluation reports in Airflow's web interface: ``/forge/reports/<run_id>/report.html``, read only.

The page lies in ``runs/<run_id>/`` of the home of this Airflow's profile, on the machine of the API server. Whoever may
read the task logs of `train_model` may read it: a report quotes what models wrote, so it is served in a sandbox of its
own, without scripts, cookies or anything to load.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from urllib.parse import urlencode

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException as HttpError

from forge.config import load_settings
from forge_airflow.links import REPORT, REPORTS_PREFIX, RUN_ID

DAG_ID = "train_model"
MAX_REPORT_BYTES = 32 * 1024 * 1024
HEADERS = {
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, no-store",
}


def report_path(runs: Path, run_id: str) -> Path | None:
    """The report of a run; None where there is none, or something else than a plain file below ``runs``."""
    if re.fullmatch(RUN_ID, run_id) is None:
        return None
    path = runs / run_id / REPORT
    try:
        is_below = path.resolve(strict=True) == runs.resolve(strict=True) / run_id / REPORT
    except OSError:
        return None
    return path if is_below else None


def read_report(path: Path) -> bytes | None:
    """The bytes of a plain file of at most :data:`MAX_REPORT_BYTES`; None where it is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_REPORT_BYTES:
            return None
        return file.read(MAX_REPORT_BYTES)


def may_read(user: GetUserDep) -> None:
    """Raises 401 without a valid session, 403 for a user who may not read the task logs of `train_model`."""
    is_allowed = get_auth_manager().is_authorized_dag(
        method="GET", access_entity=DagAccessEntity.TASK_LOGS, details=DagDetails(id=DAG_ID), user=user
    )
    if not is_allowed:
        raise HTTPException(403, f"this user may not read the task logs of {DAG_ID}")


def reports_app() -> FastAPI:
    """The application that the API server mounts under :data:`forge_airflow.links.REPORTS_PREFIX`."""
    app = FastAPI(title="Evaluation reports", openapi_url=None)

    @app.get("/{run_id}/" + REPORT, dependencies=[Depends(may_read)])
    def report(run_id: str) -> Response:
        path = report_path(load_settings().home_path / "runs", run_id)
        content = read_report(path) if path is not None else None
        if content is None:
            raise HTTPException(404, "there is no evaluation report of this run on the machine of the API server")
        return HTMLResponse(content, headers=HEADERS)

    @app.exception_handler(HttpError)
    async def refused(request: Request, error: HttpError) -> Response:
        """A browser without a session is sent to the login page and comes back."""
        if error.status_code == 401 and "text/html" in request.headers.get("accept", ""):
            base = request.scope.get("root_path", "").removesuffix(REPORTS_PREFIX)
            return RedirectResponse(f"{base}/api/v2/auth/login?{urlencode({'next': str(request.url)})}", 302)
        return JSONResponse({"detail": error.detail}, error.status_code)

    return app
