"""What the benchmark makes of its measurements."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import trajectories

FOUND = {
    "files": 1, "episodes": 10, "steps": 100, "rejected": 0, "cpu_seconds": 0.01, "steps_per_cpu_second": 20_000,
    "peak_bytes": 90 * 1024**2, "documents": 20, "documents_sha256": "a",
}  # fmt: skip
LARGE = {"bytes": 10**9, "records": 5, "episodes": 5, "steps": 50, "cpu_seconds": 9.0, "peak_bytes": 120 * 1024**2}


def measured(**changes: Any) -> dict[str, dict[str, Any]]:
    return {
        "react": {**FOUND, **changes},
        "react_peer": {**FOUND, "steps_per_cpu_second": 2_000},
        "memory": {**LARGE, **changes},
        "memory_small": LARGE,
    }


def missed(found: dict[str, dict[str, Any]]) -> list[str]:
    return [bar["name"] for bar in trajectories.report(found)["bars"] if not bar["passed"]]


def test_a_report_holds_ratios_bars_and_whether_the_texts_agreed() -> None:
    result = trajectories.report(measured())
    assert set(result) == {"name", "machine", "versions", "ours", "peers", "ratios", "agreements", "bars"}
    assert result["ratios"] == {"react": 10.0}
    assert result["agreements"] == {"react": True}
    assert missed(measured()) == []
    assert json.dumps(result)
    assert any("10.0 times the rate" in line for line in trajectories._table(result))


@pytest.mark.parametrize(
    ("changes", "bar"),
    [
        ({"steps_per_cpu_second": 4_000}, "react steps per CPU second"),
        ({"documents_sha256": "b"}, "react texts equal"),
        ({"peak_bytes": 400 * 1024**2}, "peak bytes, 1.1 GiB file minus 64 MiB file"),
        ({"episodes": 4}, "records lost"),
    ],
)
def test_each_bar_can_be_missed(changes: dict[str, Any], bar: str) -> None:
    assert bar in missed(measured(**changes))


def test_without_the_samples_one_error_says_what_to_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        trajectories.main(["--samples", str(tmp_path)])
    assert caught.value.code == 2
    assert "name the samples with --samples" in capsys.readouterr().err
