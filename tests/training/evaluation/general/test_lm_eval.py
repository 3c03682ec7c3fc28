"""Against lm-eval itself, where it is installed (extra ``bench``)."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.lm_eval_agreement import TASKS, compared, measure, report
from forge.config import load_settings
from training.evaluation.general.olmo_files import olmo_files
from training.evaluation.task import NotEvaluated


def side(right: list[float], likelihoods: list[float], **more: Any) -> dict[str, Any]:
    items = [
        {
            "measures": {"accuracy": [one, 1.0]},
            "metrics": {"acc": one},
            "log_likelihoods": [found],
            "prompts": [["a", " b"]],
        }
        for one, found in zip(right, likelihoods, strict=True)
    ]
    return {"items": items, "prompts": [[["a", " b"]]] * len(items), "cpu_seconds": 2.0, **more}


def test_what_differs_is_counted_and_misses_the_bar() -> None:
    ours, theirs = side([1.0, 0.0, 1.0, 1.0], [-1.0] * 4), side([1.0, 1.0, 0.0, 0.0], [-1.0, -1.5, -1.0, -1.0])
    theirs["items"][3]["prompts"] = [["a ", "b"]]
    found = compared(ours, theirs)
    assert found["accuracy"] == {"ours": 75.0, "lm_eval": 50.0, "points": 25.0, "differing_decisions": 3}
    assert found["largest_log_likelihood_difference"] == 0.5
    assert found["differing_prompts"] == 1
    assert [bar["passed"] for bar in report({"piqa": found}, "m")["bars"]] == [False, False]
    assert all(bar["passed"] for bar in report({"piqa": compared(ours, ours)}, "m")["bars"])


@pytest.mark.slow  # lm-eval's import and its forward passes without shared contexts take a minute
@pytest.mark.model
def test_every_task_agrees_on_prompts_likelihoods_and_decisions() -> None:
    pytest.importorskip("lm_eval")
    try:
        olmo_files(load_settings())
    except NotEvaluated as reason:
        pytest.skip(str(reason))
    ours, theirs = measure("ours", TASKS, "tiny", 12), measure("lm_eval", TASKS, "tiny", 12)
    for name in TASKS:
        found = compared(ours[name], theirs[name])
        assert found["differing_prompts"] == 0
        assert found["largest_log_likelihood_difference"] < 1e-3
        assert found["accuracy"]["differing_decisions"] == 0
