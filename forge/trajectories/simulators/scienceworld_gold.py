"""Plays the gold action sequences of ScienceWorld; prints one JSON line per variation of a task.

    python scienceworld_gold.py --task boil --max-steps 300 --variations 0 1

A script for the interpreter of the simulators' environment (requirements-simulators.lock): it imports nothing of this
project. Variations that the simulator does not count among its train variations are refused.

Line: ``{"task", "variation", "description", "observation", "possible_actions", "steps": [{action, observation,
score}], "success": bool, "score": float, "error": str | null}``. ``score`` is the simulator's, from 0 to 1; ``success``
says that it calls the task completed with a score of 1. ``error`` says why an episode was not played.

Equal calls print equal bytes: the simulator seeds its random generator by the variation, but iterates over hash tables
of objects without a hash of their own, so Java is told to give all objects the same one.
"""

import argparse
import contextlib
import importlib
import json
import os
import sys
from typing import Any

JAVA_OPTIONS = "-Xmx1g -XX:+UseSerialGC -XX:+UnlockExperimentalVMOptions -XX:hashCode=2"


def play(env: Any, task: str, variation: int, max_steps: int) -> dict[str, Any]:
    env.load(task, variation, "", generateGoldPath=True)  # plays the gold path, then loads the variation anew
    actions = env.get_gold_action_sequence()
    line: dict[str, Any] = {
        "task": task,
        "variation": variation,
        "description": env.get_task_description(),
        "observation": env.look(),
        "possible_actions": sorted(env.get_possible_actions()),
        "steps": [],
        "success": False,
        "score": 0.0,
        "error": None,
    }
    if len(actions) > max_steps:
        line["error"] = f"the gold path has {len(actions)} steps, at most {max_steps} are played"
        return line
    for action in actions:
        # env.step would also list every valid combination of action and objects: some thousands, at each step.
        observation = env.server.step(action)
        line["score"] = round(env.server.getScore(), 6)
        line["steps"].append({"action": action, "observation": observation, "score": line["score"]})
    line["success"] = bool(env.server.getCompleted()) and line["score"] == 1.0
    return line


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--task", required=True)
    parser.add_argument("--max-steps", type=int, required=True)
    parser.add_argument("--variations", type=int, nargs="+", required=True)
    options = parser.parse_args()
    os.environ["JAVA_TOOL_OPTIONS"] = JAVA_OPTIONS
    with contextlib.redirect_stdout(sys.stderr):
        env = importlib.import_module("scienceworld").ScienceWorldEnv()
    try:
        env.load(options.task, options.variations[0])
        held_out = sorted(set(options.variations) - set(env.get_variations_train()))
        if held_out:
            print(f"{options.task}: no train variations: {', '.join(map(str, held_out))}", file=sys.stderr)
            return 2
        for variation in options.variations:
            line = play(env, options.task, variation, options.max_steps)
            print(json.dumps(line, sort_keys=True, ensure_ascii=False), flush=True)
    finally:
        env.close()
        env._gateway.java_process.wait(timeout=20)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
