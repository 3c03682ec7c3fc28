"""What is promoted and what is not; the link that moves whole, whoever else moves it and whenever a process dies."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import orjson
import pytest

from forge.config import PromotionSettings
from training.checkpoint import write_checkpoint
from training.evaluation.comparison import Comparison, TaskRecords, differences
from training.evaluation.promotion import (
    HISTORY,
    LINK,
    NotPromoted,
    Promoted,
    Promotion,
    promote,
    promoted_model,
    verdict,
)
from training.evaluation.records import ItemRecord

LIMITS = PromotionSettings(max_fall_points=2.0, max_loss_rise=0.05, max_function_loss_rise=0.01)
ALLOWED = Promotion(True, (), ())


def compare(before: Mapping[str, TaskRecords], after: Mapping[str, TaskRecords], name: str = "base") -> Comparison:
    return differences(name, "III", before, after, confidence=0.95, resamples=100, seed=3)


def measured(*, tasks: tuple[str, ...] = ("mmlu",), items: int = 1000, **worse: float) -> dict[str, TaskRecords]:
    general, calls = _measured(items, **worse)
    return {**dict.fromkeys(tasks, general), "bfcl_loss": calls}


@cache
def _measured(
    items: int, fall: float = 0.0, rise: float = 0.0, function_rise: float = 0.0
) -> tuple[TaskRecords, TaskRecords]:
    """General ability and function calls. Half of the items are right; ``fall``: share of all items that are wrong
    instead, ``rise``: share of each loss that is added, a little more or less by item."""
    noise = np.random.default_rng(0).normal(0, 0.02, items)
    right = (np.arange(items) % 2 == 0) & (np.arange(items) >= 2 * fall * items)
    losses = 8 * (1 + rise + noise * (rise > 0))
    calls = 30 * (1 + function_rise + noise * (function_rise > 0))

    def records(rows: list[dict[str, tuple[float, float]]]) -> TaskRecords:
        found = [ItemRecord(f"i{number:05}", "only", row) for number, row in enumerate(rows)]
        return TaskRecords("key", "prompt", {record.item_id: record for record in found})

    general = [
        {"accuracy": (float(one), 1.0), "bits_per_byte": (float(loss), 6.0)}
        for one, loss in zip(right, losses, strict=True)
    ]
    return records(general), records([{"nats_per_token": (float(call), 25.0)} for call in calls])


def states(promotion: Promotion) -> dict[tuple[str, str, str], str]:
    return {
        (check.against, check.task, check.metric): check.state
        for check in promotion.checks
        if check.state != "not evaluated"
    }


def test_an_equal_model_is_promoted():
    found = verdict(compare(measured(), measured()), LIMITS)
    assert found.promoted
    assert found.reasons == []
    assert states(found) == {
        ("base", "mmlu", "accuracy"): "passed",
        ("base", "mmlu", "bits_per_byte"): "passed",
        ("base", "bfcl_loss", "nats_per_token"): "passed",
    }


@pytest.mark.parametrize(
    ("worse", "check"),
    [
        ({"fall": 0.05}, ("base", "mmlu", "accuracy")),
        ({"rise": 0.08}, ("base", "mmlu", "bits_per_byte")),
        ({"function_rise": 0.03}, ("base", "bfcl_loss", "nats_per_token")),
    ],
)
def test_a_worse_model_is_not(worse, check):
    found = verdict(compare(measured(), measured(**worse)), LIMITS)
    assert not found.promoted
    assert [name for name, state in states(found).items() if state == "failed"] == [check]
    assert list(states(found).values()).count("passed") == 2
    assert len(found.reasons) == 1


@pytest.mark.parametrize("small", [{"fall": 0.01}, {"rise": 0.03}, {"function_rise": 0.005}])
def test_a_fall_within_the_limits_is_allowed(small):
    assert verdict(compare(measured(), measured(**small)), LIMITS).promoted


def test_a_sentence_tells_value_interval_and_limit():
    found = verdict(compare(measured(), measured(rise=0.08)), LIMITS)
    number = r"[+-]\d+\.\d\d"
    form = rf"mmlu bits_per_byte against base: {number} % \[{number}, {number}\], limit \+5\.00 %: failed\."
    assert re.fullmatch(form, found.reasons[0])


def test_too_few_items_resolve_nothing():
    """50 items of which none changed do not show that less than 2 points were lost."""
    few = compare(measured(items=50), measured(items=50))
    found = verdict(few, LIMITS)
    assert states(found)[("base", "mmlu", "accuracy")] == "unresolved"
    assert not found.promoted
    assert "50 items show differences from" in found.reasons[0]
    assert verdict(few, LIMITS.model_copy(update={"require_resolved": False})).promoted


def test_a_single_item_resolves_nothing():
    rows = {"mmlu": measured(items=1)["mmlu"]}
    assert set(states(verdict(compare(rows, rows), LIMITS)).values()) == {"unresolved"}


def test_nothing_general_is_nothing_shown():
    only_calls = {"bfcl_loss": measured()["bfcl_loss"]}
    limits = LIMITS.model_copy(update={"require_resolved": False})
    found = verdict(compare(only_calls, only_calls), limits, not_evaluated={"mmlu": "the artifact is missing"})
    assert not found.promoted
    assert "No task of general ability" in found.reasons[0]
    assert "mmlu accuracy against base: not compared: the artifact is missing." in [
        check.sentence for check in found.checks
    ]


@pytest.mark.parametrize("require_resolved", [True, False])
def test_general_ability_that_was_measured_otherwise_is_not_shown_either(require_resolved):
    before, after = measured(), measured()
    after["mmlu"] = TaskRecords("other", "prompt", after["mmlu"].records)
    limits = LIMITS.model_copy(update={"require_resolved": require_resolved})
    found = verdict(compare(before, after), limits)
    assert states(found)[("base", "mmlu", "accuracy")] == "unresolved"
    assert not found.promoted


def test_every_general_task_counts():
    before, after = (measured(tasks=("mmlu", "piqa", "boolq")) for _ in range(2))
    after["piqa"] = measured(fall=0.05)["mmlu"]
    found = verdict(compare(before, after), LIMITS)
    assert [name for name, state in states(found).items() if state == "failed"] == [("base", "piqa", "accuracy")]


def test_a_model_must_not_lose_against_the_promoted_one_either():
    base, candidate = measured(fall=0.05), measured(fall=0.05)
    promoted = compare(measured(), candidate, "promoted")
    found = verdict(compare(base, candidate), LIMITS, against_promoted=promoted)
    assert states(found)[("base", "mmlu", "accuracy")] == "passed"
    assert states(found)[("promoted", "mmlu", "accuracy")] == "failed"
    assert not found.promoted


def test_a_promoted_model_that_was_measured_otherwise_stops_nothing():
    candidate = measured()
    found = verdict(compare(measured(), candidate), LIMITS, against_promoted=compare({}, candidate, "promoted"))
    assert found.promoted
    assert {check.state for check in found.checks if check.against == "promoted"} == {"not evaluated"}


# --- the move ---------------------------------------------------------------------------------------------------------


def model(home: Path, run_id: str) -> Path:
    folder = home / "runs" / run_id / "models" / "stage-III"
    if not folder.exists():
        write_checkpoint(folder, {"run_id": run_id}, lambda aside: (aside / "weights").write_text(run_id))
    return folder


def move(home: Path, run_id: str, instead_of: Promoted | None, promotion: Promotion = ALLOWED) -> Promoted:
    return promote(
        home / "models", model(home, run_id),
        run_id=run_id, checkpoint="III", release_id=f"release of {run_id}", promotion=promotion, instead_of=instead_of,
    )  # fmt: skip


def history(home: Path) -> list[str]:
    path = home / "models" / HISTORY
    return [orjson.loads(line)["run_id"] for line in path.read_bytes().splitlines()] if path.exists() else []


def test_the_link_follows_the_promotions(tmp_path: Path):
    assert promoted_model(tmp_path / "models") is None
    first = move(tmp_path, "one", None)
    assert first == promoted_model(tmp_path / "models")
    assert (first.run_id, first.checkpoint, first.release_id) == ("one", "III", "release of one")
    assert (tmp_path / "models" / LINK / "weights").read_text() == "one"
    move(tmp_path, "two", first)
    assert (tmp_path / "models" / LINK / "weights").read_text() == "two"
    assert history(tmp_path) == ["one", "two"]


def test_once_more_changes_nothing(tmp_path: Path):
    first = move(tmp_path, "one", None)
    assert move(tmp_path, "one", None) == first
    assert move(tmp_path, "one", first) == first
    assert history(tmp_path) == ["one"]


def test_what_the_checks_refuse_stays_out(tmp_path: Path):
    with pytest.raises(NotPromoted, match="it fell"):
        move(tmp_path, "one", None, Promotion(False, (), ("it fell",)))
    assert not (tmp_path / "models").exists()


def test_a_model_that_is_not_whole_stays_out(tmp_path: Path):
    (model(tmp_path, "one") / "weights").write_text("damaged")
    with pytest.raises(NotPromoted, match="not whole"):
        move(tmp_path, "one", None)
    with pytest.raises(NotPromoted, match="not whole"):
        promote(
            tmp_path / "models", tmp_path / "nowhere",
            run_id="", checkpoint="III", release_id="", promotion=ALLOWED, instead_of=None,
        )  # fmt: skip
    assert promoted_model(tmp_path / "models") is None


def test_the_house_may_be_moved(tmp_path: Path):
    move(tmp_path / "old", "one", None)
    (tmp_path / "old").rename(tmp_path / "new")
    found = promoted_model(tmp_path / "new" / "models")
    assert found is not None
    assert found.is_there
    assert (found.folder, found.run_id) == (model(tmp_path / "new", "one"), "one")


def test_a_model_whose_folder_is_gone_can_be_replaced(tmp_path: Path):
    first = move(tmp_path, "one", None)
    shutil.rmtree(tmp_path / "runs" / "one")
    gone = promoted_model(tmp_path / "models")
    assert gone == first
    assert not gone.is_there
    move(tmp_path, "two", gone)
    assert (tmp_path / "models" / LINK / "weights").read_text() == "two"


def test_a_verdict_on_another_standing_model_is_out_of_date(tmp_path: Path):
    first = move(tmp_path, "one", None)
    move(tmp_path, "two", first)
    with pytest.raises(NotPromoted, match=r"changed meanwhile \(now: two III\)"):
        move(tmp_path, "three", first)
    with pytest.raises(NotPromoted, match="changed meanwhile"):
        move(tmp_path, "three", None)
    assert history(tmp_path) == ["one", "two"]


def test_a_folder_in_its_place_is_left_alone(tmp_path: Path):
    (tmp_path / "models" / LINK).mkdir(parents=True)
    with pytest.raises(NotPromoted, match="no symbolic link"):
        move(tmp_path, "one", None)


def test_a_link_that_somebody_made_is_read(tmp_path: Path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / LINK).symlink_to(model(tmp_path, "one"))
    found = promoted_model(tmp_path / "models")
    assert found == Promoted(model(tmp_path, "one"), "", "", "")
    assert move(tmp_path, "one", None) == found


@pytest.mark.parametrize("cut", [b'{"model": "..', b"\x00"])
def test_a_line_that_was_cut_is_no_promotion(tmp_path: Path, cut: bytes):
    first = move(tmp_path, "one", None)
    with (tmp_path / "models" / HISTORY).open("ab") as file:
        file.write(cut)
    assert promoted_model(tmp_path / "models") == first
    move(tmp_path, "two", first)
    assert history(tmp_path) == ["one", "two"]


PROGRAM = """
import sys
from pathlib import Path
from training.evaluation.promotion import NotPromoted, Promotion, promote, promoted_model

home, names, once = Path(sys.argv[1]), sys.argv[2].split(","), len(sys.argv) > 3
standing = promoted_model(home / "models")
print("ready", flush=True)
sys.stdin.readline()
while True:
    for name in names:
        try:
            standing = promote(
                home / "models", home / "runs" / name / "models" / "stage-III", run_id=name, checkpoint="III",
                release_id="", promotion=Promotion(True, (), ()), instead_of=standing,
            )
            print("promoted", name, flush=True)
        except NotPromoted as reason:
            print("refused", reason, flush=True)
        if once:
            raise SystemExit
"""


def program(home: Path, names: str, *more: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(home), names, *more],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3],
    )  # fmt: skip


def test_killed_at_any_moment_the_old_model_or_the_new_one_stands(tmp_path: Path):
    for name in ("one", "two"):
        model(tmp_path, name)
    move(tmp_path, "one", None)
    for number in range(3):
        process = program(tmp_path, "two,one")
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("\n")
        process.stdin.flush()
        until = time.monotonic() + 0.02 + 0.017 * number
        while time.monotonic() < until:  # whoever reads meanwhile finds a whole model too
            assert (tmp_path / "models" / LINK / "weights").read_text() in ("one", "two")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdin.close()
        process.stdout.close()
        standing = promoted_model(tmp_path / "models")
        assert standing is not None
        assert standing.is_there
        assert standing.run_id == (standing.folder / "weights").read_text()
    assert len(history(tmp_path)) > 3
    other = {"one": "two", "two": "one"}[standing.run_id]
    assert move(tmp_path, other, standing).run_id == other
    assert history(tmp_path)[-1] == other


def test_of_verdicts_that_end_together_one_promotes(tmp_path: Path):
    names = [f"run{number}" for number in range(3)]
    for name in names:
        model(tmp_path, name)
    processes = [program(tmp_path, name, "once") for name in names]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0] for process in processes]
    promoted = [line.split()[1] for line in said if line.startswith("promoted")]
    assert len(promoted) == 1
    assert sum("changed meanwhile" in line for line in said) == 2
    assert history(tmp_path) == promoted
