"""Two gloo ranks under torchrun: copied, sharded (FSDP2) and with split matrices, compared with one process.

Ranks start slowly, so one torchrun does what all the tests look at.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from forge.config import ConfigurationError, checkout
from tests.training.stopping import StopAt
from training.checkpoint import load_checkpoint
from training.metrics import MetricsFile
from training.parallel import data_rank
from training.run import Run, Stopped
from training.stage import train_stage

PROGRAM = Path(__file__).with_name("ranks_program.py")
MODES: Mapping[str, Mapping[str, Any]] = {
    "replicated": {"sharding": "replicated"},
    "fsdp": {"sharding": "fsdp"},
    "tensor_parallel": {"sharding": "fsdp", "tensor_parallel": 2},
}
PROBED = {"benchmark_loss_every_tokens": 400}
TO_THE_END = 1_000


def order(run: Run, act: str, stop_at: int = TO_THE_END) -> dict[str, Any]:
    files = [{"path": file.path, "sha256": file.sha256, "size_bytes": file.size_bytes} for file in run.release.files]
    return {"act": act, "stop_at": stop_at, "files": files, "settings": run.settings.model_dump(mode="json")}


def train_alone(run: Run, stop_at: int = TO_THE_END) -> None:
    train_stage(run, "I", stop=StopAt(run.folder, stop_at), say=lambda _: None, cpu=True)


def entries(run: Run) -> list[dict[str, Any]]:
    return MetricsFile(run.folder / "metrics.jsonl").steps_of("I")


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load_file(run.model_folder("I") / "model.safetensors")


@pytest.fixture(scope="module")
def runs(tmp_path_factory, run_maker) -> dict[str, Run]:
    """``alone``: one process. For each mode on two ranks: ``whole_<mode>``; ``<mode>``, with losses measured between,
    stopped after step 3, then gone on with; ``changing_<mode>``: two steps alone, two on two ranks, the rest alone."""
    make = run_maker(tmp_path_factory.mktemp("runs"))
    found = {"alone": make("alone")}
    train_alone(found["alone"])
    orders = []
    for mode, settings in MODES.items():
        whole, run = make(f"whole_{mode}", **settings), make(mode, **settings, **PROBED)
        without_bfcl = {"artifacts": {}, "sources": {}}  # held-out documents only
        run = replace(run, settings=run.settings.model_copy(update=without_bfcl))
        changing = make(f"changing_{mode}", **settings)
        found |= {f"whole_{mode}": whole, mode: run, f"changing_{mode}": changing}
        with pytest.raises(Stopped):
            train_alone(make(f"changing_{mode}"), stop_at=2)
        orders += [
            order(run, "describe_parameters"),
            order(run, "train", stop_at=3),
            order(run, "train"),
            order(whole, "train"),
            order(changing, "train", stop_at=4),
        ]
    path = tmp_path_factory.mktemp("orders") / "orders.json"
    path.write_text(json.dumps(orders))
    # FORK_LAUNCHED: accelerate leaves the process group to us, for the next order
    environment = os.environ | {"PYTHONPATH": str(checkout()), "OMP_NUM_THREADS": "1", "FORK_LAUNCHED": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(PROGRAM), str(path)],
        check=False, cwd=checkout(), env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[:4000]
    assert done.stdout.count("goes on after step 3") == len(MODES)
    for mode in MODES:
        train_alone(make(f"changing_{mode}"))
    return found


@pytest.mark.parametrize("mode", MODES)
def test_two_ranks_train_stop_go_on_and_export_what_one_process_does(runs, mode):
    alone, run = runs["alone"], runs[mode]
    assert run.run_id == alone.run_id, "how it is computed does not make another run"
    one, two = entries(alone), entries(run)
    assert [entry["sequences_hash"] for entry in one] == [entry["sequences_hash"] for entry in two]
    assert [entry["loss"] for entry in two] == pytest.approx([entry["loss"] for entry in one], rel=1e-5)
    assert [entry["gradient_norm"] for entry in two] == pytest.approx(
        [entry["gradient_norm"] for entry in one], rel=1e-4
    )
    first, second = weights(alone), weights(run)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, rtol=1e-4, atol=2e-5)
    assert load_checkpoint(run.model_folder("I")).state["world_size"] == 2


@pytest.mark.parametrize("mode", MODES)
def test_two_ranks_that_stop_and_measure_losses_on_the_way_equal_two_that_do_neither_to_the_bit(runs, mode):
    whole, broken = runs[f"whole_{mode}"], runs[mode]
    exact = ("loss", "loss_by_kind", "gradient_norm", "sequences_hash")
    one, two = ([[entry[name] for name in exact] for entry in entries(run)] for run in (whole, broken))
    assert one == two
    first, second = weights(whole), weights(broken)
    assert all(torch.equal(first[name], second[name]) for name in first)
    lines = (broken.folder / "metrics.jsonl").read_text().splitlines()
    events = [entry for entry in map(json.loads, lines) if "event" in entry]
    assert [event["step"] for event in events][-1] == 6
    assert all(event["metrics"]["held_out:text"] > 0.0 for event in events)


@pytest.mark.parametrize("mode", MODES)
def test_the_export_is_loaded_by_transformers_and_generates(runs, mode):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = runs[mode].model_folder("I")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    given = tokenizer("create user", return_tensors="pt")
    written = model.generate(**given, max_new_tokens=3, do_sample=False)
    assert written.shape[1] > given["input_ids"].shape[1]


@pytest.mark.parametrize("mode", MODES)
def test_a_run_goes_on_with_another_number_of_ranks(runs, mode):
    """One process, two ranks, one process: the same sequences in the same global order."""
    one, two = entries(runs["alone"]), entries(runs[f"changing_{mode}"])
    assert [entry["step"] for entry in two] == [entry["step"] for entry in one]
    assert [entry["sequences_hash"] for entry in one] == [entry["sequences_hash"] for entry in two]
    assert [entry["loss"] for entry in two] == pytest.approx([entry["loss"] for entry in one], rel=1e-5)


@pytest.mark.parametrize("mode", ["fsdp", "tensor_parallel"])
def test_sharded_parameters_are_distributed_tensors(runs, mode):
    ranks = [json.loads((runs[mode].folder / f"parameters-{rank}.json").read_text()) for rank in range(2)]
    assert all(parameter["is_distributed"] for rank in ranks for parameter in rank.values())
    matrix = "model.model.layers.0.self_attn.q_proj.weight"
    assert [rank[matrix]["local"] / rank[matrix]["whole"] for rank in ranks] == [0.5, 0.5]
    assert ranks[0][matrix]["mesh"] == {"fsdp": ["data"], "tensor_parallel": ["data", "tensor"]}[mode]
    if mode == "fsdp":
        held = [sum(parameter["local"] for parameter in rank.values()) for rank in ranks]
        assert sum(held) == sum(parameter["whole"] for parameter in ranks[0].values())


def test_ranks_that_share_matrices_read_the_same_part(make_run):
    training = make_run(**MODES["tensor_parallel"]).training
    parts = [data_rank(rank, 4, training) for rank in range(4)]
    assert [(part.rank, part.world_size) for part in parts] == [(0, 2), (0, 2), (1, 2), (1, 2)]
    with pytest.raises(ConfigurationError, match="3 ranks cannot be divided by 2"):
        data_rank(0, 3, training)
    with pytest.raises(ConfigurationError, match=r"needs training\.sharding: fsdp"):
        data_rank(0, 2, make_run(tensor_parallel=2).training)
