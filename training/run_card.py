"""The card of a run: what was trained on what, by what, where, at which cost, and with which result.

Everything in it is read from the run's own files (``run.json``, ``metrics.jsonl``, ``evaluation-*.json``) and settings;
equal files give equal bytes. What nobody measured is null in ``card.json`` and "not measured" in ``README.md``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import orjson

from forge.schema import canonical_json, content_hash
from training.checkpoint import BadCheckpoint, read_state
from training.files import write_atomically
from training.loss_curve import loss_curve
from training.model_card import model_card
from training.run import CHECKPOINTS, STAGES, Run
from training.run_history import RunHistory, mean, number, read_history

CURVE = "curve.svg"
_TRAINED = (
    "seed", "max_document_tokens", "weight_decay", "max_gradient_norm", "spikes", "precision",
    "micro_batch_sequences", "attention", "compile", "activation_checkpointing", "sharding", "tensor_parallel",
)  # fmt: skip
"""Settings that the card shows beside those of the stages; the others name places and people's choices."""


def write_run_card(run: Run) -> None:
    """Write ``card.json``, ``README.md`` and ``curve.svg`` into the run's folder, from what its files hold now."""
    history = read_history(run.folder / "metrics.jsonl")
    card = card_of(run, _recorded(run), history)
    write_atomically(run.folder / CURVE, loss_curve(history, _title(run)))
    write_atomically(run.folder / "README.md", model_card(card, models="models/").encode())
    write_atomically(
        run.folder / "card.json", orjson.dumps(card, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2) + b"\n"
    )


def model_card_files(run: Run, stage: str, facts: Mapping[str, Any]) -> dict[str, bytes]:
    """``README.md`` and ``curve.svg`` for the folder of a stage's model. ``facts`` are those that ``run.json`` keeps of
    the stage; what later stages did is left out."""
    history = read_history(run.folder / "metrics.jsonl").up_to(stage)
    earlier = STAGES[: STAGES.index(stage)]
    recorded = {name: found for name, found in _recorded(run).items() if name in earlier}
    card = card_of(run, {**recorded, stage: facts}, history)
    return {"README.md": model_card(card, models=None).encode(), CURVE: loss_curve(history, _title(run))}


def card_of(run: Run, recorded: Mapping[str, Mapping[str, Any]], history: RunHistory) -> dict[str, Any]:
    """The object of ``card.json``. ``recorded`` has the facts of each stage that is finished."""
    summary = run.summary()
    training = summary["training"]
    stages = [stage for stage in STAGES if stage in recorded]
    return {
        "run_id": run.run_id,
        "release": {
            "release_id": run.release.release_id,
            "night": run.release.partition_key,
            "files": len(run.release.files),
            "recipe": dict(run.release.recipe),
        },
        "base_model": {**summary["base_model"], "is_packaged_smollm2": run.base.origin == "artifact smollm2"},
        "configuration_hash": content_hash(canonical_json(training)),
        "settings": {name: training[name] for name in _TRAINED if name in training},
        "stages": {
            stage: _stage(recorded[stage], history, stage, run.training.cost_per_hour)
            | {"settings": training["stages"].get(stage)}
            for stage in stages
        },
        "benchmark_loss": [
            {
                "stage": found.stage,
                "step": found.step,
                "tokens": found.tokens,
                "metrics": {name: _or_none(value) for name, value in found.metrics.items()},
            }
            for found in history.measurements
        ],
        "evaluations": _evaluations(run, ["base", *stages]),
    }


def _stage(facts: Mapping[str, Any], history: RunHistory, stage: str, cost_per_hour: float | None) -> dict[str, Any]:
    """The facts, completed from the steps where they are silent, and what they cost."""
    steps = history.of_stage(stage)
    by_kind = [(kind, loss) for step in steps for kind, loss in step.loss_by_kind.items() if math.isfinite(loss)]
    memory = [value for step in steps if math.isfinite(value := number(step.entry.get("memory_gb")))]
    measured: dict[str, Any] = {
        "first_loss": _or_none(steps[0].loss) if steps else None,
        "last_loss": _or_none(steps[-1].loss) if steps else None,
        "first_loss_by_kind": dict(reversed(by_kind)) or None,
        "last_loss_by_kind": dict(by_kind) or None,
        "skipped_steps": sum(step.is_skipped for step in steps) if steps else None,
        "mfu": mean([number(step.entry.get("mfu")) for step in steps]),
        "data_wait_share": mean([number(step.entry.get("data_wait_share")) for step in steps]),
        "memory_gb": max(memory, default=None),
        "seconds": None,
        "tokens_per_second": None,
        "peak_tflops": None,
        "hardware": None,
        "code": None,
        "data": None,
    }
    found = measured | {name: value for name, value in facts.items() if value is not None and name != "spikes"}
    seconds, devices = found["seconds"], found.get("world_size")
    hours = seconds * devices / 3600 if seconds is not None and devices is not None else None
    cost = hours * cost_per_hour if hours is not None and cost_per_hour is not None else None
    return found | {"device_hours": hours, "cost_per_hour": cost_per_hour, "cost": cost}


def _recorded(run: Run) -> dict[str, Mapping[str, Any]]:
    """Facts of the finished stages; of a model that came from a checkpoint store what its manifest states."""
    recorded: dict[str, Mapping[str, Any]] = dict(run.summary()["stages"])
    for stage in STAGES:
        if stage not in recorded and run.is_finished(stage):
            try:
                recorded[stage] = read_state(run.model_folder(stage))
            except BadCheckpoint:
                continue
    return recorded


def _evaluations(run: Run, checkpoints: list[str]) -> dict[str, Any]:
    """Metrics of those checkpoints that were evaluated, without the model's answers."""
    found = {}
    for checkpoint in CHECKPOINTS:
        path = run.folder / f"evaluation-{checkpoint}.json"
        if checkpoint in checkpoints and path.is_file():
            result = orjson.loads(path.read_bytes())
            found[checkpoint] = {
                name: result.get(name) for name in ("created_at", "precision", "prompt_hash", "metrics")
            }
    return found


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _title(run: Run) -> str:
    return f"Run {run.run_id}, release {run.release.release_id[:12]}"
