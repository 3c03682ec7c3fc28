"""AgentDojo's utility: user tasks of the suites that are held out, with the suite's tools and its own check.

Nothing is injected: this is what AgentDojo calls benign utility. A task is over with the first answer that calls no
function, or at the limits; it is then judged by the suite from that answer and the state that the tools left. The
suites' checks pass :data:`IDLE_SUCCESSES` even when nothing is done: a model that never acts is not at zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from forge.config import Settings
from forge.trajectories.agentdojo import BENCHMARK_VERSION, HELD_OUT_SUITES, SIMULATOR
from training.evaluation.interactive import programs
from training.evaluation.interactive.simulator import SimulatorProgram, simulated_task
from training.evaluation.isolation import Bounds, Isolated, IsolationError
from training.evaluation.subject import Conversation
from training.evaluation.task import NotEvaluated, Task
from training.run import Run

IDLE_SUCCESSES = tuple(f"banking/user_task_{number}" for number in (5, 6, 8, 9, 10))
"""What their checks look for is in the environment from the start, or they look for nothing."""
BOUNDS = Bounds(request_seconds=30, processor_seconds=120, memory_bytes=4 << 30, open_files=256)


def task(settings: Settings, run: Run | None, max_items: int) -> Task:  # noqa: ARG001  what a task's factory takes
    """User tasks of the held-out suites, by suite. Raises :class:`NotEvaluated`."""
    PROGRAM.check()
    starts = {
        f"{suite}/{task_id}": {"benchmark_version": BENCHMARK_VERSION, "suite": suite, "user_task_id": task_id}
        for suite, task_ids in _user_task_ids().items()
        for task_id in task_ids
    }
    version = (
        f"agentdojo {SIMULATOR.version}, benchmark {BENCHMARK_VERSION}, utility without injections; who does nothing "
        f"passes {len(IDLE_SUCCESSES)} of {len(starts)}"
    )
    return simulated_task("agentdojo", PROGRAM, starts, "suite", settings, max_items, version)


def _opening(told: Mapping[str, Any]) -> Conversation:
    messages = [{"role": "system", "content": told["system"]}, {"role": "user", "content": told["prompt"]}]
    return Conversation(told["tools"], messages)


def _message(observation: Mapping[str, Any]) -> Mapping[str, Any]:
    message = {"role": "tool", "content": observation["content"]}
    return message | {"error": observation["error"]} if observation["error"] else message


PROGRAM = SimulatorProgram("agentdojo_program", SIMULATOR, _opening, _message, BOUNDS, words_end=True, has_score=False)


@lru_cache(maxsize=1)
def _user_task_ids() -> Mapping[str, list[str]]:
    request = {"benchmark_version": BENCHMARK_VERSION, "suites": list(HELD_OUT_SUITES)}
    name = f"{programs.__name__}.{PROGRAM.module}:user_task_ids"
    try:
        with Isolated(name, BOUNDS, python=SIMULATOR.python) as program:
            found: Mapping[str, list[str]] = program.ask(request)
    except IsolationError as error:
        raise NotEvaluated(f"AgentDojo's suites cannot be loaded: {error}") from None
    return found
