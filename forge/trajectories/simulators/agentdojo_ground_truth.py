"""Runs AgentDojo's own ground truth on its real tool runtime; prints one JSON line per user task.

A script for the interpreter of the simulators' environment (requirements-simulators.lock): it imports nothing of this
project, because AgentDojo's dependencies do not resolve beside ours.

    PYTHONHASHSEED=0 python agentdojo_ground_truth.py --benchmark-version v1.2.2 --suite workspace --suite travel

Equal calls print equal bytes: the hash seed must be fixed, because contact lists are built from sets, and the tools'
clock is stopped on the day that the suites call today.

Line: ``{"suite", "benchmark_version", "user_task_id", "prompt", "tools": [{name, description, parameters}], "messages":
[{role, content, tool_calls?, error?}], "utility": bool | null, "error": str | null}``. ``utility`` is the verdict of
the suite's own check over the environment before and after the run; ``error`` says why a task could not be run.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib
import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any

EMPTY_FUNCTION_NAME = "<empty-function-name>"
SIMULATED_NOW = datetime.datetime(2024, 5, 15, 12, 0)  # noqa: DTZ001  the suites' times have no zone
"""Noon of ``current_day`` of the suites' environments: what the tools stamp e-mails and files with."""
MODULES_WITH_A_CLOCK = (
    "agentdojo.default_suites.v1.tools.email_client",
    "agentdojo.default_suites.v1.tools.cloud_drive_client",
)


def import_without_model_clients() -> None:
    """Make ``agentdojo.agent_pipeline`` importable without the OpenAI, Anthropic, Cohere and Google clients.

    Its ``__init__`` imports a client of every provider. The ground truth needs none of them, so the package is
    registered with its real path and an ``__init__`` that is not run, and ``llms.google_llm``, of which the tool
    executor wants one constant, is registered with that constant. Nothing else of AgentDojo is replaced.
    """
    spec = importlib.util.find_spec("agentdojo")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("agentdojo is not installed in this environment")
    root = Path(next(iter(spec.submodule_search_locations)))
    for name, folder in (
        ("agentdojo.agent_pipeline", root / "agent_pipeline"),
        ("agentdojo.agent_pipeline.llms", root / "agent_pipeline" / "llms"),
    ):
        package = types.ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    client = types.ModuleType("agentdojo.agent_pipeline.llms.google_llm")
    client.EMPTY_FUNCTION_NAME = EMPTY_FUNCTION_NAME  # type: ignore[attr-defined]
    sys.modules[client.__name__] = client


class _StoppedClock:
    """Stands for the class ``datetime.datetime`` in a module that calls ``now()``; all else is the real class."""

    @staticmethod
    def now(zone: datetime.tzinfo | None = None) -> datetime.datetime:
        return SIMULATED_NOW.replace(tzinfo=zone)

    def __call__(self, *arguments: Any, **options: Any) -> datetime.datetime:
        return datetime.datetime(*arguments, **options)  # noqa: DTZ001

    def __getattr__(self, name: str) -> Any:
        return getattr(datetime.datetime, name)


def stop_the_clock() -> None:
    """Without this an e-mail sent by a tool would carry the second of the run, and each run would be a new corpus."""
    clock = types.ModuleType("datetime")
    clock.__dict__.update(vars(datetime), datetime=_StoppedClock())
    for name in MODULES_WITH_A_CLOCK:
        vars(importlib.import_module(name))["datetime"] = clock


def plain(value: Any) -> Any:
    """Tool arguments as JSON values: models become objects, dates become ISO text."""
    if hasattr(value, "model_dump"):
        return plain(value.model_dump(mode="json"))
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def text_of(content: Any) -> str | None:
    if content is None or isinstance(content, str):
        return content
    return "\n".join(block["content"] for block in content if block.get("content") is not None)


def message_of(message: Any) -> dict[str, Any]:
    result: dict[str, Any] = {"role": message["role"], "content": text_of(message.get("content"))}
    if message.get("tool_calls"):
        result["tool_calls"] = [
            {"name": call.function, "arguments": plain(call.args), "id": call.id} for call in message["tool_calls"]
        ]
    if message.get("error") is not None:
        result["error"] = str(message["error"])
    return result


def run_task(suite: Any, task: Any, tools: list[dict[str, Any]], benchmark_version: str) -> dict[str, Any]:
    """Run one user task's ground truth with the suite's runner, which also checks the outcome."""
    pipeline: Any = importlib.import_module("agentdojo.agent_pipeline.ground_truth_pipeline").GroundTruthPipeline
    recorded: list[Any] = []

    class RecordingPipeline(pipeline):
        """The ground truth as it is, with its messages kept: the suite's runner returns only the verdict."""

        def query(self, *arguments: Any, **options: Any) -> Any:
            result = super().query(*arguments, **options)
            recorded[:] = result[3]
            return result

    line: dict[str, Any] = {
        "suite": suite.name,
        "benchmark_version": benchmark_version,
        "user_task_id": task.ID,
        "prompt": task.PROMPT,
        "tools": tools,
        "messages": [],
        "utility": None,
        "error": None,
    }
    try:
        utility, _ = suite.run_task_with_pipeline(RecordingPipeline(task), task, injection_task=None, injections={})
    except Exception as error:  # noqa: BLE001  a task that its authors left unsolved raises NotImplementedError; the others go on
        line["error"] = f"{type(error).__name__}: {error}"[:500]
        return line
    line["utility"] = bool(utility)
    line["messages"] = [message_of(message) for message in recorded]
    return line


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--benchmark-version", default="v1.2.2")
    parser.add_argument("--suite", action="append", required=True)
    options = parser.parse_args(arguments)
    if sys.flags.hash_randomization:
        print("PYTHONHASHSEED must be set to a number, or the output differs from run to run", file=sys.stderr)
        return 2
    import_without_model_clients()
    # Whatever a dependency prints goes to stderr: stdout holds JSON lines only.
    with contextlib.redirect_stdout(sys.stderr):
        suites_module = importlib.import_module("agentdojo.task_suite")
        stop_the_clock()
        suites = suites_module.get_suites(options.benchmark_version)
    for name in options.suite:
        if name not in suites:
            print(f"no suite {name!r}; there are: {', '.join(sorted(suites))}", file=sys.stderr)
            return 2
        suite = suites[name]
        tools = [
            {"name": tool.name, "description": tool.description, "parameters": tool.parameters.model_json_schema()}
            for tool in sorted(suite.tools, key=lambda tool: tool.name)
        ]
        tasks = sorted(suite.user_tasks.values(), key=lambda task: int(task.ID.rsplit("_", 1)[1]))
        for task in tasks:
            with contextlib.redirect_stdout(sys.stderr):
                line = run_task(suite, task, tools, options.benchmark_version)
            print(json.dumps(line, sort_keys=True, ensure_ascii=False), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
