"""The loop of a stage: exact resume, finished stages, the three stages in a row, NaN, stopping."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from forge.config import SpikeSettings
from tests.training.stopping import StopAt
from training.checkpoint import is_complete
from training.process import StopRequest
from training.run import NotFinite, RunInUse, StageMissing, Stopped
from training.spikes import TooManySpikes
from training.stage import train_stage


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


def test_a_stop_before_the_first_step_leaves_nothing_to_redo(make_run):
    run = make_run()
    with pytest.raises(Stopped, match="stopped"):
        train(run, "I", StopAt(run.folder, 0))
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
    assert {domain for entry in entries(run) if entry["stage"] == "I" for domain in entry["loss_by_kind"]} == {
        "api_doc", "trajectory", "web", "code", "text",
    }  # fmt: skip
    of_stage = {
        stage: {kind for entry in entries(run) if entry["stage"] == stage for kind in entry["loss_by_kind"]}
        for stage in ("II", "III")
    }
    assert of_stage == {"II": {"api_doc", "trajectory"}, "III": {"trajectory"}}
    summary = run.summary()
    assert summary["stages"].keys() == {"I", "II", "III"}
    assert summary["stages"]["III"]["release_id"] == "r-small"
    for stage in ("I", "II", "III"):
        assert scalars(run.folder / "tensorboard" / stage, "loss") == pytest.approx(by_stage[stage], rel=1e-6)


def diverging(make_run, learning_rate: float, **changes):
    stages = make_run("any").training.stages
    changed = {"learning_rate": learning_rate, "warmup_share": 0.0, "tokens": 20 * 256}
    return make_run(stages=stages | {"I": stages["I"].model_copy(update=changed)}, **changes)


def test_a_loss_that_is_not_finite_stops_and_says_which_documents_it_was(make_run):
    run = diverging(make_run, 1e38, checkpoint_every_steps=1)
    with pytest.raises(NotFinite, match="step 2"):
        train(run, "I")
    assert not is_complete(run.model_folder("I"))
    assert [path.name for path in (run.folder / "checkpoints").iterdir()] == ["I-000001"]
    kept = json.loads((run.folder / "bad-batch-I-2.json").read_text())
    assert kept["doc_ids"]
    assert len(kept["sequence_ids"]) == 4
    assert [entry["step"] for entry in entries(run)] == [1]


def test_spikes_are_skipped_counted_and_too_many_end_the_stage(make_run):
    """A learning rate that throws the weights about: losses leap, and nothing of those steps is applied."""
    spikes = SpikeSettings(window_steps=8, min_steps=3, sigmas=2.0, max_skipped_steps=2)
    run = diverging(make_run, 3.0, spikes=spikes)
    with pytest.raises(TooManySpikes, match="max_skipped_steps"):
        train(run, "I")
    skipped = [entry for entry in entries(run) if entry["skipped"]]
    assert [entry["skipped_steps"] for entry in skipped] == [1, 2]


def test_benchmark_loss_on_the_way_leaves_the_training_as_it_is(make_run):
    plain, probed = make_run("plain"), make_run("probed", benchmark_loss_every_tokens=400)
    probed = replace(probed, settings=probed.settings.model_copy(update={"artifacts": {}}))  # held-out documents only
    assert plain.run_id == probed.run_id
    lines: list[str] = []
    train(plain, "I")
    with pytest.raises(Stopped):
        train(probed, "I", StopAt(probed.folder, 4), lines)
    train(probed, "I", lines=lines)
    steps = [[entry for entry in entries(run) if "event" not in entry] for run in (plain, probed)]
    assert [entry["loss"] for entry in steps[0]] == [entry["loss"] for entry in steps[1]]
    events = [entry for entry in entries(probed) if "event" in entry]
    assert [event["step"] for event in events] == sorted({event["step"] for event in events})
    assert events[0]["step"] == 0
    assert events[-1]["step"] == 6
    assert all(set(event["metrics"]) >= {"held_out:code", "held_out:text"} for event in events)
    assert events[-1]["metrics"]["held_out:text"] < events[0]["metrics"]["held_out:text"]


def test_recomputed_activations_give_the_same_losses(make_run):
    plain, recomputed = make_run("plain"), make_run("recomputed", activation_checkpointing=True)
    assert plain.run_id == recomputed.run_id
    for run in (plain, recomputed):
        train(run, "I")
    assert [entry["loss"] for entry in entries(recomputed)] == pytest.approx(
        [entry["loss"] for entry in entries(plain)], rel=1e-6
    )


def test_every_attention_gives_the_same_losses(make_run):
    runs = [make_run(attention, attention=attention) for attention in ("documents", "sdpa")]
    for run in runs:
        train(run, "I")
        assert run.summary()["stages"]["I"]["attention"] == run.training.attention
    one, two = ([entry["loss"] for entry in entries(run)] for run in runs)
    assert one == pytest.approx(two, rel=1e-5)


def test_a_second_process_may_not_train_the_same_run(make_run):
    run = make_run()
    with run.alone(), pytest.raises(RunInUse), make_run().alone():
        pass
    with make_run().alone():
        pass


def test_checkpoints_are_pruned_after_the_new_one_is_whole(make_run):
    run = make_run(checkpoint_every_steps=1, keep_checkpoints=2)
    with pytest.raises(Stopped):
        train(run, "I", StopAt(run.folder, 4))
    assert sorted(path.name for path in (run.folder / "checkpoints").iterdir()) == ["I-000003", "I-000004"]
