"""Results without steps are recognised and give their reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given

from forge.trajectories.formats import registry
from forge.trajectories.formats.reflexion_memories import matches, read
from tests.forge.trajectories.formats.damage import damaged, reasons

SAMPLES = Path(__file__).resolve().parents[5] / "shared" / "samples"
RESULT = {"name": "env_7", "memory": ["I should have looked first."], "is_success": False, "skip": False}


def test_no_steps() -> None:
    assert registry.format_of_record(RESULT) == "reflexion_memories"
    assert reasons(read, RESULT) == ["no_steps"]
    assert not matches({"name": "env_7", "memory": []})


@given(damaged(RESULT))
def test_damage_is_no_exception(record: dict[str, Any]) -> None:
    matches(record)
    assert reasons(read, record) == ["no_steps"]


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="no samples beside the checkout")
def test_reflexions_results() -> None:
    files = sorted(SAMPLES.glob("reflexion/alfworld_runs/**/env_results_trial_*.json"))
    results = [result for file in files for result in orjson.loads(file.read_bytes())]
    assert (len(files), len(results)) == (22, 22 * 134)
    assert {registry.format_of_record(result) for result in results} == {"reflexion_memories"}
