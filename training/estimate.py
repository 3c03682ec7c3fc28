"""What training a release will take, before compute is spent: ``python -m training.estimate --release ID|current``.

Tokens, steps and mix follow from the release's narrow columns and the settings; nothing is tokenised, no model is
loaded and nothing is left behind. Hours come from ``training.expected_tokens_per_second``, else from what the newest
finished run here with the same base model reached; where there is neither they are unknown. With ``FORGE_RESULT`` a
small JSON object goes to the file that it names: ``release_id``, ``tokens``, ``hours``, ``cost``, ``markdown``.
"""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from forge.artifacts import artifact_path
from forge.config import ConfigurationError, Settings, StageSettings, load_settings
from forge.lake import Lake
from forge.release import release_of
from training.command import REFUSALS, parser_of, refuse
from training.corpus_input import Release, Selection, Survey, survey_of
from training.files import write_atomically
from training.model_card import table
from training.process import die_with_parent
from training.run import STAGES
from training.schedule import quotas
from training.shard import OpenFile
from training.stage_data import shares_of

_WEIGHT_BYTES, _STATE_BYTES, _TOKEN_BYTES = 4, 12, 4  # float32; with two moments; int32
_NOTES = (
    "Tokens are counted by the release's reference tokenizer and include padding. Conversations that a template "
    "refuses show only when the stage is packed."
)


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens a second of all devices together, and where the figure comes from."""

    tokens_per_second: float
    origin: str


def estimate(settings: Settings, release: Release, open_file: OpenFile) -> dict[str, Any]:
    """The estimate as JSON, but for ``markdown``.

    Keys: ``release_id``, ``base_model`` (``name``, ``parameters``), ``stages`` (see :func:`planned_stage`), ``tokens``,
    ``disk`` (bytes), ``speed``, ``devices``, ``hours``, ``cost_per_hour``, ``cost``. What is unknown is None. Raises
    :class:`training.corpus_input.NotTheRelease`, :class:`forge.config.ConfigurationError`.
    """
    training = settings.training
    selection = Selection(training.seed, training.max_document_tokens, release.recipe.get("domain_weights") or {})
    with tempfile.TemporaryDirectory() as folder:
        survey = survey_of(release, open_file, selection, Path(folder) / "survey.npz")
    stages: dict[str, dict[str, Any]] = {
        stage: planned_stage(survey, stage, training.stages[stage], release.recipe)
        for stage in STAGES
        if stage in training.stages
    }
    tokens = sum(stage["tokens"] for stage in stages.values())
    parameters = parameters_of(settings)
    speed = speed_of(settings)
    hours = tokens / speed.tokens_per_second / 3600 if speed else None
    devices = training.launcher.processes
    return {
        "release_id": release.release_id,
        "base_model": {"name": training.base_model, "parameters": parameters},
        "stages": stages,
        "tokens": tokens,
        "disk": _disk(settings, parameters, stages),
        "speed": None if speed is None else {"tokens_per_second": speed.tokens_per_second, "origin": speed.origin},
        "devices": devices,
        "hours": hours,
        "cost_per_hour": training.cost_per_hour,
        "cost": hours * devices * training.cost_per_hour
        if hours is not None and training.cost_per_hour is not None
        else None,
    }


def planned_stage(survey: Survey, stage: str, chosen: StageSettings, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """``budget_tokens``, ``tokens``, ``steps``, ``sequence_tokens``, ``batch_tokens`` and ``mix``: by stratum ``kind``,
    ``documents``, ``tokens_available``, ``share_wanted``, ``share``, ``tokens``, ``epochs``. As packing plans it
    (:func:`training.stage_data.stage_data`): a stratum gives at most the recipe's epochs, the others take its place."""
    length = chosen.sequence_tokens
    batch_sequences = max(1, chosen.batch_tokens // length)
    wanted = -(-chosen.tokens // (batch_sequences * length)) * batch_sequences
    shares = shares_of(survey, stage, chosen, recipe)
    available = {stratum.name: survey.tokens(stratum) for stratum in shares}
    max_epochs = float(recipe.get("max_epochs", 4.0))
    draws = quotas(
        wanted,
        {stratum.name: share for stratum, share in shares.items()},
        {name: int(max_epochs * tokens / length) for name, tokens in available.items()},
    )
    steps = sum(draws.values()) // batch_sequences
    total = sum(draws.values())
    return {
        "budget_tokens": chosen.tokens,
        "tokens": steps * batch_sequences * length,
        "steps": steps,
        "sequence_tokens": length,
        "batch_tokens": batch_sequences * length,
        "mix": {
            stratum.name: {
                "kind": stratum.kind,
                "documents": int(survey.documents(stratum).sum()),
                "tokens_available": available[stratum.name],
                "share_wanted": share,
                "share": draws[stratum.name] / total if total else 0.0,
                "tokens": draws[stratum.name] * length,
                "epochs": draws[stratum.name] * length / available[stratum.name] if available[stratum.name] else 0.0,
            }
            for stratum, share in shares.items()
        },
    }


def parameters_of(settings: Settings) -> int | None:
    """How many parameters the base model has, from the headers of its files; None where they do not say.

    Raises :class:`forge.config.ConfigurationError` when there is no such base model.
    """
    name = settings.training.base_model
    if name in settings.artifacts:
        unpacked = artifact_path(settings, name)
        found = [] if unpacked is None else sorted(unpacked.glob("**/*.gguf"))
        if len(found) != 1:
            return None  # not fetched yet
        from gguf import GGUFReader

        return sum(int(tensor.n_elements) for tensor in GGUFReader(found[0]).tensors)
    folder = Path(name).expanduser()
    if not (folder / "config.json").is_file():
        raise ConfigurationError(
            f"training.base_model: {name!r} is neither an artifact ({', '.join(sorted(settings.artifacts))}) "
            "nor a folder with config.json"
        )
    files = sorted(folder.glob("*.safetensors"))
    return sum(_elements(path) for path in files) if files else None


def _elements(path: Path) -> int:
    """Numbers in a safetensors file: the length of its header, uint64 little-endian, then the header as JSON."""
    with path.open("rb") as source:
        (length,) = struct.unpack("<Q", source.read(8))
        header = orjson.loads(source.read(min(length, 100_000_000)))
    total = 0
    for name, tensor in header.items():
        if name != "__metadata__":
            elements = 1
            for size in tensor["shape"]:
                elements *= size
            total += elements
    return total


def speed_of(settings: Settings) -> Speed | None:
    """What the settings expect, else what the newest finished run below ``runs/`` with the same base model reached."""
    expected = settings.training.expected_tokens_per_second
    if expected is not None:
        return Speed(expected, "training.expected_tokens_per_second")
    found: list[tuple[int, str, Speed]] = []
    for path in (settings.home_path / "runs").glob("*/run.json"):
        try:
            summary = orjson.loads(path.read_bytes())
            if summary["training"]["base_model"] != settings.training.base_model:
                continue
            stages = [stage for stage in summary["stages"].values() if stage.get("seconds")]
            seconds = sum(stage["seconds"] for stage in stages)
            if seconds > 0:
                device = (stages[-1].get("hardware") or {}).get("device") or "an unknown device"
                origin = f"run {path.parent.name} on {stages[-1].get('world_size', 1)} x {device}"
                reached = Speed(sum(stage["tokens"] for stage in stages) / seconds, origin)
                found.append((path.stat().st_mtime_ns, path.parent.name, reached))
        except (OSError, orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
            continue  # a run that is being written, or one of an older layout
    return max(found, key=lambda entry: entry[:2])[2] if found else None


def _disk(settings: Settings, parameters: int | None, stages: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Bytes: a checkpoint (weights and two moments), the most that lie here at once, packed sequences, what is free."""
    training = settings.training
    packed = sum(
        min(stratum["tokens"], stratum["tokens_available"]) * _TOKEN_BYTES
        for stage in stages.values()
        for stratum in stage["mix"].values()
    )
    place = settings.home_path
    while not place.exists():
        place = place.parent
    found = {
        "packed_bytes": packed,
        "checkpoint_bytes": None,
        "needed_bytes": None,
        "free_bytes": shutil.disk_usage(place).free,
    }
    if parameters is not None:
        # Those that are kept, the one that is being written, and a model of each stage
        checkpoint = parameters * _STATE_BYTES
        models = len(stages) * parameters * _WEIGHT_BYTES
        needed = packed + (training.keep_checkpoints + 1) * checkpoint + models
        found |= {"checkpoint_bytes": checkpoint, "needed_bytes": needed}
    return found


def markdown_of(found: Mapping[str, Any]) -> str:
    """The estimate for a person who has to approve it."""
    base, disk, speed = found["base_model"], found["disk"], found["speed"]
    unknown = "unknown"
    size = unknown if base["parameters"] is None else f"{base['parameters'] / 1e6:,.1f} million parameters"
    hours = unknown if found["hours"] is None else f"{found['hours']:,.2f} on {found['devices']} device(s)"
    cost = unknown if found["cost"] is None else f"{found['cost']:,.2f} at {found['cost_per_hour']:,.2f} a device hour"
    why = "neither an expected speed nor an earlier run" if speed is None else speed["origin"]
    rate = unknown if speed is None else f"{speed['tokens_per_second']:,.0f}"
    facts = [
        ("release", f"`{found['release_id']}`"),
        ("base model", f"{base['name']}, {size}"),
        ("tokens", f"{found['tokens']:,}"),
        ("tokens a second", f"{rate} ({why})"),
        ("hours", hours),
        ("cost", cost),
        ("disk", f"{_gigabytes(disk['needed_bytes'])} needed at most, {_gigabytes(disk['free_bytes'])} free here"),
        ("a checkpoint", _gigabytes(disk["checkpoint_bytes"])),
    ]
    stages = [
        (name, f"{stage['tokens']:,}", f"{stage['budget_tokens']:,}", f"{stage['steps']:,}",
         f"{stage['sequence_tokens']:,}", f"{stage['batch_tokens']:,}")
        for name, stage in found["stages"].items()
    ]  # fmt: skip
    mix = [
        (name, stratum, f"{part['share']:.1%}", f"{part['share_wanted']:.1%}", f"{part['tokens']:,}",
         f"{part['epochs']:.2f}", f"{part['documents']:,}", f"{part['tokens_available']:,}")
        for name, stage in found["stages"].items()
        for stratum, part in stage["mix"].items()
    ]  # fmt: skip
    short = [
        f"Stage {name} cannot be trained: the release has not one batch for it."
        if not stage["steps"]
        else f"Stage {name} has documents for {stage['tokens']:,} of the {stage['budget_tokens']:,} tokens asked for."
        for name, stage in found["stages"].items()
        if stage["tokens"] < stage["budget_tokens"]
    ]
    if disk["needed_bytes"] is not None and disk["needed_bytes"] > disk["free_bytes"]:
        short.append("The disk here is too small.")
    return "\n".join(
        [
            table(("", "estimate"), facts),
            table(("stage", "tokens", "asked for", "steps", "of a sequence", "of a batch"), stages),
            table(("stage", "documents of", "share", "wanted", "tokens", "epochs", "documents", "available"), mix),
            *(f"**{line}**\n" for line in short),
            _NOTES,
        ]
    )


def _gigabytes(size_bytes: int | None) -> str:
    return "unknown" if size_bytes is None else f"{size_bytes / 1e9:,.2f} GB"


def main(given: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done; 1 cannot; 78 the configuration is wrong."""
    parser = parser_of("What training a release will take, before compute is spent.")
    parser.add_argument("--json", action="store_true", help="one JSON object for programs")
    arguments = parser.parse_args(given)
    die_with_parent()
    try:
        settings = load_settings(arguments.profile)
        lake = Lake.of(settings)
        release = release_of(lake, arguments.release)
        found = estimate(settings, release, lake.filesystem("corpus").open_input_file)
    except REFUSALS as reason:
        return refuse(reason)
    found["markdown"] = markdown_of(found)
    result = {name: found[name] for name in ("release_id", "tokens", "hours", "cost", "markdown")}
    if os.environ.get("FORGE_RESULT"):
        write_atomically(Path(os.environ["FORGE_RESULT"]), orjson.dumps(result))
    print(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode() if arguments.json else found["markdown"], flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
