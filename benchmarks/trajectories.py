"""How fast trajectories are read, checked and rendered: ReAct logs and chats (Reflexion, FireAct), function calls
(Glaive, AgentDojo), and whether memory stays flat over a JSON file larger than it.

Every section runs in a fresh process. Ours is the reader's own ``read_item`` (files, formats, evaluation sets, checks),
``row`` and ``render``. The peer does the same work with the same parsers and the same forms, the way trajectory
toolkits are written: a pydantic model per step and call, JSON Lines between its three stages (read, check, render),
arguments checked by ``jsonschema.validate``. Both must give the same texts.

CPU seconds are counted, not wall time. The files are third-party samples (``--samples``, default ../shared/samples).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.bars import Bar, bar_lines
from benchmarks.child import measured_in_a_child
from benchmarks.machine import machine, versions

if TYPE_CHECKING:
    from forge.config import SourceSettings
    from forge.schema import Trajectory

SETS: Mapping[str, tuple[str, ...]] = {
    "react": ("reflexion/hotpotqa_runs/*/ReAct/**/*.txt", "fireact/data/finetune/gpt_format/*.jsonl"),
    "calls": ("glaive/data/glaive_toolcall_en_demo.json", "_generated_classA/agentdojo_ground_truth.json"),
}
SECTIONS = (*SETS, "memory")
MIN_STEPS_PER_CPU_SECOND = 5_000
MIN_RATIO = 10.0
SMALL_BYTES, LARGE_BYTES = 64 * 1024**2, 1_100 * 1024**2
MAX_GROWTH_BYTES = 64 * 1024**2
_MAX_CHARACTERS = 400_000
_PACKAGES = ("orjson", "ijson", "jsonschema-rs", "jsonschema", "pydantic")


# --- in a process of its own --------------------------------------------------------------------------------------


def _peak_bytes() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _source(samples: Path, name: str) -> SourceSettings:
    from forge.config import SourceSettings

    paths = [str(samples / pattern) for pattern in SETS[name]]
    return SourceSettings(type="trajectory_files", license="MIT", options={"paths": paths})


class _Texts:
    """A hash over all texts, so that two runs can be compared."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.count = 0

    def add(self, form: str, text: str) -> None:
        self._digest.update(f"{form}\x1f{text}\x1e".encode("utf-8", "replace"))
        self.count += 1

    def summary(self) -> dict[str, Any]:
        return {"documents": self.count, "documents_sha256": self._digest.hexdigest()}


def _ours(samples: Path, name: str) -> dict[str, Any]:
    from forge.config import load_settings
    from forge.schema import Trajectory
    from forge.trajectories.files import list_items, read_item
    from forge.trajectories.render import render

    settings, source = load_settings("demo", environment={}), _source(samples, name)
    items = list(list_items("benchmark", source, settings))
    texts = _Texts()
    episodes = steps = rejected = 0
    started = time.process_time()
    for item in items:
        for found in read_item(item, source, settings):
            if not isinstance(found, Trajectory):
                rejected += 1
                continue
            found.row("benchmark")
            episodes += 1
            steps += len(found.steps)
            for document in render(found, 0.0, _MAX_CHARACTERS):
                texts.add(document.form, document.text)
    seconds = time.process_time() - started
    return _result(len(items), episodes, steps, rejected, seconds, texts)


def _result(files: int, episodes: int, steps: int, rejected: int, seconds: float, texts: _Texts) -> dict[str, Any]:
    return {
        "files": files,
        "episodes": episodes,
        "steps": steps,
        "rejected": rejected,
        "cpu_seconds": round(seconds, 3),
        "steps_per_cpu_second": round(steps / seconds),
        "peak_bytes": _peak_bytes(),
        **texts.summary(),
    }


def _peer(samples: Path, name: str) -> dict[str, Any]:
    """The same with a pydantic model per step; a stage reads what the stage before it wrote as JSON Lines."""
    import jsonschema
    import orjson
    from pydantic import BaseModel

    from forge.config import load_settings
    from forge.schema import CHAT_FORM, content_hash, split_of
    from forge.schema import Trajectory as Episode
    from forge.stored_files import Problem
    from forge.trajectories import files
    from forge.trajectories.chat_messages import chat
    from forge.trajectories.checks import check
    from forge.trajectories.evaluation_sets import denied_episode
    from forge.trajectories.feedback import feedback
    from forge.trajectories.identity import normalised_key
    from forge.trajectories.plan import plan
    from forge.trajectories.recovery import corrections
    from forge.trajectories.render import FEEDBACK_FORM, PLAN_FORM, TRANSCRIPT_FORM
    from forge.trajectories.shown_tools import task_group
    from forge.trajectories.tool_schemas import safe_schema
    from forge.trajectories.transcript import transcript

    class ToolCall(BaseModel):
        name: str
        arguments: dict[str, Any]
        call_id: str | None = None

    class Step(BaseModel):
        role: Literal["system", "user", "assistant", "tool"]
        content: str | None = None
        thought: str | None = None
        calls: list[ToolCall] = []
        answers: str | None = None
        error: str | None = None
        loss: bool | None = None

    class Trajectory(BaseModel):
        task: str
        tools: list[dict[str, Any]]
        steps: list[Step]
        outcome: Literal["success", "failure", "unknown"]
        reward: float | None = None
        environment: str = ""
        license: str = ""
        generator: str = ""
        source: str = ""
        item_id: str = ""
        episode: str = ""

    def modelled(found: Episode) -> Trajectory:
        steps = [
            Step(
                role=step.role, content=step.content, thought=step.thought, answers=step.answers, error=step.error,
                loss=step.loss,
                calls=[ToolCall(name=c.name, arguments=dict(c.arguments), call_id=c.call_id) for c in step.calls],
            )
            for step in found.steps
        ]  # fmt: skip
        return Trajectory(
            task=found.task, tools=[dict(tool) for tool in found.tools], steps=steps, outcome=found.outcome,
            reward=found.reward, environment=found.environment, license="MIT", generator=found.generator,
            source="benchmark", item_id="x", episode=found.episode,
        )  # fmt: skip

    def is_valid(model: Any) -> bool:
        bare = [{**tool, "parameters": {}} for tool in model.tools]
        if denied_episode(model) is not None or check(model.model_copy(update={"tools": bare})) is not None:
            return False
        schemas = {tool.get("name"): safe_schema(tool.get("parameters")) for tool in model.tools}
        forgiven = {found.failed_step for found in corrections(model)}
        for number, step in enumerate(model.steps):
            for call in step.calls:
                found = schemas.get(call.name)
                try:
                    if found is not None:
                        jsonschema.validate(call.arguments, found.schema)
                except jsonschema.ValidationError:
                    if number not in forgiven:
                        return False
                except jsonschema.SchemaError:
                    continue
        return True

    settings, source = load_settings("demo", environment={}), _source(samples, name)
    items = list(files.list_items("benchmark", source, settings))
    texts = _Texts()
    episodes = steps = rejected = 0
    with tempfile.TemporaryDirectory() as folder:
        read, checked = Path(folder, "read.jsonl"), Path(folder, "checked.jsonl")
        started = time.process_time()
        with read.open("w") as lines:
            for item in items:
                for _, found in files.opened(item, source, settings).episodes():
                    if isinstance(found, Problem):
                        rejected += 1
                    else:
                        lines.write(modelled(found).model_dump_json() + "\n")
        with read.open("rb") as lines_read, checked.open("w") as lines:
            for line in lines_read:
                model = Trajectory.model_validate_json(line)
                if is_valid(model):
                    lines.write(model.model_dump_json() + "\n")
                else:
                    rejected += 1
        with checked.open("rb") as lines_read:
            for line in lines_read:
                model = Trajectory.model_validate_json(line)
                shown: Any = model
                content_hash(orjson.dumps(model.model_dump()))
                split_of(task_group(shown), 0.0)
                normalised_key(shown)
                episodes += 1
                steps += len(model.steps)
                for form, text in (
                    (TRANSCRIPT_FORM, transcript(shown)),
                    (PLAN_FORM, plan(shown, corrections(shown), _MAX_CHARACTERS)),
                    (FEEDBACK_FORM, feedback(shown, corrections(shown), _MAX_CHARACTERS)),
                    (CHAT_FORM, chat(shown)),
                ):
                    if text is not None:
                        texts.add(form, text)
        seconds = time.process_time() - started
    return _result(len(items), episodes, steps, rejected, seconds, texts)


def _streamed(samples: Path, size_bytes: int) -> dict[str, Any]:
    """Reads one JSON array of FireAct's records, again and again until the file is ``size_bytes`` long."""
    from forge.config import SourceSettings, load_settings
    from forge.schema import Trajectory
    from forge.trajectories.files import list_items, read_item

    settings = load_settings("demo", environment={})
    records = (samples / "fireact/data/finetune/gpt_format/multitask_multimethod.jsonl").read_bytes().splitlines()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "large.json")
        with path.open("wb") as file:
            file.write(b"[" + records[0])
            position = 1
            while file.tell() < size_bytes:
                file.write(b",\n" + records[position % len(records)])
                position += 1
            file.write(b"]")
        source = SourceSettings(type="trajectory_files", license="MIT", options={"paths": [str(path)]})
        started = time.process_time()
        episodes = steps = 0
        for item in list_items("benchmark", source, settings):
            for found in read_item(item, source, settings):
                if isinstance(found, Trajectory):
                    episodes += 1
                    steps += len(found.steps)
        seconds = time.process_time() - started
        return {
            "bytes": path.stat().st_size,
            "records": position,
            "episodes": episodes,
            "steps": steps,
            "cpu_seconds": round(seconds, 1),
            "peak_bytes": _peak_bytes(),
        }


_MEASURED: Mapping[str, Callable[[Path], dict[str, Any]]] = {
    **{name: partial(_ours, name=name) for name in SETS},
    **{f"{name}_peer": partial(_peer, name=name) for name in SETS},
    "memory": partial(_streamed, size_bytes=LARGE_BYTES),
    "memory_small": partial(_streamed, size_bytes=SMALL_BYTES),
}


# --- the whole run ------------------------------------------------------------------------------------------------


def report(measured: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """What the sections measured, beside their peers, as DESIGN section 7 wants it."""
    ratios: dict[str, float] = {}
    agreements: dict[str, bool] = {}
    bars: list[Bar] = []
    for name in SETS:
        if name not in measured:
            continue
        ours, peer = measured[name], measured[f"{name}_peer"]
        ratios[name] = round(ours["steps_per_cpu_second"] / peer["steps_per_cpu_second"], 2)
        agreements[name] = ours["documents_sha256"] == peer["documents_sha256"]
        bars.append(Bar(f"{name} steps per CPU second", ours["steps_per_cpu_second"], MIN_STEPS_PER_CPU_SECOND, True))
        bars.append(Bar(f"{name} ratio to a model per step", ratios[name], MIN_RATIO, True))
        bars.append(Bar(f"{name} texts equal", float(agreements[name]), 1.0, True))
    if "memory" in measured:
        growth = measured["memory"]["peak_bytes"] - measured["memory_small"]["peak_bytes"]
        bars.append(Bar("peak bytes, 1.1 GiB file minus 64 MiB file", growth, MAX_GROWTH_BYTES))
        bars.append(Bar("records lost", measured["memory"]["records"] - measured["memory"]["episodes"], 0))
    return {
        "name": "trajectories",
        "machine": machine(),
        "versions": versions(_PACKAGES),
        "ours": {name: found for name, found in measured.items() if not name.endswith("_peer")},
        "peers": {name: found for name, found in measured.items() if name.endswith("_peer")},
        "ratios": ratios,
        "agreements": agreements,
        "bars": [bar.row() for bar in bars],
    }


def _table(result: Mapping[str, Any]) -> Iterator[str]:
    yield f"{'section':<14}{'episodes':>10}{'steps':>12}{'rejected':>10}{'CPU s':>9}{'steps/CPU s':>13}{'peak MiB':>10}"
    for name, found in (*result["ours"].items(), *result["peers"].items()):
        yield (
            f"{name:<14}{found['episodes']:>10,}{found['steps']:>12,}{found.get('rejected', 0):>10,}"
            f"{found['cpu_seconds']:>9.1f}{round(found['steps'] / found['cpu_seconds']):>13,}"
            f"{found['peak_bytes'] / 1024**2:>10.0f}"
        )
    for name, value in result["ratios"].items():
        yield f"{name}: {value} times the rate of a model per step; texts equal: {result['agreements'][name]}"
    yield from bar_lines(result["bars"])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.trajectories",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    default = Path(__file__).resolve().parents[2] / "shared" / "samples"
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS, help="sections that are run")
    parser.add_argument("--samples", type=Path, default=default, help="folder of fireact/, reflexion/, glaive/ ...")
    parser.add_argument("--measure", choices=_MEASURED, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if not (chosen.samples / "fireact").is_dir():
        parser.error(f"{chosen.samples}: no folder fireact; name the samples with --samples")
    if chosen.measure:
        json.dump(_MEASURED[chosen.measure](chosen.samples), sys.stdout)
        return 0
    peers = {"memory": "memory_small"}
    wanted = [
        name
        for section in SECTIONS
        if section in chosen.only
        for name in (section, peers.get(section, f"{section}_peer"))
    ]
    result = report(
        {
            name: measured_in_a_child("benchmarks.trajectories", name, "--samples", str(chosen.samples))
            for name in wanted
        }
    )
    print(json.dumps(result, indent=2) if chosen.json else "\n".join(_table(result)))
    return 0 if all(bar["passed"] for bar in result["bars"]) else 1


if __name__ == "__main__":
    sys.exit(main())
