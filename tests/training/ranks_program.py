"""What the ranks of test_parallel do: started once by torchrun, on every rank, with one JSON file of orders."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import orjson
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from torch.distributed.tensor import DTensor

from forge.config import Settings
from tests.training.stopping import StopAt
from training.base_model import load_model
from training.model_loss import PackedLoss
from training.parallel import distribute, packed_loss_of
from training.run import Run, Stopped, open_run
from training.stage import train_stage

sys.path.insert(0, str(Path(__file__).parent))
from conftest import File, SmallRelease, open_file


def train(run: Run, stop_at: int) -> None:
    try:
        train_stage(run, "I", stop=StopAt(run.folder, stop_at), cpu=True)
    except Stopped as reason:
        print(reason, flush=True)


def describe_parameters(run: Run, _stop_at: int) -> None:
    """Write of which kind the parameters are once they are spread, and how much of them this rank holds."""
    accelerator = Accelerator(cpu=True)
    model = distribute(PackedLoss(load_model(run.start_of("I"))), accelerator, run.training)
    found = {
        name: {
            "is_distributed": isinstance(parameter, DTensor),
            "mesh": list(parameter.device_mesh.mesh_dim_names) if isinstance(parameter, DTensor) else [],
            "local": parameter.to_local().numel() if isinstance(parameter, DTensor) else parameter.numel(),
            "whole": parameter.numel(),
        }
        for name, parameter in packed_loss_of(model, accelerator).named_parameters()
    }
    (run.folder / f"parameters-{accelerator.process_index}.json").write_bytes(orjson.dumps(found))


def main(orders: list[dict[str, Any]]) -> None:
    for order in orders:
        AcceleratorState._reset_state(
            reset_partial_state=True
        )  # as in a process of its own; FORK_LAUNCHED keeps the group
        GradientState._reset_state()
        release = SmallRelease(tuple(File(**file) for file in order["files"]))
        settings = Settings.model_validate(order["settings"])
        run = open_run(settings, release, open_file)
        {"train": train, "describe_parameters": describe_parameters}[order["act"]](run, order["stop_at"])


if __name__ == "__main__":
    main(orjson.loads(Path(sys.argv[1]).read_bytes()))
