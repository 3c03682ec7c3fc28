"""A run that was stopped or killed goes on to the bit: any step, twice, in mid-accumulation, at the end of an epoch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from forge.config import checkout
from tests.training.stopping import StopAt
from training.heartbeat import Heartbeat
from training.process import StopRequest
from training.run import Stopped
from training.stage import train_stage

EXACT = (
    "step", "stage", "tokens", "loss", "loss_by_kind", "learning_rate", "gradient_norm", "skipped", "sequences_hash",
)  # fmt: skip


class Killed(Exception):
    """Stands for the end of the process: nothing after it is written."""


class EndsAt(Heartbeat):
    """Ends the process, or what stands for it, after one micro-batch of one step."""

    def __init__(self, folder: Path, step: int, micro_batch: int) -> None:
        super().__init__(folder / "heartbeat.json", 600.0)
        self.at = (step, micro_batch)

    def beat(self, stage: str, step: int, micro_batch: int) -> None:
        if (step, micro_batch) == self.at:
            raise Killed
        super().beat(stage, step, micro_batch)


def train(run, stage="I", stop=None, heartbeat=None):
    return train_stage(
        run, stage, stop=StopRequest() if stop is None else stop, say=lambda _: None, cpu=True, heartbeat=heartbeat
    )


def exact_entries(folder: Path) -> list[list]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [[entry[key] for key in EXACT] for entry in map(json.loads, lines) if "event" not in entry]


def assert_equal(one, two, stage="I"):
    assert exact_entries(one.folder) == exact_entries(two.folder)
    first, second = (load_file(run.model_folder(stage) / "model.safetensors") for run in (one, two))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    seen = [(run.folder / f"seen-{stage}.parquet").read_bytes() for run in (one, two)]
    assert seen[0] == seen[1]


@pytest.fixture
def straight(make_run):
    run = make_run("straight", micro_batch_sequences=1)
    assert train(run).ran_steps == 6
    return run


def test_stopped_after_every_step(make_run, straight):
    broken = make_run("broken", micro_batch_sequences=1)
    assert broken.run_id == straight.run_id
    for step in range(1, 6):
        with pytest.raises(Stopped):
            train(broken, stop=StopAt(broken.folder, step))
    assert train(broken).ran_steps == 1
    assert_equal(straight, broken)


@pytest.mark.parametrize("step", [1, 2, 5])
def test_ended_in_mid_accumulation(make_run, straight, step):
    broken = make_run("broken", micro_batch_sequences=1, checkpoint_every_steps=1)
    with pytest.raises(Killed):
        train(broken, heartbeat=EndsAt(broken.folder, step, 1))
    assert train(broken).ran_steps == 6 - (step - 1)
    assert_equal(straight, broken)


def test_stopped_at_the_end_of_an_epoch_and_within_the_next(make_run):
    """More tokens than the release has: sequences come again in another order."""
    stages = {"I": make_run("any").training.stages["I"].model_copy(update={"tokens": 40 * 256})}
    runs = [make_run(name, stages=stages, checkpoint_every_steps=1000) for name in ("straight", "broken")]
    steps = train(runs[0]).ran_steps
    plan = json.loads((runs[0].folder / "run.json").read_text())["stages"]["I"]["data"]
    stratum = min(plan["strata"].values(), key=lambda one: one["sequences"] / max(one["share"], 1e-9))
    assert stratum["epochs"] > 1
    end_of_epoch = round(steps / stratum["epochs"])
    for step in (end_of_epoch - 1, end_of_epoch, end_of_epoch + 1, end_of_epoch + 4):
        with pytest.raises(Stopped):
            train(runs[1], stop=StopAt(runs[1].folder, step))
    assert train(runs[1]).ran_steps == steps - end_of_epoch - 4
    assert_equal(*runs)


def test_killed_at_once_in_mid_accumulation(make_run, straight, tmp_path):
    """SIGKILL from within: no handler, no clean-up, nothing flushed."""
    program = """
import os, signal, sys
from pathlib import Path
from training.heartbeat import Heartbeat
from training.process import StopRequest
from training.stage import train_stage
from forge.config import Settings
import orjson
sys.path.insert(0, sys.argv[2])
from conftest import File, SmallRelease
from training.run import open_run

class Kills(Heartbeat):
    def beat(self, stage, step, micro_batch):
        if (step, micro_batch) == (4, 2):
            os.kill(os.getpid(), signal.SIGKILL)

given = orjson.loads(Path(sys.argv[1]).read_bytes())
release = SmallRelease(tuple(File(**file) for file in given["files"]))
run = open_run(Settings.model_validate(given["settings"]), release, lambda path: Path(path).open("rb"), Path("/"))
train_stage(run, "I", stop=StopRequest(), cpu=True, heartbeat=Kills(run.folder / "heartbeat.json", 600.0))
"""
    broken = make_run("broken", micro_batch_sequences=1, checkpoint_every_steps=2)
    files = [{"path": file.path, "sha256": file.sha256, "size_bytes": file.size_bytes} for file in broken.release.files]
    given = tmp_path / "given.json"
    given.write_text(json.dumps({"files": files, "settings": broken.settings.model_dump(mode="json")}))
    done = subprocess.run(
        [sys.executable, "-c", program, str(given), str(Path(__file__).parent)],
        check=False, cwd=checkout(), env=os.environ | {"PYTHONPATH": str(checkout())}, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [path.name for path in (broken.folder / "checkpoints").iterdir() if not path.name.startswith(".")] == [
        "I-000002"
    ]
    assert train(broken).ran_steps == 4
    assert_equal(straight, broken)
