"""What the training commands share: arguments, the release, the life of the process, exit codes."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from forge.config import ConfigurationError, Settings, load_settings
from forge.lake import Lake
from forge.release import NoRelease, release_of
from training.chat import NotAChat
from training.checkpoint import BadCheckpoint, CheckpointNotWritten
from training.checkpoint_store import StoreError
from training.corpus_input import NotTheRelease
from training.process import EXIT_STOPPED, StopRequest, die_with_parent
from training.run import NotFinite, Run, RunInUse, StageMissing, Stopped, open_run
from training.shard_cache import ShardError
from training.spikes import TooManySpikes
from training.stage_data import NoTrainingData

EXIT_FAILED = 1
EXIT_REFUSED = 3
EXIT_CONFIGURATION = 78

_ASKED_WRONGLY = (ConfigurationError, NoRelease, NoTrainingData, StageMissing)
_FAILED = (NotAChat, NotTheRelease, ShardError, BadCheckpoint, CheckpointNotWritten, StoreError)
REFUSALS = (*_ASKED_WRONGLY, *_FAILED)
"""What a command says in one line, without a traceback."""


def refuse(reason: Exception) -> int:
    """Say why, on stderr; the exit code: 78 where another try gives the same, 1 where it may not."""
    print(reason, file=sys.stderr, flush=True)
    return EXIT_CONFIGURATION if isinstance(reason, _ASKED_WRONGLY) else EXIT_FAILED


def parser_of(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--release", default="current", help="a release id, or `current`")
    parser.add_argument("--profile", default=None, help="demo, local, full, cluster; default: FORGE_PROFILE, else demo")
    return parser


def run_of(settings: Settings, release_id: str) -> Run:
    """The run of a release of the lake; ``current`` is the newest one."""
    lake = Lake.of(settings)
    release = release_of(lake, release_id)
    files = lake.filesystem("corpus")
    local_root = Path(lake.table_uri("corpus")) if lake.is_local else None
    return open_run(settings, release, files.open_input_file, local_root)


def train_command(arguments: argparse.Namespace, stage: str) -> int:
    """Train one stage and print what came of it; under torchrun on every rank.

    Exit codes: 0 done; 1 failed, try again; 3 the losses are not to be trained on (not finite, too many spikes); 75
    stopped on request or busy, start again to go on; 78 what was asked for cannot be had: configuration,
    release, stage.
    """
    die_with_parent()
    stop = StopRequest().listen()
    is_first_rank = os.environ.get("RANK", "0") == "0"
    try:
        settings = load_settings(arguments.profile)
        run = run_of(settings, arguments.release)
        if is_first_rank:
            _say(f"run {run.run_id} release {run.release.release_id}")
        from training.attention import AttentionError  # late: torch takes seconds to import
        from training.model_loss import LossError
        from training.stage import train_stage

        try:
            result = train_stage(run, stage, stop=stop, say=_say)
        except (AttentionError, LossError) as reason:
            raise ConfigurationError(str(reason)) from None
    except (Stopped, RunInUse) as reason:
        _say(str(reason))
        return EXIT_STOPPED
    except (NotFinite, TooManySpikes) as reason:
        print(reason, file=sys.stderr, flush=True)
        return EXIT_REFUSED
    except REFUSALS as reason:
        return refuse(reason)
    if is_first_rank:
        _say(f"stage {stage} model: {result.model_folder}")
    return 0


def _say(line: str) -> None:
    print(line, flush=True)
