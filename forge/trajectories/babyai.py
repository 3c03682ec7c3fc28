"""BabyAI: instructions followed in grid worlds by Minigrid's own bot (an item is one environment).

What the simulator shows are symbols; their English is :mod:`forge.trajectories.simulators.babyai_text`. Whether a
mission is accomplished is the environment's verdict. Seeds from 1,000,000 on are held out for evaluation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from forge.config import Settings, SourceSettings, source_options
from forge.schema import Decision, Item, Step, ToolCall, Trajectory
from forge.trajectories.checks import check
from forge.trajectories.simulators.babyai_text import ACTIONS, TOOL, ending_text, view_text
from forge.trajectories.simulators.simulator import STEP, Simulator

SIMULATOR = Simulator("babyai", "minigrid", "babyai_bot.py")
HELD_OUT_FROM_SEED = 1_000_000
TIMEOUT_SECONDS = 120.0
TIMEOUT_SECONDS_PER_SEED = 10.0
_NAMES = """
ActionObjDoor-v0 BlockedUnlockPickup-v0 BossLevel-v0 BossLevelNoUnlock-v0 FindObjS5-v0 FindObjS6-v0 FindObjS7-v0
GoTo-v0 GoToDoor-v0 GoToImpUnlock-v0 GoToLocal-v0 GoToLocalS5N2-v0 GoToLocalS6N2-v0 GoToLocalS6N3-v0
GoToLocalS6N4-v0 GoToLocalS7N4-v0 GoToLocalS7N5-v0 GoToLocalS8N2-v0 GoToLocalS8N3-v0 GoToLocalS8N4-v0
GoToLocalS8N5-v0 GoToLocalS8N6-v0 GoToLocalS8N7-v0 GoToObj-v0 GoToObjDoor-v0 GoToObjMaze-v0 GoToObjMazeOpen-v0
GoToObjMazeS4-v0 GoToObjMazeS4R2-v0 GoToObjMazeS5-v0 GoToObjMazeS6-v0 GoToObjMazeS7-v0 GoToObjS4-v0 GoToObjS6-v1
GoToOpen-v0 GoToRedBall-v0 GoToRedBallGrey-v0 GoToRedBallNoDists-v0 GoToRedBlueBall-v0 GoToSeq-v0 GoToSeqS5R2-v0
KeyCorridor-v0 KeyCorridorS3R1-v0 KeyCorridorS3R2-v0 KeyCorridorS3R3-v0 KeyCorridorS4R3-v0 KeyCorridorS5R3-v0
KeyCorridorS6R3-v0 KeyInBox-v0 MiniBossLevel-v0 MoveTwoAcrossS5N2-v0 MoveTwoAcrossS8N9-v0 OneRoomS12-v0
OneRoomS16-v0 OneRoomS20-v0 OneRoomS8-v0 Open-v0 OpenDoor-v0 OpenDoorColor-v0 OpenDoorDebug-v0 OpenDoorLoc-v0
OpenDoorsOrderN2-v0 OpenDoorsOrderN2Debug-v0 OpenDoorsOrderN4-v0 OpenDoorsOrderN4Debug-v0 OpenRedBlueDoors-v0
OpenRedBlueDoorsDebug-v0 OpenRedDoor-v0 OpenTwoDoors-v0 Pickup-v0 PickupAbove-v0 PickupDist-v0 PickupDistDebug-v0
PickupLoc-v0 PutNextLocal-v0 PutNextLocalS5N3-v0 PutNextLocalS6N4-v0 PutNextS4N1-v0 PutNextS5N1-v0 PutNextS5N2-v0
PutNextS5N2Carrying-v0 PutNextS6N3-v0 PutNextS6N3Carrying-v0 PutNextS7N4-v0 PutNextS7N4Carrying-v0 Synth-v0
SynthLoc-v0 SynthS5R2-v0 SynthSeq-v0 UnblockPickup-v0 Unlock-v0 UnlockLocal-v0 UnlockLocalDist-v0 UnlockPickup-v0
UnlockPickupDist-v0 UnlockToUnlock-v0
"""
ENVIRONMENTS = tuple(f"BabyAI-{name}" for name in _NAMES.split())
"""All that Minigrid 3.2.0 registers."""


class BabyAIOptions(BaseModel):
    """Options of a source of type ``babyai``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    environments: tuple[str, ...] = Field(
        ("*",), min_length=1, description="patterns of the names of environments that are played, as BabyAI-GoTo*"
    )
    seeds_per_environment: int = Field(20, ge=1, strict=True, description="episodes of each environment")
    first_seed: int = Field(0, ge=0, strict=True, description="seeds from 1,000,000 on are held out for evaluation")

    @field_validator("environments")
    @classmethod
    def _match(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in ENVIRONMENTS):
                raise ValueError(f"no environment {pattern!r}; there are: {', '.join(ENVIRONMENTS)}")
        return patterns

    @model_validator(mode="after")
    def _may_train(self) -> BabyAIOptions:
        last = self.first_seed + self.seeds_per_environment - 1
        if last >= HELD_OUT_FROM_SEED:
            raise ValueError(
                f"seed {max(self.first_seed, HELD_OUT_FROM_SEED)} is held out for evaluation and never trained on; "
                f"allowed: 0 to {HELD_OUT_FROM_SEED - 1}"
            )
        return self


def list_items(name: str, source: SourceSettings, settings: Settings) -> Iterator[Item]:  # noqa: ARG001  the reader contract
    """One item per environment. Raises ConfigurationError for unknown environments and held-out seeds."""
    options = source_options(BabyAIOptions, name, source)
    timeout_seconds = TIMEOUT_SECONDS + TIMEOUT_SECONDS_PER_SEED * options.seeds_per_environment
    for environment in ENVIRONMENTS:
        if any(fnmatchcase(environment, pattern) for pattern in options.environments):
            arguments = script_arguments(environment, options.first_seed, options.seeds_per_environment)
            yield SIMULATOR.item(name, environment, arguments, timeout_seconds)


def script_arguments(environment: str, first_seed: int, seeds: int) -> list[str]:
    """What the script is called with for an environment."""
    return ["--environment", environment, "--first-seed", str(first_seed), "--seeds", str(seeds)]


def read_item(item: Item, source: SourceSettings, settings: Settings) -> Iterator[Trajectory | Decision]:
    """The environment's episodes in seed order, equal ones once. Where the bot gave up there is a decision
    (expert_failed); where the environment says that it failed, an episode with that outcome."""
    lines = SIMULATOR.lines(item, settings)
    if isinstance(lines, Decision):
        yield lines
        return
    seen: set[str] = set()
    for line in lines:
        episode_id = f"{item.item_id}#{line['seed']}"
        if line["error"] is not None:
            yield Decision(item.source, episode_id, STEP, "expert_failed", line["error"])
            continue
        trajectory = trajectory_of(line, item, source.license or "")
        if trajectory.trajectory_id in seen:
            continue
        seen.add(trajectory.trajectory_id)
        problem = check(trajectory)
        yield trajectory if problem is None else Decision(item.source, episode_id, STEP, problem.reason, problem.detail)


def trajectory_of(line: Mapping[str, Any], item: Item, spdx: str) -> Trajectory:
    """One line of the simulator script as a trajectory: the first view belongs to the user's turn."""
    succeeded = line["reward"] > 0
    steps = [Step("user", f"Your mission: {line['mission']}.\n\n{view_text(**line['observation'])}")]
    for number, step in enumerate(line["steps"], start=1):
        observed = view_text(**step["observation"])
        if number == len(line["steps"]):
            observed = f"{observed}\n{ending_text(line['ending'], succeeded)}"
        steps.append(Step("assistant", calls=(ToolCall("act", {"action": ACTIONS[step["action"]]}),)))
        steps.append(Step("tool", observed))
    return Trajectory(
        task=line["mission"],
        tools=(TOOL,),
        steps=tuple(steps),
        outcome="success" if succeeded else "failure",
        reward=line["reward"],
        environment=f"babyai/{line['environment']}",
        license=spdx,
        generator="simulator_bot",
        source=item.source,
        item_id=item.item_id,
        episode=str(line["seed"]),
    )
