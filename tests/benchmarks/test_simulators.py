"""What the benchmark makes of its measurements, and one section of it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from benchmarks import simulators
from benchmarks.simulators import SECTIONS

FOUND: dict[str, Any] = {
    "version": "1.0",
    "items": 1,
    "steps": 5,
    "cpu_seconds": 1.0,
    "seconds": 2.0,
    "slowest_item": {"item_id": "a", "seconds": 2.0},
    "unsolved": ["a#1: failed"],
    "trajectories": {"failure": 1, "success": 3},
    "rejected": {"expert_failed": 2},
    "reader_cpu_seconds": 0.1,
}


def _measured(**changes: Any) -> dict[str, dict[str, Any]]:
    return {
        name: {**FOUND, "episodes": section.episodes, "solved": section.minimum, **changes}
        for name, section in SECTIONS.items()
    }


def test_a_report_and_its_table() -> None:
    result = simulators.report(_measured())
    assert set(result) == {"name", "machine", "versions", "ours", "peers", "ratios", "bars"}
    assert all(bar["passed"] for bar in result["bars"])
    assert [bar["limit"] for bar in result["bars"]] == [97, 96, 320, 300, 30, 30, 192, 180]
    assert json.dumps(result)
    table = list(simulators._table(result))
    assert "babyai: 2 rejected as expert_failed" in table
    assert "agentdojo: not solved: a#1: failed" in table


@pytest.mark.parametrize("name", SECTIONS)
@pytest.mark.parametrize(("figure", "bar"), [("solved", "solved"), ("episodes", "episodes")])
def test_each_bar_can_be_missed(name: str, figure: str, bar: str) -> None:
    measured = _measured()
    measured[name][figure] -= 1
    missed = [row["name"] for row in simulators.report(measured)["bars"] if not row["passed"]]
    assert missed == [f"{name} {bar}"]


@pytest.mark.parametrize(
    ("name", "solved", "not_solved"),
    [
        ("agentdojo", {"utility": True}, [{"utility": False}, {"utility": None}]),
        ("textworld_express", {"success": True}, [{"success": False}]),
        ("scienceworld", {"success": True}, [{"success": False}]),
        (
            "babyai",
            {"ending": "terminated", "reward": 0.1},
            [
                {"ending": "terminated", "reward": 0.0},
                {"ending": "truncated", "reward": 0.0},
                {"ending": None, "reward": 0.0},
            ],
        ),
    ],
)
def test_success_is_the_verdict_of_the_simulator(
    name: str, solved: dict[str, Any], not_solved: list[dict[str, Any]]
) -> None:
    assert SECTIONS[name].solved(solved)
    assert not any(SECTIONS[name].solved(line) for line in not_solved)


def test_the_command_line() -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "benchmarks.simulators", *arguments], capture_output=True, text=True, check=False
        )

    assert "--only" in run("--help").stdout
    assert run("--only", "nothing").returncode == 2
