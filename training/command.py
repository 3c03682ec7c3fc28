"""What the training commands share: arguments, the release, the life of the process, exit codes."""

from __future__ import annotations

import argparse
import sys

from forge.config import ConfigurationError, Settings, load_settings
from forge.lake import Lake
from forge.release import NoRelease, release_of
from training.checkpoint import BadCheckpoint
from training.corpus_input import NotTheRelease
from training.process import EXIT_STOPPED, StopRequest, die_with_parent
from training.run import NotFinite, Run, StageMissing, Stopped, open_run
from training.stage_data import NoTrainingData

EXIT_NOT_FINITE = 3
REFUSALS = (ConfigurationError, NoRelease, NotTheRelease, NoTrainingData, StageMissing, BadCheckpoint)


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
    return open_run(settings, release, files.open_input_file)


def train_command(arguments: argparse.Namespace, stage: str) -> int:
    """Train one stage and print what came of it. Exit codes: 0 done, 1 cannot, 3 not finite, 75 stopped on request."""
    die_with_parent()
    stop = StopRequest().listen()
    try:
        settings = load_settings(arguments.profile)
        run = run_of(settings, arguments.release)
        _say(f"run {run.run_id} release {run.release.release_id}")
        if run.is_finished(stage):
            _say(f"stage {stage} is finished: {run.model_folder(stage)}")
            return 0
        from training.stage import train_stage  # late: torch takes seconds to import

        result = train_stage(run, stage, stop=stop, say=_say)
    except Stopped as reason:
        _say(str(reason))
        return EXIT_STOPPED
    except NotFinite as reason:
        _complain(str(reason))
        return EXIT_NOT_FINITE
    except REFUSALS as reason:
        _complain(str(reason))
        return 1
    _say(f"stage {stage} model: {result.model_folder}")
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


def _complain(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
