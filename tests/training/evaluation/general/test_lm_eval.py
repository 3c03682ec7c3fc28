"""Against lm-eval itself, where it is installed (extra ``bench``)."""

from __future__ import annotations

import pytest

from benchmarks.lm_eval_agreement import TASKS, compared, measure
from forge.config import load_settings
from training.evaluation.general.olmo_files import olmo_files
from training.evaluation.task import NotEvaluated

# Its import and its forward passes without shared contexts take a minute.
pytestmark = [pytest.mark.slow, pytest.mark.model]


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
