"""Third-party files, when they lie beside the checkout: every record of every set is a trajectory or has a reason.

Records are counted without our parsers. The table of docs/trajectories.md is made here (UPDATE_DOCS=1)."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest

from forge.config import Settings, SourceSettings, load_settings
from forge.schema import Trajectory
from forge.stored_files import Problem
from forge.trajectories.checks import check
from forge.trajectories.evaluation_sets import denied_by_name, denied_episode
from forge.trajectories.files import list_items, opened

ROOT = Path(__file__).resolve().parents[3]
SAMPLES = ROOT.parent / "shared" / "samples"
MARKS = ("<!-- generated from third-party samples: UPDATE_DOCS=1 pytest tests/forge/trajectories/test_samples.py -->\n",
         "<!-- end of samples -->")  # fmt: skip
pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason="no ../shared/samples beside the checkout")

Files = Iterable[Path]


def lines(files: Files) -> int:
    return sum(bool(line.strip()) for file in files for line in file.read_bytes().splitlines())


def elements(files: Files) -> int:
    return sum(len(orjson.loads(file.read_bytes())) for file in files)


def one_each(files: Files) -> int:
    return len(list(files))


def rows(files: Files) -> int:
    return sum(int(pq.read_metadata(file).num_rows) for file in files)


def matching(pattern: str) -> Callable[[Files], int]:
    def count(files: Files) -> int:
        return sum(len(re.findall(pattern, file.read_text(errors="replace"), re.MULTILINE)) for file in files)

    return count


@dataclass(frozen=True)
class Sample:
    """``unit``: what ``count`` counts. ``is_one_to_one``: each such thing is one trajectory or one reason."""

    name: str
    pattern: str
    count: Callable[[Files], int]
    unit: str = "records"
    is_one_to_one: bool = True
    is_evaluation_set: bool = False


FOLDERS = (
    Sample("AgentDojo ground truth", "_generated_classA/agentdojo_ground_truth.json", elements),
    Sample("ScienceWorld gold", "_generated_classA/scienceworld_gold.jsonl", lines),
    Sample("TextWorld-Express gold", "_generated_classA/textworld_express_gold.jsonl", lines),
    Sample("API-Bank levels 1, 2", "api-bank/api-bank/lv1-lv2-samples/**/*.jsonl", one_each, "dialogues",
           is_evaluation_set=True),
    Sample("API-Bank level 3", "api-bank/api-bank/lv3-samples/*.txt", one_each, "scenes", is_evaluation_set=True),
    Sample("FireAct, fine-tuning", "fireact/data/finetune/gpt_format/*.jsonl", lines),
    Sample("FireAct, runs on HotpotQA dev", "fireact/trajs/*.json", elements, is_evaluation_set=True),
    Sample("Glaive", "glaive/data/glaive_toolcall_en_demo.json", elements),
    Sample("reason_tool_use", "glaive/data/reason_tool_use_demo_50.jsonl", lines),
    Sample("Hammer", "hammer/data/train/*.json", elements),
    Sample("ReAct, ALFWorld prompts", "react/prompts/alfworld*.json", matching(r"Your task is to:"), "episodes"),
    Sample("ReAct, other prompts", "react/prompts/[fp]*.json", elements, "texts", False),
    Sample("ReAct, notebooks", "react/*.ipynb", one_each, "notebooks", False),
    Sample("Reflexion, HotpotQA logs", "reflexion/hotpotqa_runs/*/ReAct/**/*.txt", matching(r"^Question: "),
           "questions"),
    Sample("Reflexion, ALFWorld results", "reflexion/alfworld_runs/**/env_results_*.json", elements),
    Sample("Seal-Tools, test", "seal-tools/Seal-Tools_Dataset/test_*.jsonl", lines, is_evaluation_set=True),
    Sample("Seal-Tools, dev", "seal-tools/Seal-Tools_Dataset/dev.jsonl", lines, is_evaluation_set=True),
    Sample("SWE-agent", "swe-agent/**/*.traj", one_each, "runs"),
    Sample("tau-bench, runs", "tau-bench/historical_trajectories/*.json", elements, is_evaluation_set=True),
    Sample("tau-bench, few-shot", "tau-bench/few_shot_data/*.jsonl", lines, is_evaluation_set=True),
    Sample("ToolBench, answer trees", "toolbench/data_example/answer/**/*.json", one_each, "trees", False),
    Sample("ToolBench, tooleval", "toolbench/toolbench/tooleval/results/**/*.json", elements, is_one_to_one=False,
           is_evaluation_set=True),
    Sample("ToolRL, SFT", "toolrl/dataset/rlla_4k_raw/rlla_sft.json", elements, is_evaluation_set=True),
    Sample("ToolRL, test", "toolrl/dataset/rlla_4k/test.parquet", rows, is_evaluation_set=True),
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    sample: Sample
    raw: int
    trajectories: int
    denied: int
    problems: Counter[str]

    def row(self) -> str:
        rest = ", ".join(f"{count:,} {reason}" for reason, count in sorted(self.problems.items()))
        use = "never" if self.sample.is_evaluation_set else f"but for {self.denied:,}" if self.denied else "yes"
        return (
            f"| {self.sample.name} | {self.raw:,} {self.sample.unit} | {self.trajectories:,} | {rest or '-'} | {use} |"
        )


def read(sample: Sample, settings: Settings) -> Outcome:
    """Every episode of a sample, whether or not it may train."""
    source = SourceSettings(type="trajectory_files", license="MIT", options={"paths": [f"{SAMPLES}/{sample.pattern}"]})
    problems: Counter[str] = Counter()
    trajectories = denied = 0
    for item in list_items("samples", source, settings):
        is_denied_item = denied_by_name(item, source) is not None
        for _, found in opened(item, source, settings).episodes():
            if isinstance(found, Problem):
                problems[found.reason] += 1
                continue
            denied += is_denied_item or denied_episode(found) is not None
            decision = check(found)
            if decision is None:
                trajectories += 1
            else:
                problems[decision.reason] += 1
    return Outcome(sample, sample.count(sorted(SAMPLES.glob(sample.pattern))), trajectories, denied, problems)


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    settings = load_settings("demo", environment={})
    return [read(sample, settings) for sample in FOLDERS]


def test_every_record_is_a_trajectory_or_has_a_reason(outcomes: list[Outcome]) -> None:
    for found in outcomes:
        given = found.trajectories + sum(found.problems.values())
        assert given == found.raw if found.sample.is_one_to_one else given >= found.raw, found
        assert "reader_failed" not in found.problems, found
        assert "unknown_format" not in found.problems, found


def test_evaluation_sets_and_only_they_are_refused(outcomes: list[Outcome]) -> None:
    for found in outcomes:
        given = found.trajectories + sum(found.problems.values())
        assert (found.denied > given / 2) == found.sample.is_evaluation_set, found


def by_content(pattern: str) -> Iterator[bool]:
    """Whether each episode is refused for what it holds, its name aside."""
    source = SourceSettings(type="trajectory_files", license="MIT", options={"paths": [f"{SAMPLES}/{pattern}"]})
    settings = load_settings("demo", environment={})
    for item in list_items("samples", source, settings):
        for _, found in opened(item, source, settings).episodes():
            if isinstance(found, Trajectory):
                yield denied_episode(found) is not None


@pytest.mark.parametrize(
    ("name", "share"),
    [("api-bank/api-bank/lv1-lv2-samples/**/*.jsonl", 0.95), ("tau-bench/historical_trajectories/*.json", 0.99),
     ("toolrl/dataset/rlla_4k_raw/rlla_sft.json", 0.95)],
)  # fmt: skip
def test_evaluation_sets_are_found_by_content_alone(name: str, share: float) -> None:
    found = list(by_content(name))
    assert sum(found) >= share * len(found) > 0


def test_the_table_of_the_docs_is_what_these_files_give(outcomes: list[Outcome]) -> None:
    page = ROOT / "docs" / "trajectories.md"
    before, rest = page.read_text().split(MARKS[0], 1)
    found, after = rest.split(MARKS[1], 1)
    head = "| set | in the files | trajectories | the rest, by reason | may train |\n|---|---|---|---|---|\n"
    wanted = head + "".join(f"{outcome.row()}\n" for outcome in outcomes)
    if os.environ.get("UPDATE_DOCS"):
        page.write_text(before + MARKS[0] + wanted + MARKS[1] + after)
        return
    assert found == wanted, "run: UPDATE_DOCS=1 pytest tests/forge/trajectories/test_samples.py"
