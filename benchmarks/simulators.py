"""How many missions the simulators' own experts accomplish, and what that costs: AgentDojo (all user tasks of its four
suites), TextWorld-Express (8 games, 40 train seeds), ScienceWorld (30 task types, the first train variation), BabyAI
(96 environments, seeds 0 and 1).

Success is what each simulator itself judges. Every simulator is run anew, in its own environment, without the cache of
earlier runs; then the readers make episodes of what it printed. AgentDojo's suites that are held out for evaluation are
measured and given to no reader: nothing may train on them.

A section is measured in a fresh process. CPU seconds are those of the simulators' processes; readers' are apart.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from benchmarks.bars import Bar, bar_lines
from benchmarks.child import measured_in_a_child
from benchmarks.machine import machine, versions

if TYPE_CHECKING:
    from types import ModuleType

    from forge.config import Settings, SourceSettings
    from forge.schema import Item

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Section:
    """What is run of a simulator. ``solved`` reads the simulator's verdict in a line that its script printed, ``steps``
    counts the expert's actions there, ``episode`` names the line inside its item."""

    options: Mapping[str, Any]
    episodes: int
    minimum: int
    solved: Callable[[Line], bool]
    steps: Callable[[Line], int]
    episode: str
    is_held_out_too: bool = False


SECTIONS: Mapping[str, Section] = {
    "agentdojo": Section(
        options={"suites": ["workspace", "travel"]},
        episodes=97,
        minimum=96,
        solved=lambda line: line["utility"] is True,
        steps=lambda line: sum(len(message.get("tool_calls", ())) for message in line["messages"]),
        episode="user_task_id",
        is_held_out_too=True,
    ),
    "textworld_express": Section(
        options={"seeds_per_game": 40},
        episodes=320,
        minimum=300,
        solved=lambda line: line["success"] is True,
        steps=lambda line: len(line["steps"]),
        episode="seed",
    ),
    "scienceworld": Section(
        options={"variations_per_task": 1},
        episodes=30,
        minimum=30,
        solved=lambda line: line["success"] is True,
        steps=lambda line: len(line["steps"]),
        episode="variation",
    ),
    "babyai": Section(
        options={"seeds_per_environment": 2},
        episodes=192,
        minimum=180,
        solved=lambda line: line["ending"] == "terminated" and line["reward"] > 0,
        steps=lambda line: len(line["steps"]),
        episode="seed",
    ),
}
_PACKAGES = ("pydantic", "orjson")


# --- in a process of its own --------------------------------------------------------------------------------------


def measure(name: str) -> dict[str, Any]:
    """One section in this process. Raises SystemExit where its simulator is not installed or fails."""
    from forge.config import SourceSettings, load_settings
    from forge.trajectories.readers import READERS

    section = SECTIONS[name]
    reader = import_module(READERS[name])
    with tempfile.TemporaryDirectory() as home:
        settings = load_settings("demo", environment={}).model_copy(update={"home": home})
        source = SourceSettings.model_validate({"type": name, "options": section.options})
        items = list(reader.list_items("benchmark", source, settings))
        found = _played(section, reader, [*items, *(_held_out(reader) if section.is_held_out_too else ())], settings)
        return {"version": reader.SIMULATOR.version, **found, **_read(reader, items, source, settings)}


def _held_out(agentdojo: ModuleType) -> Iterator[Item]:
    """Items that no source can have: the reader refuses to list them."""
    for suite in agentdojo.HELD_OUT_SUITES:
        yield agentdojo.SIMULATOR.item("benchmark", suite, agentdojo.script_arguments(suite), agentdojo.TIMEOUT_SECONDS)


def _played(section: Section, reader: ModuleType, items: Sequence[Item], settings: Settings) -> dict[str, Any]:
    from forge.schema import Decision

    episodes = solved = steps = 0
    unsolved: list[str] = []
    slowest = ("", 0.0)
    started, used = time.monotonic(), _children_seconds()
    for item in items:
        before = time.monotonic()
        lines = reader.SIMULATOR.lines(item, settings)
        slowest = max(slowest, (item.item_id, time.monotonic() - before), key=lambda pair: pair[1])
        if isinstance(lines, Decision):
            raise SystemExit(f"benchmarks.simulators: {item.item_id}: {lines.reason}: {lines.detail}")
        for line in lines:
            episodes += 1
            steps += section.steps(line)
            if section.solved(line):
                solved += 1
            else:
                unsolved.append(f"{item.item_id}#{line[section.episode]}: {line.get('error') or 'failed'}"[:160])
    return {
        "items": len(items),
        "episodes": episodes,
        "solved": solved,
        "steps": steps,
        "cpu_seconds": round(_children_seconds() - used, 1),
        "seconds": round(time.monotonic() - started, 1),
        "slowest_item": {"item_id": slowest[0], "seconds": round(slowest[1], 1)},
        "unsolved": unsolved,
    }


def _read(reader: ModuleType, items: Sequence[Item], source: SourceSettings, settings: Settings) -> dict[str, Any]:
    """What the reader makes of the lines that may train, which are in the cache by now."""
    from forge.schema import Decision

    started = time.process_time()
    outcomes: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    for item in items:
        for found in reader.read_item(item, source, settings):
            if isinstance(found, Decision):
                rejected[found.reason] += 1
            else:
                found.row("benchmark")
                outcomes[found.outcome] += 1
    return {
        "trajectories": dict(sorted(outcomes.items())),
        "rejected": dict(sorted(rejected.items())),
        "reader_cpu_seconds": round(time.process_time() - started, 2),
    }


def _children_seconds() -> float:
    """Of the children, and of theirs, that have been waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# --- the whole run ------------------------------------------------------------------------------------------------


def report(measured: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """What the sections measured, and whether enough missions were accomplished."""
    bars = []
    for name, found in measured.items():
        bars.append(Bar(f"{name} episodes", found["episodes"], SECTIONS[name].episodes, True))
        bars.append(Bar(f"{name} solved", found["solved"], SECTIONS[name].minimum, True))
    return {
        "name": "simulators",
        "machine": machine(),
        "versions": versions(_PACKAGES) | {name: found["version"] for name, found in measured.items()},
        "ours": dict(measured),
        "peers": {},
        "ratios": {},
        "bars": [bar.row() for bar in bars],
    }


def _table(result: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"{'simulator':<18}{'items':>6}{'episodes':>9}{'solved':>7}{'steps':>7}{'CPU s':>8}{'wall s':>8}"
        f"{'read':>6}{'reader CPU s':>13}  slowest item"
    )
    for name, found in result["ours"].items():
        slowest = found["slowest_item"]
        yield (
            f"{name:<18}{found['items']:>6}{found['episodes']:>9}{found['solved']:>7}{found['steps']:>7,}"
            f"{found['cpu_seconds']:>8.1f}{found['seconds']:>8.1f}{sum(found['trajectories'].values()):>6}"
            f"{found['reader_cpu_seconds']:>13.2f}  {slowest['seconds']:.1f} s {slowest['item_id']}"
        )
    for name, found in result["ours"].items():
        for reason, count in found["rejected"].items():
            yield f"{name}: {count} rejected as {reason}"
        for episode in found["unsolved"]:
            yield f"{name}: not solved: {episode}"
    yield from bar_lines(result["bars"])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulators", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=tuple(SECTIONS), help="sections that are run")
    parser.add_argument("--measure", choices=SECTIONS, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.measure:
        json.dump(measure(chosen.measure), sys.stdout)
        return 0
    result = report(
        {name: measured_in_a_child("benchmarks.simulators", name) for name in SECTIONS if name in chosen.only}
    )
    print(json.dumps(result, indent=2) if chosen.json else "\n".join(_table(result)))
    return 0 if all(bar["passed"] for bar in result["bars"]) else 1


if __name__ == "__main__":
    sys.exit(main())
