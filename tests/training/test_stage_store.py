"""A stage whose checkpoints are copied to S3: another machine goes on from there, with the same losses."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from tests.training.cutting_proxy import cutting
from tests.training.stopping import StopAt
from training import checkpoint_store as module
from training.checkpoint import load_checkpoint
from training.checkpoint_store import StoreError
from training.heartbeat import Heartbeat
from training.process import StopRequest
from training.run import Stopped
from training.stage import train_stage

pytestmark = pytest.mark.s3


def with_store(run, request, endpoint):
    """The run, copying to a place of this test's own."""
    from dataclasses import replace

    settings = run.settings
    training = settings.training.model_copy(update={"checkpoint_store": f"s3://forge/{request.node.name}"})
    lake = settings.lake.model_copy(update={"s3_endpoint": endpoint})
    return replace(run, settings=settings.model_copy(update={"training": training, "lake": lake}))


def train(run, stage="I", stop_at=1_000):
    lines: list[str] = []
    train_stage(run, stage, stop=StopAt(run.folder, stop_at), say=lines.append, cpu=True)
    return lines


def losses(run):
    return [json.loads(line)["loss"] for line in (run.folder / "metrics.jsonl").read_text().splitlines()]


def test_another_machine_goes_on_from_the_store(make_run, request, s3):
    straight = make_run("straight")
    train(straight)
    first = with_store(make_run("first", checkpoint_every_steps=2), request, s3)
    with pytest.raises(Stopped):
        train(first, stop_at=5)
    assert len(first.checkpoint_store().names("checkpoints/I-")) == 2, "as many as are kept here"
    second = with_store(make_run("second"), request, s3)
    assert any("goes on after step 5" in line for line in train(second))
    assert losses(second) == losses(straight), "also of the steps that another machine made"
    one, two = (load_file(run.model_folder("I") / "model.safetensors") for run in (straight, second))
    assert all(torch.equal(one[name], two[name]) for name in one)
    third = with_store(make_run("third"), request, s3)
    assert any("stage II: " in line for line in train(third, "II")), "stage I's model comes from the store"
    assert load_checkpoint(third.model_folder("I")).state["step"] == 6
    assert third.summary()["stages"].keys() == {"I", "II"}
    assert third.seen_path("I").read_bytes() == straight.seen_path("I").read_bytes()


class CutsOff(Heartbeat):
    """Takes the store away after some step."""

    def __init__(self, folder, proxy, step):
        super().__init__(folder / "heartbeat.json", 600.0)
        self.proxy, self.step = proxy, step

    def beat(self, stage, step, micro_batch):
        self.proxy.is_down = step > self.step
        super().beat(stage, step, micro_batch)


def test_a_store_that_goes_away_does_not_stop_the_training_and_gets_the_rest_later(make_run, request, s3, monkeypatch):
    monkeypatch.setattr(module, "_FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(module, "_TRIES", 2)
    monkeypatch.setattr(module, "_ASKED_TRIES", 2)
    monkeypatch.setattr(module, "_REQUEST_TRIES", 1)
    with cutting(s3) as proxy:
        run = with_store(make_run(checkpoint_every_steps=2), request, proxy.endpoint)
        lines: list[str] = []
        heartbeat = CutsOff(run.folder, proxy, 2)
        train_stage(run, "I", stop=StopRequest(), say=lines.append, cpu=True, heartbeat=heartbeat)
        assert any(line.startswith("not copied: ") and "stage-I" in line for line in lines)
        assert run.is_finished("I")
        with pytest.raises(StoreError):
            train(run)
        proxy.is_down = False
        assert run.checkpoint_store().names("models/") == []
        train(run)
        assert run.checkpoint_store().names("models/") == ["models/stage-I"]
