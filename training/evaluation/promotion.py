"""Whether a checkpoint may become ``models/promoted``, and the move itself.

A checkpoint is compared with the base model, and with the model that is promoted now where both were measured alike. It
must not have lost general ability, nor the ability to call functions:

- the accuracy of each task of general ability falls by at most ``max_fall_points``;
- the bits per byte of that task's right answers rise by at most a share, ``max_loss_rise``;
- the loss of right function calls rises by at most a share, ``max_function_loss_rise``.

Each is a test of non-inferiority on the confidence interval of the paired difference. The interval lies beyond the
limit: failed. It lies within: passed. It reaches over the limit: unresolved, the items cannot tell; with
``require_resolved`` that stops a promotion too, so that seeing nothing is never taken for a pass. All checks have to
pass together: their number needs no correction, it makes a wrong promotion rarer. A share of a loss is taken of the
value that was measured before, whose own error is left out: it matters in proportion to the share.

``models/promoted`` is a symbolic link to a model's folder, moved by a rename: whoever reads it finds the old model or
the new one. ``models/promotions.jsonl`` gets a line before each move. The link is what holds: a process that was killed
between the two leaves a line more.
"""

from __future__ import annotations

import datetime
import fcntl
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import orjson

from forge.config import GENERAL_ABILITY, PromotionSettings
from forge.schema import canonical_json, content_hash
from training.checkpoint import BadCheckpoint, is_complete, load_checkpoint
from training.evaluation.comparison import Comparison
from training.evaluation.figures import Difference
from training.files import sync_entry

LINK = "promoted"
HISTORY = "promotions.jsonl"
_LOCK = ".promotion.lock"

State = Literal["passed", "failed", "unresolved", "not evaluated"]


class NotPromoted(Exception):
    """The move was refused; the model that was promoted before stays."""


@dataclass(frozen=True, slots=True)
class Check:
    """``limit`` and ``difference`` are in the metric's unit; ``limit`` is negative where a fall is limited. ``against``
    names the other model. ``difference`` is None where nothing could be compared."""

    against: str
    task: str
    metric: str
    limit: float | None
    difference: Difference | None
    state: State
    sentence: str


@dataclass(frozen=True, slots=True)
class Promotion:
    """``reasons``: why not, one sentence each; empty when promoted."""

    promoted: bool
    checks: Sequence[Check]
    reasons: Sequence[str]

    @property
    def digest(self) -> str:
        return content_hash(canonical_json(asdict(self)))


@dataclass(frozen=True, slots=True)
class Promoted:
    """What ``models/promoted`` points at; names are "" where no line of the history tells them. ``folder`` may be gone:
    ``is_there`` says so."""

    folder: Path
    run_id: str
    checkpoint: str
    release_id: str

    @property
    def is_there(self) -> bool:
        return is_complete(self.folder)


def verdict(
    against_base: Comparison,
    limits: PromotionSettings,
    *,
    against_promoted: Comparison | None = None,
    not_evaluated: Mapping[str, str] | None = None,
) -> Promotion:
    """The verdict on the checkpoint that is ``after`` in the comparisons.

    ``not_evaluated`` says why tasks were not measured; they are named and stop nothing, unless no task of general
    ability is left. A task that was measured of one of candidate and base only, or otherwise, is unresolved. What
    cannot be compared with the promoted model is named and stops nothing: the base model is the common measure.
    """
    checks = list(_checks(against_base, limits, not_evaluated or {}, refused="unresolved"))
    seen = any(check.difference for check in checks if check.task in GENERAL_ABILITY)
    nothing = [] if seen else ["No task of general ability was compared with the base: nothing shows none was lost."]
    if against_promoted is not None:
        checks += _checks(against_promoted, limits, not_evaluated or {}, refused="not evaluated")
    stopping = ("failed", "unresolved") if limits.require_resolved else ("failed",)
    reasons = nothing + [check.sentence for state in stopping for check in checks if check.state == state]
    return Promotion(not reasons, checks, reasons)


def _checks(
    comparison: Comparison, limits: PromotionSettings, not_evaluated: Mapping[str, str], *, refused: State
) -> Iterator[Check]:
    for task in GENERAL_ABILITY:
        yield _check(comparison, task, "accuracy", limits, not_evaluated, refused)
        yield _check(comparison, task, "bits_per_byte", limits, not_evaluated, refused)
    yield _check(comparison, "bfcl_loss", "nats_per_token", limits, not_evaluated, refused)


def _check(
    comparison: Comparison,
    task: str,
    metric: str,
    limits: PromotionSettings,
    not_evaluated: Mapping[str, str],
    refused: State,
) -> Check:
    what = f"{task} {metric} against {comparison.before}"
    difference = comparison.find(task, metric)
    if difference is None:
        if task in comparison.refused:
            reason, state = comparison.refused[task], refused
        else:
            reason, state = not_evaluated.get(task, "not measured"), "not evaluated"
        return Check(comparison.before, task, metric, None, None, state, f"{what}: not compared: {reason}.")
    if metric == "accuracy":
        limit, scale, unit = -limits.max_fall_points / 100, 100.0, "points"
        best, worst, allowed = -difference.high, -difference.low, -limit
    else:
        share = limits.max_loss_rise if task in GENERAL_ABILITY else limits.max_function_loss_rise
        limit, unit = share * difference.before_value, "%"
        scale = 100 / difference.before_value if difference.before_value else math.nan
        best, worst, allowed = difference.low, difference.high, limit
    if best > allowed:
        state = "failed"
    elif worst <= allowed:
        state = "passed"
    else:
        state = "unresolved"
    value, low, high, seen = (
        scale * number for number in (difference.value, difference.low, difference.high, difference.minimal_detectable)
    )
    sentence = f"{what}: {value:+.2f} {unit} [{low:+.2f}, {high:+.2f}], limit {scale * limit:+.2f} {unit}: {state}"
    if state == "unresolved":
        sentence += f"; {difference.items:,} items show differences from {seen:.2f} {unit} on"
    return Check(comparison.before, task, metric, limit, difference, state, sentence + ".")


# --- the move ---------------------------------------------------------------------------------------------------------


def promoted_model(models: Path) -> Promoted | None:
    """What is promoted now in ``<home>/models``; None where nothing is.

    Raises :class:`NotPromoted` when ``promoted`` is something else than a link.
    """
    link = models / LINK
    if not link.is_symlink():
        if link.exists():
            raise NotPromoted(f"{link} is no symbolic link: move it away, promotions put one there")
        return None
    target = str(link.readlink())
    of_target = [line for line in _history(models / HISTORY) if line["model"] == target]
    line = of_target[-1] if of_target else {}
    folder = Path(os.path.normpath(models.resolve() / target))
    return Promoted(folder, line.get("run_id", ""), line.get("checkpoint", ""), line.get("release_id", ""))


def promote(
    models: Path,
    model: Path,
    *,
    run_id: str,
    checkpoint: str,
    release_id: str,
    promotion: Promotion,
    instead_of: Promoted | None,
) -> Promoted:
    """Point ``<models>/promoted`` at the folder ``model``; nothing happens when it does so already.

    ``instead_of`` is what :func:`promoted_model` gave when the verdict was made: two evaluations that end together do
    not replace each other unseen. Raises :class:`NotPromoted` when the verdict says no, the model is incomplete or
    damaged, or another model was promoted meanwhile.
    """
    if not promotion.promoted:
        raise NotPromoted(" ".join(promotion.reasons))
    try:
        load_checkpoint(model)
    except BadCheckpoint as error:
        raise NotPromoted(f"the model is not whole: {error}") from error
    models.mkdir(parents=True, exist_ok=True)
    with _alone(models):
        standing = promoted_model(models)
        if standing is not None and standing.folder == model.resolve():
            return standing
        if (standing and standing.folder) != (instead_of and instead_of.folder):
            name = f"{standing.run_id} {standing.checkpoint}" if standing else "none"
            raise NotPromoted(f"the promoted model changed meanwhile (now: {name}): compare with it and try again")
        target = os.path.relpath(model.resolve(), models.resolve())
        line = {
            "model": target,
            "run_id": run_id,
            "checkpoint": checkpoint,
            "release_id": release_id,
            "verdict": promotion.digest,
        }
        _append(models / HISTORY, line)
        _point(models / LINK, target)
        return Promoted(model.resolve(), run_id, checkpoint, release_id)


@contextmanager
def _alone(models: Path) -> Iterator[None]:
    """Nobody else promotes meanwhile; the lock ends with the process."""
    with (models / _LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _point(link: Path, target: str) -> None:
    aside = link.with_name(f".{link.name}.new")
    aside.unlink(missing_ok=True)  # of a killed process
    aside.symlink_to(target, target_is_directory=True)
    aside.replace(link)
    sync_entry(link)


def _append(history: Path, line: Mapping[str, str]) -> None:
    """Add a line, unless the newest one says the same: then a process was killed before it moved the link."""
    lines = _history(history)
    if lines and {name: lines[-1].get(name) for name in line} == line:
        return
    when = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    with history.open("ab+") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)  # a line that was cut
        file.write(orjson.dumps({"when": when, **line}) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _history(history: Path) -> list[dict[str, str]]:
    """The whole lines, oldest first."""
    if not history.is_file():
        return []
    return [orjson.loads(line) for line in history.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
