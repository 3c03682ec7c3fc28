"""The loop of a stage: exact resume, finished stages, the three stages in a row, NaN, stopping."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from training.checkpoint import is_complete
from training.process import StopRequest
from training.run import NotFinite, StageMissing, Stopped
from training.stage import train_stage


class StopAfter(StopRequest):
    """True once it was asked the given number of times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def __bool__(self) -> bool:
        self.times -= 1
        return self.times <= 0


def entries(run) -> list[dict]:
    return [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]


def scalars(folder: Path, tag: str) -> list[float]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return [event.value for event in events.Scalars(tag)]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def train(run, stage, stop=None, lines=None):
    return train_stage(
        run,
        stage,
        stop=StopRequest() if stop is None else stop,
        say=(lines if lines is not None else []).append,
        cpu=True,
    )


def test_three_steps_and_three_resumed_equal_six_straight_to_the_bit(make_run):
    straight, broken = make_run("straight"), make_run("broken")
    assert straight.run_id == broken.run_id
    assert train(straight, "I").ran_steps == 6
    with pytest.raises(Stopped):
        train(broken, "I", StopAfter(4))
    assert [path.name for path in (broken.folder / "checkpoints").iterdir()] == ["I-000003"]
    assert not is_complete(broken.model_folder("I"))
    with (broken.folder / "metrics.jsonl").open("a") as sink:  # what a crash after the checkpoint leaves behind
        sink.write(json.dumps({"stage": "I", "step": 4, "loss": 9.9}) + '\n{"stage": "I", "st')
    assert train(broken, "I").ran_steps == 3
    exact = ("step", "stage", "tokens", "loss", "loss_by_domain", "learning_rate", "gradient_norm")
    assert [[entry[key] for key in exact] for entry in entries(straight)] == [
        [entry[key] for key in exact] for entry in entries(broken)
    ]
    one, two = weights(straight.model_folder("I")), weights(broken.model_folder("I"))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert pq.read_table(straight.folder / "seen-I.parquet") == pq.read_table(broken.folder / "seen-I.parquet")
    assert list((broken.folder / "checkpoints").iterdir()) == []
    losses = [entry["loss"] for entry in entries(broken)]
    assert scalars(broken.folder / "tensorboard" / "I", "loss") == pytest.approx(losses, rel=1e-6)


def test_a_stop_before_the_first_step_leaves_nothing_to_redo(make_run):
    run = make_run()
    with pytest.raises(Stopped, match="after step 0"):
        train(run, "I", StopAfter(1))
    assert not (run.folder / "checkpoints").exists()
    assert train(run, "I").ran_steps == 6


def test_a_finished_stage_returns_at_once_and_a_setting_without_effect_keeps_the_run(make_run):
    run = make_run()
    train(run, "I")
    again = make_run(checkpoint_every_steps=1)
    assert train(again, "I").ran_steps == 0
    assert make_run(seed=12).run_id != run.run_id


def test_three_stages_learn_and_record_what_they_saw(make_run):
    run = make_run()
    with pytest.raises(StageMissing):
        train(run, "II")
    for stage in ("I", "II", "III"):
        train(run, stage)
        seen = pq.read_table(run.folder / f"seen-{stage}.parquet").to_pydict()
        assert seen["doc_id"] == sorted(set(seen["doc_id"]))
        last = [entry for entry in entries(run) if entry["stage"] == stage][-1]
        assert sum(seen["tokens"]) == last["tokens"]
        assert min(seen["first_step"]) >= 1
        assert max(seen["first_step"]) <= last["step"]
    by_stage = {
        stage: [entry["loss"] for entry in entries(run) if entry["stage"] == stage] for stage in ("I", "II", "III")
    }
    assert by_stage["I"][-1] < by_stage["I"][0]
    assert {domain for entry in entries(run) if entry["stage"] == "I" for domain in entry["loss_by_domain"]} == {
        "agent", "code", "text",
    }  # fmt: skip
    assert all(set(entry["loss_by_domain"]) == {"agent"} for entry in entries(run) if entry["stage"] != "I")
    summary = run.summary()
    assert summary["stages"].keys() == {"I", "II", "III"}
    assert summary["stages"]["III"]["release_id"] == "r-small"
    for stage in ("I", "II", "III"):
        assert scalars(run.folder / "tensorboard" / stage, "loss") == pytest.approx(by_stage[stage], rel=1e-6)


def test_a_loss_that_is_not_finite_stops_before_the_weights_change(make_run, tiny_model, tmp_path):
    import shutil

    from safetensors.torch import save_file

    broken = tmp_path / "broken-model"
    shutil.copytree(tiny_model, broken)
    tensors = weights(broken)
    tensors["model.norm.weight"] = tensors["model.norm.weight"] * float("nan")
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    run = make_run(base_model=str(broken))
    with pytest.raises(NotFinite, match="step 1"):
        train(run, "I")
    assert not is_complete(run.model_folder("I"))


def test_checkpoints_are_pruned_after_the_new_one_is_whole(make_run):
    run = make_run(checkpoint_every_steps=1, keep_checkpoints=2)
    with pytest.raises(Stopped):
        train(run, "I", StopAfter(5))
    assert sorted(path.name for path in (run.folder / "checkpoints").iterdir()) == ["I-000003", "I-000004"]
