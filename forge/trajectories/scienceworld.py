"""ScienceWorld: gold action sequences of elementary science tasks, played by the simulator (an item is one task type).

Only variations that the simulator counts among its train variations; those of its dev and test splits are held out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from forge.config import Settings, SourceSettings, source_options
from forge.schema import Decision, Item, Step, ToolCall, Trajectory
from forge.trajectories.checks import check
from forge.trajectories.simulators.simulator import STEP, Simulator

SIMULATOR = Simulator("scienceworld", "scienceworld", "scienceworld_gold.py")
TIMEOUT_SECONDS = 120.0
TIMEOUT_SECONDS_PER_VARIATION = 120.0
TRAIN_VARIATIONS: Mapping[str, int] = {
    "boil": 14,
    "change-the-state-of-matter-of": 14,
    "chemistry-mix": 16,
    "chemistry-mix-paint-secondary-color": 18,
    "chemistry-mix-paint-tertiary-color": 18,
    "find-animal": 150,
    "find-living-thing": 150,
    "find-non-living-thing": 150,
    "find-plant": 150,
    "freeze": 14,
    "grow-fruit": 62,
    "grow-plant": 62,
    "identify-life-stages-1": 6,
    "identify-life-stages-2": 4,
    "inclined-plane-determine-angle": 84,
    "inclined-plane-friction-named-surfaces": 692,
    "inclined-plane-friction-unnamed-surfaces": 80,
    "lifespan-longest-lived": 62,
    "lifespan-longest-lived-then-shortest-lived": 62,
    "lifespan-shortest-lived": 62,
    "measure-melting-point-known-substance": 218,
    "measure-melting-point-unknown-substance": 150,
    "melt": 14,
    "mendelian-genetics-known-plant": 60,
    "mendelian-genetics-unknown-plant": 240,
    "power-component": 10,
    "power-component-renewable-vs-nonrenewable-energy": 10,
    "test-conductivity": 450,
    "test-conductivity-of-unknown-substances": 300,
    "use-thermometer": 270,
}
"""Task type -> how many of its first variations are the train split of ScienceWorld 1.2.3; the script asks it again."""


class ScienceWorldOptions(BaseModel):
    """Options of a source of type ``scienceworld``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tasks: tuple[str, ...] = Field(tuple(TRAIN_VARIATIONS), min_length=1, description="task types that are played")
    variations_per_task: int = Field(
        2, ge=1, strict=True, description="the first of each train split; fewer where it has fewer"
    )
    variations: tuple[Annotated[int, Field(ge=0, strict=True)], ...] | None = Field(
        None, min_length=1, description="these instead; variations of the dev and test splits are held out"
    )
    max_steps: int = Field(300, ge=1, strict=True, description="of one episode; longer gold paths are not played")

    @field_validator("tasks")
    @classmethod
    def _exist(cls, tasks: tuple[str, ...]) -> tuple[str, ...]:
        for task in tasks:
            if task not in TRAIN_VARIATIONS:
                raise ValueError(f"no task {task!r}; there are: {', '.join(TRAIN_VARIATIONS)}")
        return tasks

    @model_validator(mode="after")
    def _may_train(self) -> ScienceWorldOptions:
        for task in self.tasks:
            for variation in self.variations or ():
                if variation >= TRAIN_VARIATIONS[task]:
                    raise ValueError(
                        f"variation {variation} of {task!r} is held out for evaluation and never trained on; "
                        f"allowed: 0 to {TRAIN_VARIATIONS[task] - 1}"
                    )
        return self

    def variations_of(self, task: str) -> Sequence[int]:
        """What is played of a task type."""
        if self.variations is not None:
            return sorted(set(self.variations))
        return range(min(self.variations_per_task, TRAIN_VARIATIONS[task]))


def list_items(name: str, source: SourceSettings, settings: Settings) -> Iterator[Item]:  # noqa: ARG001  the reader contract
    """One item per task type. Raises ConfigurationError for unknown task types and held-out variations."""
    options = source_options(ScienceWorldOptions, name, source)
    for task in sorted(set(options.tasks)):
        variations = options.variations_of(task)
        timeout_seconds = TIMEOUT_SECONDS + TIMEOUT_SECONDS_PER_VARIATION * len(variations)
        yield SIMULATOR.item(name, task, script_arguments(task, variations, options.max_steps), timeout_seconds)


def script_arguments(task: str, variations: Sequence[int], max_steps: int) -> list[str]:
    """What the script is called with for a task type."""
    return ["--task", task, "--max-steps", str(max_steps), "--variations", *map(str, variations)]


def read_item(item: Item, source: SourceSettings, settings: Settings) -> Iterator[Trajectory | Decision]:
    """The task type's episodes in the order of their variations. A gold path that is too long is a decision
    (task_not_run)."""
    lines = SIMULATOR.lines(item, settings)
    if isinstance(lines, Decision):
        yield lines
        return
    for line in lines:
        episode_id = f"{item.item_id}#{line['variation']}"
        if line["error"] is not None:
            yield Decision(item.source, episode_id, STEP, "task_not_run", line["error"])
            continue
        trajectory = trajectory_of(line, item, source.license or "")
        problem = check(trajectory)
        yield trajectory if problem is None else Decision(item.source, episode_id, STEP, problem.reason, problem.detail)


def trajectory_of(line: Mapping[str, Any], item: Item, spdx: str) -> Trajectory:
    """One line of the simulator script as a trajectory: the first look around belongs to the user's turn."""
    steps = [Step("user", f"{line['description']}\n\n{line['observation'].strip()}")]
    for step in line["steps"]:
        steps.append(Step("assistant", calls=(ToolCall("act", {"action": step["action"]}),)))
        steps.append(Step("tool", step["observation"].strip()))
    return Trajectory(
        task=line["description"],
        tools=(tool_of(line["possible_actions"]),),
        steps=tuple(steps),
        outcome="success" if line["success"] else "failure",
        reward=line["score"],
        environment=f"scienceworld/{line['task']}",
        license=spdx,
        generator="simulator_gold",
        source=item.source,
        item_id=item.item_id,
        episode=str(line["variation"]),
    )


def tool_of(possible_actions: Sequence[str]) -> Mapping[str, Any]:
    """The one tool of an episode; its description lists the forms that actions have."""
    return {
        "name": "act",
        "description": (
            "Takes one action in a text world for science experiments and returns what is observed. Actions, where OBJ "
            f"is the name of an object: {', '.join(possible_actions)}."
        ),
        "parameters": {
            "type": "object",
            "properties": {"action": {"type": "string", "description": "An action with the names of its objects."}},
            "required": ["action"],
        },
    }
