"""Lets Minigrid's BabyAIBot solve one BabyAI environment; prints one JSON line per seed.

    PYTHONHASHSEED=0 python babyai_bot.py --environment BabyAI-GoToObj-v0 --first-seed 0 --seeds 20

A script for the interpreter of the simulators' environment (requirements-simulators.lock): it imports nothing of this
project. Equal calls print equal bytes.

Line: ``{"environment", "seed", "mission", "observation", "steps": [{action, observation}], "ending": "terminated" |
"truncated" | null, "reward": float, "error": str | null}``. An observation is ``{"image", "direction"}`` as Minigrid
encodes them: ``image[x][y]`` is (object, colour, state) of a cell of the agent's view. ``action`` is the name of one of
Minigrid's actions. ``ending`` and ``reward`` are the environment's verdict: a reward above 0 is success. ``error`` says
why the bot gave up: the episode has no end then.
"""

import argparse
import contextlib
import importlib
import json
import sys
import traceback
from typing import Any

MAX_PLANS = 1_000
"""Looks at the plan before one action. Some twenty are usual; a bot that cannot get at a key replans for ever."""


class EndlessPlanningError(Exception):
    pass


class PlanEndedError(Exception):
    pass


class BoundedPlan(list[Any]):
    """The bot's stack of subgoals, of which each round of planning looks at the last."""

    looks = 0

    def __getitem__(self, index: Any) -> Any:
        self.looks += 1
        if self.looks > MAX_PLANS:
            raise EndlessPlanningError(f"no action after {MAX_PLANS} rounds of planning")
        return super().__getitem__(index)


def bot_of(environment: Any) -> Any:
    """The bot for an environment that has been reset.

    It plans to fetch what a mission wants put somewhere, also where the mission begins with that object in hand
    (PutNext...Carrying), and then searches in vain: there, its first two subgoals, go to it and pick it up, are done.
    """
    bot = importlib.import_module("minigrid.utils.baby_ai_bot").BabyAIBot(environment)
    bot.stack = BoundedPlan(bot.stack)
    mission = environment.unwrapped.instrs
    put_next = importlib.import_module("minigrid.envs.babyai.core.verifier").PutNextInstr
    if isinstance(mission, put_next) and environment.unwrapped.carrying in mission.desc_move.obj_set:
        del bot.stack[-2:]
    return bot


def symbols(observation: Any) -> dict[str, Any]:
    return {"image": observation["image"].tolist(), "direction": int(observation["direction"])}


def play(environment: Any, name: str, seed: int) -> dict[str, Any]:
    environment.reset(seed=seed)
    line: dict[str, Any] = {
        "environment": name,
        "seed": seed,
        "mission": environment.unwrapped.mission,
        # Not the one that reset returns: PutNext...Carrying puts the object into the agent's hand after making that.
        "observation": symbols(environment.unwrapped.gen_obs()),
        "steps": [],
        "ending": None,
        "reward": 0.0,
        "error": None,
    }
    try:
        bot = bot_of(environment)
        action = None
        while line["ending"] is None:
            bot.stack.looks = 0
            action = bot.replan(action)
            observation, reward, terminated, truncated, _ = environment.step(action)
            line["steps"].append(
                {"action": environment.unwrapped.actions(action).name, "observation": symbols(observation)}
            )
            line["reward"] = float(reward)
            line["ending"] = "terminated" if terminated else "truncated" if truncated else None
            if line["ending"] is None and action == environment.unwrapped.actions.done:
                raise PlanEndedError("the bot has done all that it planned, and the mission is not accomplished")
    except Exception as error:  # noqa: BLE001  the bot states by assertions, and by accidents, what it cannot solve
        said = str(error) or traceback.extract_tb(error.__traceback__)[-1].line  # most assertions say nothing else
        line["error"] = f"{type(error).__name__}: {said}"[:500]
    return line


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--environment", required=True)
    parser.add_argument("--first-seed", type=int, required=True)
    parser.add_argument("--seeds", type=int, required=True)
    options = parser.parse_args()
    # What Minigrid and pygame print goes to stderr: stdout holds JSON lines only.
    with contextlib.redirect_stdout(sys.stderr):
        importlib.import_module("minigrid")  # registers the environments
        environment = importlib.import_module("gymnasium").make(options.environment, disable_env_checker=True)
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        with contextlib.redirect_stdout(sys.stderr):
            line = play(environment, options.environment, seed)
        print(json.dumps(line, sort_keys=True, separators=(",", ":")), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
