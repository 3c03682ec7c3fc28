"""Plays the gold path of TextWorld-Express games of the train fold; prints one JSON line per seed.

    python textworld_express_gold.py --game coin --seeds 40

Line: ``{"game", "seed", "task", "observation", "valid_actions", "steps": [{action, observation, valid_actions, score}],
"success": bool, "score": float}``, as the simulator reports them; ``valid_actions`` sorted. Imports nothing of this
project. py4j's Java process reads a pipe of this process and ends when this process does, however it ends.
"""

import argparse
import contextlib
import json
import sys
from typing import Any

MAX_STEPS = 500
WALKING_AGENTS = {"coin": "CoinGoldAgent", "twc": "TWCGoldAgent"}
"""Games whose gold agent explores by a random walk that the simulator does not seed: two runs give two paths."""
MAX_WALKS = 60
SUCCESSFUL_WALKS = 5
_LARGE = 1 << 40  # py4j passes a Python integer as a Java long only where it is too large for an int


def gold_actions(env: Any, game: str, seed: int) -> list[str]:
    """The simulator's gold path; where its agent walks at random, the shortest of the first successful walks of that
    agent, each with a random generator that the seed and the walk's number decide."""
    if game not in WALKING_AGENTS:
        env.reset(seed=seed, gameFold="train", gameName=game, gameParams="", generateGoldPath=True)
        return list(env.getGoldActionSequence())
    java = env._gateway.jvm
    found: list[list[str]] = []
    for walk in range(MAX_WALKS):
        env.reset(seed=seed, gameFold="train", gameName=game, gameParams="", generateGoldPath=False)
        agent = getattr(java.textworldexpress.goldagent, WALKING_AGENTS[game])(env.server.game())
        result = agent.mkGoldPath(java.scala.util.Random(_LARGE + seed * MAX_WALKS + walk))
        if result._1:
            found.append(list(result._2))
        if len(found) == SUCCESSFUL_WALKS:
            break
    return min(found, key=len, default=[])


def play(env: Any, game: str, seed: int) -> dict[str, Any]:
    actions = gold_actions(env, game, seed)
    _, infos = env.reset(seed=seed, gameFold="train", gameName=game, gameParams="", generateGoldPath=False)
    line: dict[str, Any] = {
        "game": game,
        "seed": seed,
        "task": infos["taskDescription"],
        "observation": infos["observation"],
        "valid_actions": sorted(infos["validActions"]),
        "steps": [],
    }
    for action in actions[:MAX_STEPS]:
        observation, _, _, infos = env.step(action)
        line["steps"].append(
            {
                "action": action,
                "observation": observation,
                "valid_actions": sorted(infos["validActions"]),
                "score": infos["score"],
            }
        )
    line["success"] = bool(infos["tasksuccess"])
    line["score"] = float(infos["score"])
    return line


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--game", required=True)
    parser.add_argument("--seeds", type=int, required=True)
    options = parser.parse_args()
    with contextlib.redirect_stdout(sys.stderr):
        from textworld_express import TextWorldExpressEnv

        env = TextWorldExpressEnv(envStepLimit=MAX_STEPS)
    try:
        for seed in env.getValidSeedsTrain()[: options.seeds]:
            print(json.dumps(play(env, options.game, seed), sort_keys=True, ensure_ascii=False), flush=True)
    finally:
        env.close()
        env._gateway.java_process.wait(timeout=20)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
