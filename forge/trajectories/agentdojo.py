"""AgentDojo: user tasks solved by the suite's own ground truth on its real tool runtime (an item is one suite).

The runs happen in an environment of their own (requirements-simulators.lock): ``FORGE_SIMULATORS_PYTHON`` or
``<checkout>/.venv-simulators/bin/python``. Option ``suites``: which suites, of those that are not held out.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from forge.config import ConfigurationError, Settings, SourceSettings, checkout
from forge.schema import Decision, Item, Step, ToolCall, Trajectory, content_hash
from forge.trajectories.checks import check
from forge.trajectories.simulators.episodes import SCRIPTS, SimulatorError, episodes

TRAINING_SUITES = ("workspace", "travel")
HELD_OUT_SUITES = ("banking", "slack")
BENCHMARK_VERSION = "v1.2.2"
TIMEOUT_SECONDS = 300.0
_SCRIPT = "agentdojo_ground_truth.py"
_STEP = "parse_trajectories"


def simulators_python() -> Path:
    """The interpreter of the simulators' environment, whether or not it exists."""
    return Path(os.environ.get("FORGE_SIMULATORS_PYTHON") or checkout() / ".venv-simulators" / "bin" / "python")


def list_items(name: str, source: SourceSettings, settings: Settings) -> Iterator[Item]:  # noqa: ARG001  the reader contract
    """One item per configured suite. Raises :class:`ConfigurationError` for an unknown or a held-out suite."""
    version = _installed_version(simulators_python())
    script = (SCRIPTS / _SCRIPT).read_bytes()
    for suite in _suites(name, source):
        run = content_hash(version or "not installed", script, BENCHMARK_VERSION, suite)
        yield Item(name, suite, run, {"suite": suite, "run": run})


def read_item(item: Item, source: SourceSettings, settings: Settings) -> Iterator[Trajectory | Decision]:
    """The suite's episodes in task order. A suite that cannot be run is one decision."""
    python, suite = simulators_python(), item.locator["suite"]
    if _installed_version(python) is None:
        detail = "the simulators' environment is missing or lacks agentdojo; see requirements-simulators.lock"
        yield Decision(item.source, item.item_id, _STEP, "simulator_not_installed", detail)
        return
    arguments = ["--benchmark-version", BENCHMARK_VERSION, "--suite", suite]
    try:
        lines = list(
            episodes(settings, "agentdojo", item.locator["run"], str(python), _SCRIPT, arguments, TIMEOUT_SECONDS)
        )
    except SimulatorError as error:
        yield Decision(item.source, item.item_id, _STEP, "simulator_failed", str(error))
        return
    for line in lines:
        task_id = f"{item.item_id}#{line['user_task_id']}"
        if line["error"] is not None:
            yield Decision(item.source, task_id, _STEP, "task_not_run", line["error"])
            continue
        trajectory = trajectory_of(line, item, source.license or "")
        problem = check(trajectory)
        yield trajectory if problem is None else Decision(item.source, task_id, _STEP, problem.reason, problem.detail)


def trajectory_of(line: dict[str, Any], item: Item, spdx: str) -> Trajectory:
    """One line of the simulator script as a trajectory."""
    steps = [Step("user", line["prompt"])]
    for message in line["messages"]:
        calls = tuple(ToolCall(call["name"], call["arguments"], call["id"]) for call in message.get("tool_calls", ()))
        content = message["content"]
        if message["role"] == "assistant":
            if not calls and not content:  # a task whose ground truth ends without an answer
                continue
            steps.append(Step("assistant", content or None, calls=calls))
        else:
            steps.append(Step(message["role"], content, error=message.get("error")))
    return Trajectory(
        task=line["prompt"],
        tools=tuple(line["tools"]),
        steps=tuple(steps),
        outcome="success" if line["utility"] else "failure",
        reward=1.0 if line["utility"] else 0.0,
        environment=f"agentdojo/{line['suite']}",
        license=spdx,
        generator="ground_truth",
        source=item.source,
        item_id=item.item_id,
    )


def _suites(name: str, source: SourceSettings) -> list[str]:
    suites = source.options.get("suites", list(TRAINING_SUITES))
    if not isinstance(suites, list) or not suites:
        raise ConfigurationError(f"sources.{name}.options.suites: expected a list of suites, given {suites!r}")
    for suite in suites:
        if suite in HELD_OUT_SUITES:
            raise ConfigurationError(
                f"sources.{name}.options.suites: {suite!r} is held out for evaluation and never trained on; "
                f"allowed: {', '.join(TRAINING_SUITES)}"
            )
        if suite not in TRAINING_SUITES:
            raise ConfigurationError(
                f"sources.{name}.options.suites: no suite {suite!r}; allowed: {', '.join(TRAINING_SUITES)}"
            )
    return sorted(set(suites))


@lru_cache(maxsize=4)
def _installed_version(python: Path) -> str | None:
    program = "from importlib.metadata import version; print(version('agentdojo'))"
    try:
        result = subprocess.run(
            [str(python), "-I", "-c", program], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None if result.returncode == 0 else None
