"""One good input or more of each format of trajectories, made by hand where the tests of the formats have none."""

from __future__ import annotations

import json
from typing import Any

from forge.schema import Step, ToolCall
from forge.trajectories.formats import adp
from forge.trajectories.formats.fields import trajectory
from tests.forge.trajectories import test_files
from tests.forge.trajectories.formats import (
    test_agent_flan,
    test_agent_instruct,
    test_agentdojo,
    test_alpaca_calls,
    test_api_bank,
    test_api_bank_scenes,
    test_fireact,
    test_games,
    test_nebius,
    test_openhands,
    test_openhands_events,
    test_react_notebook,
    test_react_prompts,
    test_react_text,
    test_reflexion_memories,
    test_seal_tools,
    test_sharegpt,
    test_swe_agent,
    test_swe_smith,
    test_tau_bench,
    test_toolace,
    test_toolbench,
    test_tooleval,
    test_tooltalk,
    test_xlam,
)

_OURS = trajectory(
    "Weather in Oslo?",
    [
        Step("system", "Be brief."),
        Step("user", "Weather in Oslo?"),
        Step("assistant", "I look.", "Oslo is a city.", (ToolCall("weather", {"city": "Oslo"}, "c1"),), loss=True),
        Step("tool", "", answers="c1", error="closed"),
        Step("assistant", calls=(ToolCall("weather", {"city": "Oslo"}, "c2"),)),
        Step("tool", "rain", answers="c2"),
    ],
    tools=(test_files.WEATHER,),
    outcome="success",
    reward=1.0,
)
_ATIF = {
    "schema_version": "ATIF-v1.7",
    "session_id": "run-1",
    "agent": {"name": "planner", "model_name": "small", "tool_definitions": test_files.OPENAI["tools"], "extra": {}},
    "steps": [
        {"step_id": 1, "source": "system", "message": "You book trips.", "timestamp": "2026-01-01T00:00:00Z"},
        {"step_id": 2, "source": "user", "message": [{"type": "text", "text": "Weather?"}]},
        {"step_id": 3, "source": "agent", "message": "I look.", "reasoning_content": "Oslo.",
         "tool_calls": [{"tool_call_id": "c1", "function_name": "weather", "arguments": {"city": "Oslo"}}],
         "observation": {"results": [{"source_call_id": "c1", "content": "rain", "extra": {"error": "closed"}}]},
         "metrics": {"prompt_tokens": 10}},
        {"step_id": 4, "source": "agent", "message": "Rain."},
    ],
    "subagent_trajectories": [],
}  # fmt: skip
RECORDS: dict[str, list[Any]] = {
    "table_rows": [json.loads(json.dumps(_OURS.row(""), default=str))],
    "atif": [_ATIF],
    "adp": [adp.write(_OURS)],
    "swe_agent": [test_swe_agent.COMMANDS, test_swe_agent.CALLS],
    "toolbench": [test_toolbench.WON],
    "tooleval": [test_tooleval.answer(test_tooleval.WEATHER, test_tooleval.FINISH)],
    "tooltalk": [test_tooltalk.RECORD],
    "seal_tools": [test_seal_tools.RECORD],
    "agentdojo": [test_agentdojo.RUN, test_agentdojo.LINE, test_agentdojo.ARRAY],
    "games": [test_games.SCIENCE, test_games.COIN],
    "fireact": [test_fireact.RUN, test_fireact.CHAT_RUN],
    "nebius": [test_nebius.ROW],
    "openhands": [test_openhands.GYM, test_openhands.REBENCH],
    "openhands_events": [test_openhands_events.RECORD, test_openhands_events.PAIRS],
    "swe_smith": [test_swe_smith.row(json.dumps(test_swe_smith.TOOL)), test_swe_smith.row(test_swe_smith.TICKS)],
    "tau_bench": [test_tau_bench.RUN, test_tau_bench.SIMULATION],
    "toolace": [test_toolace.RECORD],
    "agent_instruct": test_agent_instruct.RECORDS,
    "agent_flan": [test_agent_flan.LABELLED, test_agent_flan.FENCED],
    "xlam": [test_xlam.RECORD],
    "alpaca_calls": [test_alpaca_calls.HAMMER, test_alpaca_calls.TOOLRL, test_alpaca_calls.RL],
    "reflexion_memories": [test_reflexion_memories.RESULT],
    "react_notebook": [test_react_notebook.NOTEBOOK],
    "react_prompts": [{"act_room": test_react_prompts.ROOM}],
    "sharegpt": [test_sharegpt.GLAIVE, test_sharegpt.HERMES],
    "openai_messages": [test_files.OPENAI, test_files.LEGACY],
}
FILES: dict[str, list[Any]] = {"api_bank": test_api_bank.TURNS, "openhands_events": test_openhands_events.EVENTS}
TEXTS: dict[str, list[str]] = {
    "api_bank_scenes": [test_api_bank_scenes.SCENE.replace("98b4", "b498")],
    "react_text": [
        test_react_text.REFLEXION, test_react_text.FEVER, test_react_text.WEBSHOP, test_react_text.ALFWORLD,
    ],
}  # fmt: skip
EPISODES = {"toolbench": 2, "react_notebook": 2, "reflexion_memories": 0}
"""How many each good record holds, of formats in which that is not one."""
MAPPING = {
    "task": "$.messages[0].content",
    "steps": "$.messages[*]",
    "step": {"role": "$.role", "content": "$.content", "calls": "$.tool_calls[*]", "answers": "$.tool_call_id"},
    "call": {"name": "$.function.name", "arguments": "$.function.arguments", "id": "$.id"},
}
"""A mapping that reads the first good record of ``openai_messages``."""
