"""What a task of training keeps of its command's output: where the report is, what became of the model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.airflow

RUN = "0123456789abcdef"


@pytest.fixture
def said(
    context: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], dict[str, Any]]:
    """A function of one line of a command's output: what the task has in XCom afterwards."""
    from forge_airflow.training_operators import note_line

    monkeypatch.setenv("FORGE__HOME", str(tmp_path))
    monkeypatch.delenv("FORGE_TENSORBOARD", raising=False)

    def after(line: str) -> dict[str, Any]:
        given = context()
        note_line("evaluate", line, given)
        pushed: dict[str, Any] = given["ti"].pushed
        return pushed

    return after


def test_a_written_report_becomes_the_link(
    said: Callable[[str], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from forge_airflow.links import EvaluationReportLink

    line = f"evaluation report: /some where/home/runs/{RUN}/report.html"
    assert said(line)[EvaluationReportLink.key] == f"/forge/reports/{RUN}/report.html"
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example/team/")
    pushed = said(line)
    assert pushed[EvaluationReportLink.key] == f"https://airflow.example/team/forge/reports/{RUN}/report.html"
    assert pushed[EvaluationReportLink().xcom_key] == pushed[EvaluationReportLink.key]
    elsewhere = "https://reports.example/1"
    assert said(f"evaluation report: {elsewhere}")[EvaluationReportLink.key] == elsewhere


@pytest.mark.parametrize(
    "path",
    [
        "report.html",
        "/home/models/mine/report.html",
        "/home/runs/../report.html",
        f"/home/runs/{RUN}/other.html",
        f"/home/runs/{RUN.upper()}/report.html",
        "javascript:alert(1)",
        "https://reports.example/ a",
    ],
)
def test_what_nothing_serves_is_no_link(said: Callable[[str], dict[str, Any]], path: str) -> None:
    from forge_airflow.links import EvaluationReportLink

    assert said(f"evaluation report: {path}")[EvaluationReportLink.key] == ""


def test_the_verdict_is_kept_as_it_was_said(said: Callable[[str], dict[str, Any]]) -> None:
    assert said("promotion: refused: winogrande may have fallen")["promotion"] == "refused: winogrande may have fallen"
    assert said("promotion: promoted: models/promoted is stage III")["promotion"].startswith("promoted: ")
    assert len(said("promotion: refused: " + "x" * 5000)["promotion"]) == 1000
    assert said("promotion: whatever") == {}
    assert said("it says promotion: refused: no") == {}


def test_only_tasks_that_evaluate_or_promote_have_the_link() -> None:
    from forge.config import load_settings
    from forge_airflow.training_tasks import training_task

    def links(command: str) -> list[str]:
        task = training_task(load_settings("demo"), "task", command, "release", doc_md="")
        return [link.name for link in task.operator_extra_links]

    assert links("evaluate") == links("promote") == ["TensorBoard", "Evaluation report"]
    assert links("pretrain") == ["TensorBoard"]


def test_a_refused_promotion_fails_at_once() -> None:
    from airflow.sdk.exceptions import AirflowFailException

    from forge_airflow.operators import raise_for_code

    with pytest.raises(AirflowFailException, match=r"python -m training\.promote ended with exit code 4"):
        raise_for_code(4, "training.promote")
