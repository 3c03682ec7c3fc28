"""What the benchmark makes of its measurements."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from benchmarks import parse_apis

FOUND = {
    "cpu_seconds": 30.0,
    "peak_bytes": 500 * 1024**2,
    "entities": 100,
    "with_description": 100,
    "operations": [f"a.json#GET /{number}" for number in range(100)],
}


def _measured(**changes: Any) -> dict[str, dict[str, Any]]:
    return {
        "openapi": {**FOUND, **changes},
        "bare_json": {"cpu_seconds": 10.0, "peak_bytes": 1, "operations": FOUND["operations"]},
    }


def _missed(measured: dict[str, dict[str, Any]]) -> list[str]:
    return [bar["name"] for bar in parse_apis.report(measured)["bars"] if not bar["passed"]]


def test_a_report_holds_ratios_bars_and_whether_the_results_agreed() -> None:
    result = parse_apis.report(_measured())
    assert set(result) == {"name", "machine", "versions", "ours", "peers", "ratios", "agreements", "bars"}
    assert result["ratios"] == {"openapi / bare json, CPU seconds": 3.0}
    assert result["agreements"]["openapi"] == {
        "operations_in_the_files": 100,
        "found": 100,
        "missing": 0,
        "invented": 0,
    }
    assert all(bar["passed"] for bar in result["bars"])
    assert "operations" not in result["ours"]["openapi"]
    assert json.dumps(result)
    assert any("peer bare_json: 10.0" in line for line in parse_apis._table(result))


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({"cpu_seconds": 61.0}, "openapi CPU seconds"),
        ({"peak_bytes": 2 * 1024**3}, "openapi peak bytes"),
        ({"operations": FOUND["operations"][2:]}, "openapi share of operations found"),
        ({"operations": [*FOUND["operations"], "a.json#GET /invented"]}, "openapi operations invented"),
        ({"operations": [*FOUND["operations"], "a.json#GET /1"]}, "openapi operations invented"),
    ],
)
def test_each_bar_can_be_missed(changes: dict[str, Any], missed: str) -> None:
    assert _missed(_measured(**changes)) == [missed]


def test_docstrings_are_scaled_to_sixty_thousand() -> None:
    found = {**FOUND, "cpu_seconds": 50.0, "with_description": 30_000}
    (bar,) = parse_apis.report({"docstrings": dict(found)})["bars"]
    assert bar == {"name": "docstrings CPU seconds for 60,000", "value": 100.0, "limit": 120, "passed": True}
    assert _missed({"docstrings": {**found, "with_description": 20_000}}) == ["docstrings CPU seconds for 60,000"]


def test_the_command_line() -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "benchmarks.parse_apis", *arguments], capture_output=True, text=True, check=False
        )

    assert "--only" in run("--help").stdout
    assert run("--only", "nothing").returncode == 2
