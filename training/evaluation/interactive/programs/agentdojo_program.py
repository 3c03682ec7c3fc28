"""One user task of AgentDojo: the suite's tools in its own runtime, the suite's own check of the outcome.

``start``: ``{"benchmark_version", "suite", "user_task_id"}``. Calls go through AgentDojo's executor of tools, as they
do from a model in its own pipeline; nothing is injected. A script for the simulators' environment.
"""

from __future__ import annotations

import importlib
import importlib.resources
from typing import Any

from forge.trajectories.simulators.agentdojo_ground_truth import (
    import_without_model_clients,
    message_of,
    stop_the_clock,
)


class Episode:
    """A user task in an environment of its own. ``history`` is what AgentDojo's checks look at."""

    def __init__(self, benchmark_version: str, suite: str, user_task_id: str) -> None:
        self._suite = _suites(benchmark_version)[suite]
        self._task = self._suite.user_tasks[user_task_id]
        self._types: Any = importlib.import_module("agentdojo.types")
        functions: Any = importlib.import_module("agentdojo.functions_runtime")
        self._call: Any = functions.FunctionCall
        self._runtime = functions.FunctionsRuntime(self._suite.tools)
        self._executor: Any = importlib.import_module("agentdojo.agent_pipeline.tool_execution").ToolsExecutor()
        self._environment = self._task.init_environment(self._suite.load_and_inject_default_environment({}))
        self._before = self._environment.model_copy(deep=True)
        self._history: list[Any] = []

    def opening(self) -> dict[str, Any]:
        tools = [
            {"name": tool.name, "description": tool.description, "parameters": tool.parameters.model_json_schema()}
            for tool in sorted(self._suite.tools, key=lambda tool: str(tool.name))
        ]
        return {"system": _system_message(), "prompt": self._task.PROMPT, "tools": tools}

    def calls(self, calls: list[dict[str, Any]]) -> dict[str, Any]:
        observations = [self._observation(call) for call in calls]
        return {"observations": observations, "ended": False}

    def finish(self, text: str) -> dict[str, Any]:
        self._history.append(self._assistant(text, None))
        trace = importlib.import_module("agentdojo.task_suite.task_suite").functions_stack_trace_from_messages(
            self._history
        )
        words = [self._types.text_content_block_from_string(text)]
        success = self._suite._check_task_result(self._task, words, self._before, self._environment, trace)
        return {"success": bool(success), "score": None}

    def _observation(self, call: dict[str, Any]) -> dict[str, Any]:
        try:
            made = self._call(function=call["name"], args=call["arguments"], id=None)
            turn = self._assistant("", [made])
            _, _, self._environment, history, _ = self._executor.query(
                self._task.PROMPT, self._runtime, self._environment, [turn]
            )
        except Exception as error:  # noqa: BLE001  whatever a tool does with such arguments, the episode goes on
            return {"content": "", "error": f"{type(error).__name__}: {error}"[:500]}
        self._history += [turn, history[-1]]
        message = message_of(history[-1])
        return {"content": message["content"] or "", "error": message.get("error")}

    def _assistant(self, text: str, calls: list[Any] | None) -> Any:
        words = [self._types.text_content_block_from_string(text)]
        return self._types.ChatAssistantMessage(role="assistant", content=words, tool_calls=calls)


_playing: list[Episode] = []


def answer(request: dict[str, Any]) -> dict[str, Any]:
    if "start" in request:
        _playing.append(Episode(**request["start"]))
        return _playing[0].opening()
    if "calls" in request:
        return _playing[0].calls(request["calls"])
    return _playing[0].finish(request["finish"])


def user_task_ids(request: dict[str, Any]) -> dict[str, list[str]]:
    """The user tasks of ``request["suites"]``, in their order."""
    suites = _suites(request["benchmark_version"])
    return {
        name: sorted(suites[name].user_tasks, key=lambda task_id: int(task_id.rsplit("_", 1)[1]))
        for name in request["suites"]
    }


def _suites(benchmark_version: str) -> Any:
    import_without_model_clients()
    module: Any = importlib.import_module("agentdojo.task_suite")
    stop_the_clock()
    return module.get_suites(benchmark_version)


def _system_message() -> str:
    yaml: Any = importlib.import_module("yaml")
    text = (importlib.resources.files("agentdojo") / "data" / "system_messages.yaml").read_text()
    return str(yaml.safe_load(text)["default"])
