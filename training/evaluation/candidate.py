"""A model that is evaluated: a checkpoint of a run, or a folder of weights that somebody names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forge.config import ConfigurationError, Settings
from forge.schema import content_hash
from training.base_model import base_model_of, load_model, load_tokenizer
from training.chat import prompt_hash
from training.checkpoint import MARKER, BadCheckpoint, Checkpoint, load_checkpoint
from training.evaluation.subject import LocalSubject
from training.run import STAGES, Run, StageMissing


@dataclass(frozen=True, slots=True)
class Candidate:
    """``name``: base, I, II, III, or what its folder is called; ``sha``: hash of what the folder holds;
    ``trained_tokens``: what the run trained on up to it (0 for the base, None when nobody knows)."""

    name: str
    folder: Path
    sha: str
    is_checkpoint: bool
    trained_tokens: int | None = None


def candidate_of_run(run: Run, checkpoint: str) -> Candidate:
    """Raises :class:`training.run.StageMissing` when the stage is not trained."""
    if checkpoint == "base":
        return Candidate(checkpoint, run.base.folder, run.base.sha, False, 0)
    if not run.is_finished(checkpoint):
        raise StageMissing(f"run {run.run_id}: stage {checkpoint} is not trained yet")
    folder = run.model_folder(checkpoint)
    recorded = run.summary()["stages"]
    trained = [recorded[name]["tokens"] for name in STAGES[: STAGES.index(checkpoint) + 1] if name in recorded]
    return Candidate(checkpoint, folder, content_hash((folder / MARKER).read_text()), True, sum(trained))


def candidate_of_folder(settings: Settings, given: str) -> Candidate:
    """A Hugging Face folder, or the name of an artifact. Raises :class:`forge.config.ConfigurationError`."""
    chosen = settings.training.model_copy(update={"base_model": given})
    try:
        found = base_model_of(settings.model_copy(update={"training": chosen}))
    except ConfigurationError as reason:
        raise ConfigurationError(str(reason).replace("training.base_model", "--model")) from None
    name = given if given in settings.artifacts else found.folder.name
    return Candidate(name, found.folder, found.sha, (found.folder / MARKER).is_file())


def load_subject(candidate: Candidate, settings: Settings) -> LocalSubject:
    """The model on the device there is, ready to be asked. Raises :class:`training.checkpoint.BadCheckpoint`."""
    import torch

    tokenizer = load_tokenizer(candidate.folder)
    if candidate.is_checkpoint:
        _check_template(load_checkpoint(candidate.folder), tokenizer)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = load_model(candidate.folder).to(device).eval()
    return LocalSubject(model, tokenizer, settings.evaluation.batch_items)


def _check_template(checkpoint: Checkpoint, tokenizer: Any) -> None:
    """Raises :class:`BadCheckpoint` when the model was trained on chats rendered otherwise than we render them now."""
    trained_on = checkpoint.state.get("template_hash")
    if trained_on != prompt_hash(tokenizer):
        raise BadCheckpoint(
            f"{checkpoint.folder}: was trained with chat rendering {trained_on}, this version and its tokenizer render "
            f"{prompt_hash(tokenizer)}: losses and answers would not say how good the model is; train it again"
        )
