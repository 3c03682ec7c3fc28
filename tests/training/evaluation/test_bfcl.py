"""The real benchmark files, when the artifact is unpacked: every gold answer passes our own checker."""

from __future__ import annotations

import pytest

from forge.artifacts import artifact_path
from forge.config import ConfigurationError, load_settings
from training.evaluation.ast_accuracy import check
from training.evaluation.bfcl import bfcl_items


def test_every_gold_answer_passes():
    try:
        artifact = artifact_path(load_settings("demo"), "bfcl")
    except ConfigurationError:
        pytest.skip("artifact bfcl is not unpacked")
    assert artifact is not None
    items = bfcl_items(artifact)
    assert len(items) == 600
    assert {item.item_id: answer.problem for item in items if (answer := check(item, item.gold_call)).problem} == {}
