"""Prints the simulator's own gold path of episodes of its test split: a line of JSON each, item id and actions.

    python gold_actions.py textworld coin/20000 ...
    python gold_actions.py scienceworld boil/21 ...

Where TextWorld-Express's gold agent walks at random, it walks until it succeeds.
"""

import contextlib
import importlib
import json
import os
import sys

WALKS = 30


def textworld_actions(env, game, seed):
    actions = []
    for _ in range(WALKS):
        env.reset(seed=seed, gameFold="test", gameName=game, gameParams="", generateGoldPath=True)
        actions = list(env.getGoldActionSequence())
        _, seen = env.reset(seed=seed, gameFold="test", gameName=game, gameParams="", generateGoldPath=False)
        for action in actions:
            _, _, _, seen = env.step(action)
        if seen["tasksuccess"]:
            break
    return actions


def scienceworld_actions(env, task, variation):
    env.load(task, variation, "", generateGoldPath=True)
    return env.get_gold_action_sequence()


def main(simulator, *item_ids):
    os.environ["JAVA_TOOL_OPTIONS"] = "-Xmx1g -XX:+UseSerialGC -XX:+UnlockExperimentalVMOptions -XX:hashCode=2"
    with contextlib.redirect_stdout(sys.stderr):
        if simulator == "textworld":
            env = importlib.import_module("textworld_express").TextWorldExpressEnv(envStepLimit=1 << 30)
        else:
            env = importlib.import_module("scienceworld").ScienceWorldEnv()
    try:
        for item_id in item_ids:
            kind, number = item_id.split("/")
            found = (textworld_actions if simulator == "textworld" else scienceworld_actions)(env, kind, int(number))
            print(json.dumps([item_id, found]), flush=True)
    finally:
        env.close()
        env._gateway.java_process.wait(timeout=20)


if __name__ == "__main__":
    main(*sys.argv[1:])
