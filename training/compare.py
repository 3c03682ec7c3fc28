"""Compare evaluated runs: ``python -m training.compare --before RUN_ID:III --after RUN_ID:III``.

Each side is an arm of one or more runs (seeds): repeat the option. Paired by item; with several runs the interval holds
the noise of seeds too. Where each side is one run, tests and intervals are those of the report.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

import orjson

from forge.config import ConfigurationError, Settings, load_settings
from training.command import REFUSALS, refuse
from training.evaluation.comparison import Comparison, TaskRecords, differences_of_arms
from training.evaluation.evaluator import read_measured
from training.evaluation.figures import ALL
from training.run import CHECKPOINTS, StageMissing


def measured_of(settings: Settings, given: str) -> Mapping[str, TaskRecords]:
    """The records of ``RUN_ID:CHECKPOINT`` (without a checkpoint: III).

    Raises :class:`forge.config.ConfigurationError` for another form, :class:`training.run.StageMissing` when that
    checkpoint was not evaluated here.
    """
    run_id, _, checkpoint = given.partition(":")
    checkpoint = checkpoint or CHECKPOINTS[-1]
    runs = settings.home_path / "runs"
    if checkpoint not in CHECKPOINTS or not run_id.isalnum():
        raise ConfigurationError(
            f"{given!r}: RUN_ID:CHECKPOINT is expected, CHECKPOINT one of {', '.join(CHECKPOINTS)}"
        )
    found = read_measured(runs / run_id, checkpoint)
    if not found:
        evaluated = sorted(path.parent.name for path in runs.glob(f"*/evaluation-{checkpoint}.json"))
        raise StageMissing(f"{given}: not evaluated; evaluated runs: {', '.join(evaluated) or 'none'}")
    return found


def lines_of(comparison: Comparison, *, every_category: bool) -> Iterable[str]:
    yield f"{'task':<40} {'metric':<26} {'items':>6} {'difference':>12} {'interval':>22} {'p':>7} {'detectable':>10}"
    for found in comparison.differences:
        if found.category == ALL or every_category:
            name = found.benchmark if found.category == ALL else f"{found.benchmark} {found.category}"
            interval = f"[{found.low:+.4f}, {found.high:+.4f}]"
            yield (
                f"{name:<40} {found.metric:<26} {found.items:>6} {found.value:>+12.4f} {interval:>22} "
                f"{found.p_value:>7.3f} {found.minimal_detectable:>10.4f}"
            )
    for task, reason in comparison.refused.items():
        yield f"{task}: not compared: {reason}"


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Compare evaluated runs: after minus before, item by item.")
    parser.add_argument("--before", action="append", required=True, help="RUN_ID[:CHECKPOINT]; may be repeated")
    parser.add_argument("--after", action="append", required=True, help="RUN_ID[:CHECKPOINT]; may be repeated")
    parser.add_argument("--categories", action="store_true", help="every category and overall score, too")
    parser.add_argument("--json", action="store_true", help="everything, as JSON")
    parser.add_argument("--profile", default=None, help="demo, local, full, cluster; default: FORGE_PROFILE, else demo")
    arguments = parser.parse_args(given)
    try:
        settings = load_settings(arguments.profile)
        before, after = ([measured_of(settings, name) for name in arm] for arm in (arguments.before, arguments.after))
    except REFUSALS as reason:
        return refuse(reason)
    chosen = settings.evaluation
    comparison = differences_of_arms(
        ", ".join(arguments.before), ", ".join(arguments.after), before, after,
        confidence=chosen.confidence, resamples=chosen.resamples, seed=chosen.seed,
    )  # fmt: skip
    if arguments.json:
        sys.stdout.buffer.write(orjson.dumps(asdict(comparison), option=orjson.OPT_INDENT_2) + b"\n")
        return 0
    for line in lines_of(comparison, every_category=arguments.categories):
        print(line)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
