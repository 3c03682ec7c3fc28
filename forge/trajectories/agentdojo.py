"""AgentDojo: user tasks solved by the suite's own ground truth on its real tool runtime (an item is one suite)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from forge.config import Settings, SourceSettings, source_options
from forge.schema import Decision, Item, Step, ToolCall, Trajectory
from forge.trajectories.checks import check
from forge.trajectories.simulators.simulator import STEP, Simulator

TRAINING_SUITES = ("workspace", "travel")
HELD_OUT_SUITES = ("banking", "slack")
BENCHMARK_VERSION = "v1.2.2"
TIMEOUT_SECONDS = 300.0
SIMULATOR = Simulator("agentdojo", "agentdojo", "agentdojo_ground_truth.py")


class AgentDojoOptions(BaseModel):
    """Options of a source of type ``agentdojo``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    suites: tuple[str, ...] = Field(
        TRAINING_SUITES, min_length=1, description="suites that are run; banking and slack are held out for evaluation"
    )

    @field_validator("suites")
    @classmethod
    def _may_train(cls, suites: tuple[str, ...]) -> tuple[str, ...]:
        allowed = ", ".join(TRAINING_SUITES)
        for suite in suites:
            if suite in HELD_OUT_SUITES:
                raise ValueError(f"{suite!r} is held out for evaluation and never trained on; allowed: {allowed}")
            if suite not in TRAINING_SUITES:
                raise ValueError(f"no suite {suite!r}; allowed: {allowed}")
        return suites


def list_items(name: str, source: SourceSettings, settings: Settings) -> Iterator[Item]:  # noqa: ARG001  the reader contract
    """One item per configured suite. Raises ConfigurationError for an unknown or a held-out suite."""
    for suite in sorted(set(source_options(AgentDojoOptions, name, source).suites)):
        yield SIMULATOR.item(name, suite, script_arguments(suite), TIMEOUT_SECONDS)


def script_arguments(suite: str) -> list[str]:
    """What the script is called with for a suite."""
    return ["--benchmark-version", BENCHMARK_VERSION, "--suite", suite]


def read_item(item: Item, source: SourceSettings, settings: Settings) -> Iterator[Trajectory | Decision]:
    """The suite's episodes in task order. A suite that cannot be run is one decision."""
    lines = SIMULATOR.lines(item, settings)
    if isinstance(lines, Decision):
        yield lines
        return
    for line in lines:
        task_id = f"{item.item_id}#{line['user_task_id']}"
        if line["error"] is not None:
            yield Decision(item.source, task_id, STEP, "task_not_run", line["error"])
            continue
        trajectory = trajectory_of(line, item, source.license or "")
        problem = check(trajectory)
        yield trajectory if problem is None else Decision(item.source, task_id, STEP, problem.reason, problem.detail)


def trajectory_of(line: Mapping[str, Any], item: Item, spdx: str) -> Trajectory:
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
        episode=line["user_task_id"],
    )
